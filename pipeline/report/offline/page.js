"use strict";
// The form and the words of the result.

/** What each check is called, what it proves, and what it does not. */
const WORDS = {
  a: ["No file was damaged, added or removed since the bundle was made",
    "an accident would have shown.",
    "who made the bundle. Whoever changes a file can write SHA256SUMS anew, so the next steps do not rest on it. " +
    "Compare its digest with the one that whoever made the bundle tells you by another channel."],
  b: ["The certificates are signed by the Org Key",
    "who had this key's secret part signed exactly these bytes.",
    "that it was a recovered key: the holder of the original key can sign anything with it. That is what the next step is for."],
  c: ["The certificates are signed by the witness, too",
    "who signed had the secret part of the witness's key, which can be computed only from the escrow passphrase.",
    "that this is the escrow's witness. The record shows that."],
  record: ["The witness is the record's",
    "the record that the Org Key signed names this witness, and the certificates are of this record.", ""],
  d: ["What a certificate says is what was signed",
    "these results, epochs and nonces were signed in the steps above.",
    "that the times are right. They are the host's."],
  e: ["The ledger is whole chains",
    "each chain holds in itself: each entry carries the SHA-256 of the one before it.",
    "that it is the chain that was written, or that what it says is true. The next step says how far somebody vouches for it."],
  heads: ["Certificates vouch for the ledger",
    "up to the entries that are named, nothing was changed, removed, added or moved since that certificate was signed.",
    "anything about later entries, or about entries that were cut off behind the last one."],
  f: ["The report's claims rest on these files",
    "the report means these files.",
    "that it reads them rightly, or that it leaves nothing out."],
  g: ["Time-stamps of an outside authority", "", ""],
  order: ["Form and order of time (not in VERIFY.txt)",
    "nothing is out of order.",
    "more than that. A clock that was set back is not by itself a forgery, so this does not change the result."],
};
const LETTERS = { record: "c", heads: "e", order: "" };
const STATES = {
  passed: ["ok", "✓ OK"], failed: ["bad", "✗ FAILED"], undone: ["warn", "– not done"], absent: ["warn", "– nothing to check"],
};
const byId = (id) => document.getElementById(id);
let dropped = null; // what was dropped, in place of what the inputs have

function element(name, content, kind) {
  const made = document.createElement(name);
  made.textContent = content;
  if (kind) made.className = kind;
  return made;
}

/** The fingerprint that was typed: undefined if none, null if it is not one. */
function typed() {
  // Marks that do not show come along from other pages and dialogues.
  const digits = byId("fingerprint").value.normalize("NFKC").replace(/[\s\p{Cf}:]/gu, "").replace(/^0x/i, "").toUpperCase();
  return digits === "" ? undefined : /^[0-9A-F]{40}$/.test(digits) ? digits : null;
}

function say_fingerprint() {
  const digits = typed();
  const said = byId("fingerprint-said");
  said.textContent = digits === null ? "This is not a fingerprint: it has 40 digits from 0 to 9 and A to F." : digits ? "✓ 40 digits" : "";
  said.className = digits ? "said ok" : "said";
  byId("fingerprint").setAttribute("aria-invalid", String(digits === null));
  return digits;
}

function say_progress(doing, share) {
  byId("doing").textContent = doing;
  byId("bar").value = share;
}

/** The verdict: its colour, the answer and a sentence. */
function verdict({ results, bundle }) {
  const states = Object.fromEntries(results.map(({ id, state }) => [id, state]));
  const needed = ["a", "b", "c", "d", "e", "heads", "f"];
  if (Object.values(states).includes("failed")) {
    return ["bad", "Failed", "Something does not hold. Do not rely on this bundle, and ask whoever gave it to you."];
  }
  if (states.b === "absent") {
    return ["warn", "Nothing is proved", "Nothing failed, but this bundle has no certificate of a test restore. So nothing in it " +
      "is signed, and nothing in it proves that the key can be restored."];
  }
  if (needed.some((id) => states[id] === "undone")) {
    return ["warn", "Not everything was checked", "Nothing failed, but a step could not be done in this browser."];
  }
  const failed = bundle.outcomes.filter((one) => one !== "PASSED" && one !== "WARNED").length;
  if (failed === bundle.outcomes.length) {
    return ["bad", "No test restore passed", "Every check holds, and every certificate says that its test restore failed: " +
      "nothing in this bundle proves that the key can be restored."];
  }
  if (!bundle.pinned) {
    return ["warn", "Consistent in itself", "Every check holds for the key that the bundle itself brings. That it is your key is not " +
      "shown: whoever forged all of it would have brought a key of his own. Give the fingerprint in step 1."];
  }
  const record = states.record === "passed" ? ", for the record that you gave." :
    ". That it was your escrow's passphrase, only a copy of the record shows.";
  const times = failed ? `times in step d, but for the ${failed} with FAILED,` : "times in step d";
  return ["ok", "The certificates are authentic", `Every check holds, for the key whose fingerprint you gave. At the ${times} ` +
    "somebody put the escrow passphrase together and had a working Org Key" + record + " The report's own words are not " +
    "signed: compare the SHA-256 of SHA256SUMS, below, with the one that its maker tells you by another channel."];
}

function show(found) {
  const [kind, answer, sentence] = verdict(found);
  byId("verdict").className = `verdict ${kind}`;
  byId("verdict").querySelector(".answer").textContent = answer;
  byId("verdict").querySelector(".sentence").textContent = sentence;
  const { bundle } = found;
  const facts = [
    ["Fingerprint that you gave", bundle.pinned ? spaced(bundle.pinned) : "none"],
    ["Fingerprint that the bundle gives", spaced(bundle.own)],
    ["SHA-256 of SHA256SUMS", bundle.digests.get("SHA256SUMS") ?? "missing"],
  ];
  byId("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  byId("checks").replaceChildren(...found.results.map(({ id, state, said }) => {
    const item = document.createElement("li");
    item.dataset.check = id;
    item.dataset.state = state;
    const [title, proves, not] = WORDS[id];
    const letter = LETTERS[id] ?? id;
    const [colour, word] = STATES[state];
    item.append(element("h4", (letter ? `${letter}. ` : "") + title), element("p", word, `word ${colour}`));
    item.append(...said.slice(0, 50).map((line) => element("p", line)));
    if (said.length > 50) item.append(element("p", `and ${said.length - 50} more`));
    if (state === "passed" && proves) item.append(element("p", `Proves: ${proves}`, "dim"));
    if (state === "passed" && not) item.append(element("p", `Does not prove: ${not}`, "dim"));
    return item;
  }));
}

function show_error(error) {
  byId("verdict").className = "verdict bad";
  byId("verdict").querySelector(".answer").textContent = "Failed";
  byId("verdict").querySelector(".sentence").textContent = error.message;
  byId("facts").replaceChildren();
  byId("checks").replaceChildren();
}

/** What is to be read: what was dropped, or else what an input has. */
function given() {
  if (dropped) return dropped;
  const [zip, folder] = [byId("zip").files, byId("folder").files];
  return [...(zip.length ? zip : folder)].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function start(event) {
  event.preventDefault();
  const pinned = say_fingerprint();
  if (pinned === null) return byId("fingerprint").focus();
  const result = byId("result");
  result.hidden = true;
  byId("start").disabled = true;
  byId("progress").hidden = false;
  say_progress("Reading", 0);
  try {
    const chosen = given();
    if (chosen.length === 0) throw new Error("No bundle was chosen.");
    if (!globalThis.crypto?.subtle) {
      throw new Error("This browser is too old to check a bundle. Take a newer one, or the commands of VERIFY.txt.");
    }
    const record = byId("record").files[0];
    const files = await readBundle(chosen, (done, all) => say_progress(`reading: ${done} of ${all} files`, done / all));
    show(await check(files, {
      pinned, record: record && new Uint8Array(await record.arrayBuffer()), report: say_progress,
    }));
  } catch (error) {
    show_error(error);
  }
  byId("progress").hidden = true;
  byId("start").disabled = false;
  result.hidden = false;
  byId("verdict-title").focus();
  result.scrollIntoView();
}

/** Every file below what was dropped. */
async function walk(entry, path, found) {
  if (entry.isFile) {
    found.push({ path: path + entry.name, file: await new Promise((done, fail) => entry.file(done, fail)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives a hundred at a time
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) return;
    for (const one of some) await walk(one, `${path}${entry.name}/`, found);
  }
}

async function drop(event) {
  event.preventDefault();
  byId("drop").classList.remove("over");
  const items = [...event.dataTransfer.items];
  const entries = items.map((item) => item.webkitGetAsEntry());
  const found = items.map((item, index) => (entries[index] ? null : item.getAsFile())).filter(Boolean)
    .map((file) => ({ path: file.name, file }));
  for (const entry of entries.filter(Boolean)) await walk(entry, "", found);
  dropped = found;
  const names = [...new Set(found.map(({ path }) => path.split("/")[0]))];
  byId("drop-hint").textContent = `Dropped: ${some(names)} (files: ${found.length})`;
}

byId("form").addEventListener("submit", start);
byId("fingerprint").addEventListener("input", say_fingerprint);
for (const id of ["zip", "folder"]) {
  byId(id).addEventListener("change", () => {
    dropped = null;
    byId(id === "zip" ? "folder" : "zip").value = "";
    byId("drop-hint").textContent = "Drop the .zip or the folder here, or choose one:";
  });
}
addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
addEventListener("dragleave", () => byId("drop").classList.remove("over"));
addEventListener("drop", drop);
