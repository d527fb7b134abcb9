"use strict";
// What VERIFY.txt's commands check, step by step and by the same letters. A check returns what it found in words,
// and throws a Failure where it does not hold. All cryptography is OpenPGP.js's or the browser's own.

class Failure extends Error {}
/** Not failed: it could not be done here. */
class Undone extends Error {}

const HEX = /^[0-9a-f]{64}$/;
const NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; // SHA-256 of no bytes
// What gpg accepts is accepted here: keys of products of the nineties have DSA, small RSA and no usage flags.
Object.assign(openpgp.config, {
  rejectPublicKeyAlgorithms: new Set(), rejectCurves: new Set(), minRSABits: 0, allowMissingKeyFlags: true,
});

async function sha256(data) {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", data)));
}

const BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(data) {
  let found = "";
  for (const byte of data) found += BYTES[byte];
  return found;
}

/**
 * Read JSON as jq does, with which the commands read it: jq also takes control characters in a text and zeros
 * before a number. Anything else has to be JSON.
 */
function readJson(data, name) {
  const plain = text(data);
  try {
    return JSON.parse(plain);
  } catch {
    const tidy = plain.replace(/"(?:[^"\\]|\\[^])*"|(?<![\d.eE+-])(-?)0+(?=\d)/g, (found, sign) =>
      found[0] === '"' ? found.replace(/[\0-\x1f]/g, "\ufffd") : sign);
    try {
      return JSON.parse(tidy);
    } catch {
      throw new Failure(`${name} is not JSON`);
    }
  }
}

/** Canonical JSON (RFC 8785): sorted by UTF-16 units, numbers and texts as JavaScript writes them. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const fields = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${fields.join(",")}}`;
}

/** A bundle that is being checked, and what the checks find out on the way. */
class Bundle {
  /**
   * @param {Map<string, Uint8Array>} files by name
   * @param {{pinned?: string, record?: Uint8Array, report?: function}} given the fingerprint from elsewhere,
   *   the record's bytes, and who is told how far it is
   */
  constructor(files, { pinned, record, report = () => {} } = {}) {
    this.files = files;
    this.names = [...files.keys()];
    this.pinned = pinned;
    this.record = record;
    this.report = report;
    this.digests = new Map();
    this.certificates = this.names.filter((name) => /^certificates\/[^/]+\.json$/.test(name));
    this.evidence = [];
    this.chains = new Map();
  }

  get(name) {
    const data = this.files.get(name);
    if (data === undefined) throw new Failure(`${name} is missing`);
    return data;
  }

  /** Digest every file and read what the report rests on; before any check. */
  async prepare() {
    await forEachItem(this.names, async (name) => {
      this.digests.set(name, await sha256(this.files.get(name)));
    }, (done, all) => this.report(`digests: ${done} of ${all} files`, done / all));
    try {
      const { key, evidence } = readJson(this.get("report.json"), "report.json");
      this.own = key?.fingerprint; // as VERIFY.txt has it
      this.evidence = evidence.filter((item) => item.file !== null && item.file !== undefined);
    } catch {
      this.evidence = null; // step f says so
    }
    const said = (this.evidence ?? []).map((item) => String(item.file));
    this.promised = said.some((name) => name.startsWith("certificates/"));
    for (const name of [...this.names, ...said]) {
      const match = /^(ledger(?:\/[0-9a-f]{16})?)\/[0-9]{9,}\.json$/.exec(name);
      if (match && !this.chains.has(match[1])) this.chains.set(match[1], []);
    }
    for (const name of this.names) {
      const folder = name.slice(0, name.lastIndexOf("/"));
      if (name.endsWith(".json")) this.chains.get(folder)?.push(name);
    }
    if (this.files.has("public.asc")) {
      try {
        this.keys = await openpgp.readKeys({ binaryKeys: unarmored(this.get("public.asc")) });
      } catch (error) {
        this.keyProblem = `public.asc cannot be read: ${error.message}`;
      }
    }
    this.fingerprint = this.pinned ?? this.own;
  }

  get signed() {
    return this.certificates.length > 0 || this.promised || this.names.some((name) => name.startsWith("certificates/"));
  }

  // -- a ------------------------------------------------------------------------------------------

  async files_as_listed() {
    const lines = text(this.get("SHA256SUMS")).replace(/\n$/, "").split("\n");
    const listed = new Map();
    for (const line of lines) {
      const match = /^([0-9a-f]{64}) {2}([^ ].*)$/.exec(line);
      if (!match || listed.has(match[2])) throw new Failure("SHA256SUMS has a line that it should not have");
      listed.set(match[2], match[1]);
      if (listed.size % TOGETHER === 0) await breath();
    }
    const here = this.names.filter((name) => name !== "SHA256SUMS");
    const wrong = [
      ...here.filter((name) => !listed.has(name)).map((name) => `${name} is not in SHA256SUMS`),
      ...[...listed.keys()].filter((name) => !this.digests.has(name)).map((name) => `${name} is missing`),
      ...here.filter((name) => listed.has(name) && listed.get(name) !== this.digests.get(name))
        .map((name) => `${name} was changed`),
    ];
    if (wrong.length) throw new Failure(some(wrong));
    return [`${here.length} files are those of SHA256SUMS, whose own SHA-256 is ${this.digests.get("SHA256SUMS")}`];
  }

  // -- b ------------------------------------------------------------------------------------------

  async signed_by_key() {
    this.require_certificates();
    if (!this.keys) throw new Failure(this.keyProblem ?? "public.asc is missing");
    for (const name of this.certificates) {
      await this.require_signature(name, this.get(name), this.get(`${name}.asc`));
    }
    return [`every certificate (${this.certificates.length}) is signed by ${spaced(this.fingerprint)}`];
  }

  require_certificates() {
    if (this.certificates.length === 0) throw new Failure("the certificates are missing");
  }

  /** One detached signature by the key with the fingerprint. Times do not count, a revocation does, as for gpg's VALIDSIG. */
  async require_signature(name, data, asc) {
    const problem = (why) => new Failure(`${name} is not signed by ${spaced(this.fingerprint)}: ${why}`);
    let packets;
    try {
      ({ packets } = await openpgp.readSignature({ binarySignature: unarmored(asc) }));
    } catch (error) {
      throw problem(error.message);
    }
    if (packets.length !== 1) throw problem(`there are ${packets.length} signatures`);
    const [signature] = packets;
    const key = this.keys?.find((one) => one.getKeys(signature.issuerKeyID).length > 0);
    if (!key) throw problem(`the signature is by a key that is not in public.asc, ${signature.issuerKeyID.toHex()}`);
    const by = key.getFingerprint().toUpperCase();
    if (by !== this.fingerprint) throw problem(`it is signed by ${spaced(by)}`);
    try {
      await key.verifyPrimaryKey(null);
      const primary = key.getKeyID().equals(signature.issuerKeyID);
      const signer = primary ? key : await key.getSigningKey(signature.issuerKeyID, null);
      if (signer.keyPacket.created > signature.created) throw new Error("the signature is older than the key");
      const literal = new openpgp.LiteralDataPacket();
      literal.setBytes(data, openpgp.enums.literal.binary);
      if (signature.signatureType > 1) throw new Error("it is another kind of signature");
      await signature.verify(signer.keyPacket, signature.signatureType, literal, null, true);
    } catch (error) {
      throw problem(error.message);
    }
  }

  // -- c ------------------------------------------------------------------------------------------

  async signed_by_witness() {
    this.require_certificates();
    for (const name of this.certificates) {
      const [data, signature] = [this.get(name), this.get(`${name}.sig`)];
      const pem = text(this.get(name.replace(/json$/, "witness.pem")));
      const body = /^-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=\n]+)-----END PUBLIC KEY-----[\0- ]*$/m.exec(pem);
      let good = false;
      try {
        const key = await crypto.subtle.importKey("spki", bytesOf(body[1]), { name: "Ed25519" }, false, ["verify"]);
        good = await crypto.subtle.verify("Ed25519", key, signature, data);
      } catch (error) {
        if (error.name === "NotSupportedError") {
          throw new Undone("this browser has no Ed25519, with which the witness signs: take a newer browser " +
            "(Chromium or Edge 137, Firefox 129, Safari 17), or openssl as in VERIFY.txt");
        }
      }
      if (!good) throw new Failure(`${name}: the witness's signature does not fit`);
    }
    return [`every certificate (${this.certificates.length}) is signed by the witness's key beside it`];
  }

  async witness_of_record() {
    if (!this.record) throw new Undone("no record was given: that these witnesses are the escrow's is not shown");
    this.require_certificates();
    const parts = untar(this.record);
    const [manifest, signature] = ["manifest.json", "manifest.json.asc"].map((name) => {
      if (!parts.has(name)) throw new Failure(`the record has no ${name}`);
      return parts.get(name);
    });
    await this.require_signature("manifest.json of the record", manifest, signature);
    const witness = String(readJson(manifest, "manifest.json").custody.witness);
    const sum = await sha256(this.record);
    let found = 0;
    for (const name of this.certificates) {
      let of = null; // what cannot be read is of no record; steps b and c say so
      try {
        of = readJson(this.get(name), name).subject[0].digest.sha256;
      } catch {}
      if (of !== sum) continue;
      if (text(this.get(name.replace(/json$/, "witness.pem"))) !== witness) {
        throw new Failure(`${name} is by another witness than the record's`);
      }
      found++;
    }
    if (found === 0) throw new Failure("no certificate is of this record");
    return [`${found} certificates are of this record, and by its witness`];
  }

  // -- d ------------------------------------------------------------------------------------------

  async contents_fit() {
    this.require_certificates();
    const lines = [];
    this.outcomes = [];
    for (const name of this.certificates) {
      const { predicate } = readJson(this.get(name), name);
      const data = details_of(predicate, name);
      if ((await sha256(data)) !== predicate.configuration[0].digest.sha256) {
        throw new Failure(`${name}: its details do not fit their digest`);
      }
      const { at, epoch, nonce } = readJson(data, `the details of ${name}`);
      this.outcomes.push(predicate.result);
      lines.push([at, predicate.result, `epoch ${epoch}`, nonce ? `nonce ${nonce}` : "no nonce"].join(", "));
    }
    return lines;
  }

  // -- e ------------------------------------------------------------------------------------------

  async chains_hold() {
    const lines = [];
    const all = [...this.chains.values()].reduce((sum, names) => sum + names.length, 0);
    let done = 0;
    this.odd = [];
    for (const [folder, names] of [...this.chains].sort()) {
      let last = NOTHING;
      let before = "";
      if (names.length === 0) throw new Failure(`no entry of ${folder} is here`);
      for (const [index, name] of names.sort().entries()) {
        const number = index + 1;
        const entry = readJson(this.get(name), name);
        const expected = `${folder}/${String(number).padStart(9, "0")}.json`;
        if (entry?.sequence !== number || entry.previous !== last || name !== expected) {
          throw new Failure(`${name} does not follow entry ${index}`);
        }
        last = this.digests.get(name);
        const at = Date.parse(entry.at);
        if (Number.isNaN(at)) this.odd.push(`${name} has no time`);
        if (at < Date.parse(before)) this.odd.push(`${name} is of ${entry.at}, before the entry that it follows`);
        before = entry.at;
        if (canonical(entry) !== text(this.get(name))) {
          this.odd.push(`${name} is not canonical JSON: the program did not write it so`);
        }
        if (++done % TOGETHER === 0) {
          this.report(`ledger: ${done} of ${all} entries`, done / all);
          await breath();
        }
      }
      lines.push(`${names.length} entries in ${folder} are one chain, its head is ${last}`);
    }
    return lines;
  }

  async heads_are_here() {
    this.require_certificates();
    const lines = [];
    for (const name of this.certificates) {
      const data = details_of(readJson(this.get(name), name).predicate, name);
      const { at, ledger_head: head } = readJson(data, `the details of ${name}`);
      if (!head) throw new Failure(`${name} names no head of a ledger`);
      if (head.sequence === 0) continue;
      const file = `${String(head.sequence).padStart(9, "0")}.json`;
      const found = [...this.chains.keys()].map((folder) => `${folder}/${file}`)
        .find((entry) => this.digests.get(entry) === head.sha256);
      const aside = `ledger/forks/${file.replace(".json", "")}-${String(head.sha256).slice(0, 16)}.json`;
      if (found) {
        lines.push(`${name} vouches for ${found} and for every entry before it there`);
        const entry = readJson(this.get(found), found);
        if (Date.parse(at) < Date.parse(entry.at)) {
          this.odd?.push(`${name} is of ${at}, before the entry that it names`);
        }
      } else if (this.digests.get(aside) === head.sha256) {
        lines.push(`${aside} gave way to another host's entry in version 0.1: ${name} vouches for nothing`);
      } else {
        throw new Failure(`no chain has entry ${head.sequence} that ${name} names`);
      }
    }
    return lines;
  }

  // -- f, g, and what the commands do not look at ---------------------------------------------------

  async evidence_is_here() {
    if (this.evidence === null) throw new Failure("report.json cannot be read, or lists no evidence");
    const wrong = this.evidence.filter(
      ({ file, sha256: digest }) => !HEX.test(digest) || this.digests.get(file) !== digest,
    );
    if (wrong.length) throw new Failure(some(wrong.map(({ file }) => `${file} is not what the report means`)));
    return [`${this.evidence.length} files are those that report.json names`];
  }

  async time_stamps() {
    throw new Undone("time-stamps are not checked here: step g of VERIFY.txt does, with the authority's root certificate");
  }

  async in_order() {
    if (!this.odd) throw new Undone("the chains do not hold");
    if (this.odd.length) throw new Undone(some(this.odd));
    return ["each entry is canonical JSON and not earlier than the one before; each certificate is later than the entry that it names"];
  }
}

/**
 * The bytes of what is in armor (RFC 4880, 6.2), read as gpg reads it: the checksum has to fit, which OpenPGP.js does
 * not demand, and what is no base64 is passed over, which it does not do. Neither proves anything.
 */
function unarmored(data) {
  const block = /^-----BEGIN PGP (?:PUBLIC KEY BLOCK|SIGNATURE)-----[ \t\r]*\n(?:[^\n:]+: [^\n]*\n)*[ \t\r]*\n([^-]*)-/gm;
  const found = [...text(data).matchAll(block)].flatMap(([, body]) => {
    const [, base64, checksum] = /^([^]*?)(?:\n=([A-Za-z0-9+/]{4})[^]*)?$/.exec(body);
    const bytes = bytesOf(base64.replace(/[^A-Za-z0-9+/]/g, ""));
    if (checksum && hex(bytesOf(checksum)) !== crc24(bytes)) throw new Error("the checksum of its armor does not fit");
    return [...bytes];
  });
  if (found.length === 0) throw new Error("it is not in armor");
  return Uint8Array.from(found);
}

function crc24(bytes) {
  let crc = 0xb704ce;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x800000 ? 0x1864cfb : 0);
  }
  return crc.toString(16).padStart(6, "0");
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
}

/** The document inside a certificate's statement. */
function details_of(predicate, name) {
  try {
    return bytesOf(predicate.configuration[0].content);
  } catch {
    throw new Failure(`${name} has no readable details`);
  }
}

/** The first few of many. */
function some(lines) {
  return lines.slice(0, 3).join("; ") + (lines.length > 3 ? `; and ${lines.length - 3} more` : "");
}

function spaced(fingerprint) {
  return (fingerprint ?? "(no key)").replace(/(.{4})(?=.)/g, "$1 ");
}

/**
 * Check a bundle.
 *
 * @returns {Promise<{results: {id, state, said}[], bundle: Bundle}>} `state` is passed, failed, undone (it could
 *   not be done here) or absent (there is nothing to check)
 */
async function check(files, given) {
  const bundle = new Bundle(files, given);
  await bundle.prepare();
  const stamped = bundle.names.some((name) => name.endsWith(".tsr"));
  const evidence = bundle.evidence === null || bundle.evidence.length > 0;
  const ledger = bundle.chains.size > 0;
  const steps = [
    ["a", "files_as_listed", true],
    ["b", "signed_by_key", bundle.signed],
    ["c", "signed_by_witness", bundle.signed],
    ["record", "witness_of_record", bundle.signed],
    ["d", "contents_fit", bundle.signed],
    ["e", "chains_hold", ledger],
    ["heads", "heads_are_here", bundle.signed],
    ["f", "evidence_is_here", evidence],
    ["g", "time_stamps", stamped],
    ["order", "in_order", ledger],
  ];
  const results = [];
  for (const [id, method, needed] of steps) {
    if (!needed) {
      results.push({ id, state: "absent", said: [] });
      continue;
    }
    try {
      results.push({ id, state: "passed", said: await bundle[method]() });
    } catch (error) {
      // Whatever cannot be read (a field that is missing, say) does not hold.
      results.push({ id, state: error instanceof Undone ? "undone" : "failed", said: [error.message] });
    }
  }
  return { results, bundle };
}
