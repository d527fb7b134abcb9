"""The page for auditors in a real browser: the verdict of the commands of ``VERIFY.txt``, check by check.

``make test`` alters a good bundle some tens of times; ``make auditor`` a thousand times, and prints a table.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pipeline.report.offline import page as offline
from tests.support import altered_bundles as altering
from tests.support.altered_bundles import Altered
from tests.support.browser import NEEDED, Looked, require_accessible
from tests.support.bundles import Made, blocks, files_of, made_once, unpack
from tests.support.commandline import KEYS, end_gpg, gpg, orgkey

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.conftest import Place

COUNT = int(os.environ.get("ORGKEY_ALTERED_BUNDLES", "29"))
SEED = 1
AUTHENTIC = "The certificates are authentic"
RESULT = """() => ({
  answer: document.querySelector('.answer').textContent,
  sentence: document.querySelector('.sentence').textContent,
  checks: Object.fromEntries(
    [...document.querySelectorAll('[data-check]')].map(e => [e.dataset.check, e.dataset.state])),
  text: document.getElementById('result').innerText,
})"""
SAID = {
    "a": ("OK: the files are those", "FAILED: files were changed"),
    "b": ("OK: every certificate is signed by ", "FAILED: a certificate is not signed by"),
    "c": ("OK: every certificate is signed by its witness", "FAILED: a witness's signature"),
    "record": ("certificates are of this record", "FAILED: the witness is not the record's"),
    "d": ("OK: every certificate's content", "FAILED: a certificate's content"),
    "e": ("are one chain", "FAILED: a chain of the ledger"),
    "heads": ("OK: no certificate vouches for later", "FAILED: a certificate names another ledger"),
    "f": ("OK: the evidence of report.json", "FAILED: the report's evidence"),
}
"""What the commands say of each check that holds, and that does not."""

pytestmark = NEEDED


@pytest.fixture
def made(place: Place, tmp_path: Path) -> Made:
    return made_once(place, tmp_path)


class Auditor(Looked):
    """A person at the page."""

    def check(self, data: bytes, fingerprint: str = "", record: bytes = b"") -> dict[str, Any]:
        """Give the page a zip, and read the result."""
        page = self.page
        page.fill("#fingerprint", fingerprint)
        given = [{"name": "record.tar", "mimeType": "application/x-tar", "buffer": record}] if record else []
        page.set_input_files("#record", given)  # type: ignore[arg-type]  # a list of such is what it takes
        page.set_input_files("#zip", {"name": "b.zip", "mimeType": "application/zip", "buffer": data})
        return self.press()

    def press(self) -> dict[str, Any]:
        self.page.evaluate("document.getElementById('result').hidden = true")
        self.page.locator("#start").press("Enter")
        self.page.wait_for_selector("#result:not([hidden])", timeout=120_000)
        found: dict[str, Any] = self.page.evaluate(RESULT)
        return found


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Auditor:
    """Where the page is opened for each test."""
    return Auditor(browser.new_page())


@pytest.fixture
def auditor(tab: Auditor, tmp_path: Path) -> Iterator[Auditor]:
    path = tmp_path / offline.NAME
    path.write_bytes(offline.render())
    tab.open(path)
    yield tab
    assert tab.said == []
    assert [url for url in tab.asked if url != path.as_uri()] == []


def by_commands(altered: Altered, commands: str) -> dict[str, str] | None:
    """What the commands say of each check; ``None`` where the zip cannot be unpacked.

    The commands are those of the good bundle. Where the auditor gives no fingerprint, they take the bundle's.
    """
    with tempfile.TemporaryDirectory(prefix="altered-bundles-") as folder:
        place = Path(folder) / "bundle"
        try:
            unpack(altered.data, place)
        except Exception:
            return None
        record = Path(folder) / "record.tar"
        record.write_bytes(altered.record)
        pinned = altered.pinned or _own_fingerprint(place)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TMPDIR": folder,
            "LC_ALL": "C.UTF-8",
            "FINGERPRINT": pinned or "none",
            "RECORD": str(record) if altered.record else "",
        }
        done = subprocess.run(
            ["sh"],
            input=commands.encode(),
            cwd=place,
            env=environment,
            capture_output=True,
            timeout=300,
            check=False,
        )
        said = done.stdout.decode(errors="replace")
    return {
        name: "failed" if failed in said else "passed" if good in said else "undone"
        for name, (good, failed) in SAID.items()
    }


def _own_fingerprint(bundle: Path) -> str:
    own = subprocess.run(
        ["jq", "-r", ".key.fingerprint", "report.json"],
        cwd=bundle,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return own.stdout.decode(errors="replace").strip()


def differs(page: dict[str, Any], commands: dict[str, str] | None) -> str:
    """How the two verdicts differ; empty where they agree on each check."""
    if commands is None and not page["checks"]:
        return ""
    if commands is None or not page["checks"]:
        return f"commands: {commands}, page: {page['sentence']}"
    return "; ".join(
        f"{name}: commands {commands[name]}, page {page['checks'][name]}"
        for name in SAID
        if commands[name] != page["checks"][name]
    )


def test_page_and_commands_agree_on_every_altered_bundle(made: Made, auditor: Auditor, folder: Path) -> None:
    good = unpack(made.data, folder / "good")
    commands = "\n".join(blocks(good / "VERIFY.txt"))
    cases = altering.alterations(made, files_of(made.data), COUNT, SEED)
    with ThreadPoolExecutor(2) as pool:
        told = pool.map(lambda one: by_commands(one, commands), cases)
        pages = [auditor.check(one.data, one.pinned, one.record) for one in cases]
        results = list(zip(cases, pages, told, strict=True))
    table: dict[str, Counter[str]] = {}
    wrong = []
    for number, (case, page, said) in enumerate(results):
        row = table.setdefault(case.kind, Counter())
        row["all"] += 1
        row[page["answer"]] += 1
        if difference := differs(page, said):
            wrong.append(f"{number} {case.kind}, {case.what}: {difference}\n{page['text']}")
        else:
            row["agree"] += 1
        if case.kind == "unaltered":
            assert page["answer"] == (AUTHENTIC if case.pinned else "Consistent in itself"), page["text"]
    answers = (AUTHENTIC, "Consistent in itself", "Failed")
    lines = [f"{'how it was altered':<36}{'all':>5}{'agree':>7}" + "".join(f"{one:>32}" for one in answers)]
    lines += [
        f"{kind:<36}{row['all']:>5}{row['agree']:>7}" + "".join(f"{row[one]:>32}" for one in answers)
        for kind, row in table.items()
    ]
    print("\n".join(lines))
    assert wrong == []
    # A forger who writes all of it anew is found by the fingerprint, and by nothing else.
    whole = [
        (case.pinned, page["answer"]) for case, page, _ in results if case.kind == "bundle forged as a whole"
    ]
    assert all((answer == "Failed") or not pinned for pinned, answer in whole)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "unpacked"
    path.mkdir()
    yield path
    shutil.rmtree(path)


# -- signatures ----------------------------------------------------------------------------------------

SIGNED = """async ([publicKey, data, signature, fingerprint]) => {
  const bytes = (text) => new TextEncoder().encode(text);
  const files = new Map([["public.asc", bytes(publicKey)], ["certificates/x.json", bytes(data)],
    ["certificates/x.json.asc", bytes(signature)]]);
  const bundle = new Bundle(files, {pinned: fingerprint});
  await bundle.prepare();
  try { await bundle.signed_by_key(); return ""; } catch (error) { return error.message; }
}"""
FORMS = (
    "rsa2048", "dsa2048", "nistp256", "nistp384", "nistp521", "brainpoolp256", "brainpoolp384",
    "brainpoolp512", "secp256k1", "ed25519", "signing-subkey",
)  # fmt: skip


def test_every_form_of_key_that_gpg_takes_is_taken(auditor: Auditor, tmp_path: Path) -> None:
    home = tmp_path / "gpg"
    (tmp_path / "x.json").write_text("{}")
    file = str(tmp_path / "x.json")

    def page_says(user: str, *words: str) -> str:
        public = gpg(home, "--armor", "--export", user).stdout.decode()
        signature = gpg(home, "--armor", *words, "--local-user", user, "--output", "-", "--detach-sign", file)
        listed = gpg(home, "--with-colons", "--list-keys", user).stdout.decode().splitlines()
        fingerprint = next(line for line in listed if line.startswith("fpr")).split(":")[9]
        given = [public, "{}", signature.stdout.decode(), fingerprint]
        assert auditor.page.evaluate(SIGNED, [*given[:1], "{} ", *given[2:]]) != ""
        found: str = auditor.page.evaluate(SIGNED, given)
        return found

    try:
        for form in FORMS:
            given = ("--import", str(KEYS / f"{form}-unprotected.asc"))
            shown = gpg(home, "--import-options", "show-only", "--with-colons", *given).stdout.decode()
            gpg(home, *given)
            user = next(line for line in shown.splitlines() if line.startswith("fpr")).split(":")[9]
            assert page_says(user) == "", form
        # What has expired since counts, as the step's text says: a key, and a signature.
        then = ("--faked-system-time", "20200601T000000")
        gpg(
            home, *then, "--passphrase", "", "--quick-gen-key", "expired@example.com", "ed25519", "sign", "1y"
        )
        assert page_says("expired@example.com", *then, "--default-sig-expire", "1d") == ""
    finally:
        end_gpg(home)


# -- the form ------------------------------------------------------------------------------------------


def test_a_folder_or_a_dropped_zip_is_as_good_as_the_file_field(
    made: Made, auditor: Auditor, folder: Path
) -> None:
    page = auditor.page
    page.set_input_files("#folder", unpack(made.data, folder / "bundle"))
    groups = (made.fingerprint.lower()[at : at + 4] for at in range(0, 40, 4))
    page.fill("#fingerprint", "\u200e 0x" + " ".join(groups))
    assert auditor.press()["answer"] == AUTHENTIC
    (folder / "bundle" / "more.txt").write_text("more")
    page.set_input_files("#folder", folder / "bundle")
    assert "more.txt is not in SHA256SUMS" in auditor.press()["text"]
    page.evaluate(
        """(data) => {
          const given = new DataTransfer();
          given.items.add(new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], "b.zip"));
          dispatchEvent(new DragEvent("drop", {dataTransfer: given, cancelable: true}));
        }""",
        base64.b64encode(made.data).decode(),
    )
    page.wait_for_selector("#drop-hint:has-text('Dropped: b.zip')")
    assert auditor.press()["answer"] == AUTHENTIC


def test_what_is_no_fingerprint_or_no_bundle_is_said(auditor: Auditor) -> None:
    page = auditor.page
    page.fill("#fingerprint", "1234")
    page.locator("#start").press("Enter")
    assert page.evaluate("document.activeElement.id") == "fingerprint"
    assert "is not a fingerprint" in page.inner_text("#fingerprint-said")
    assert page.get_attribute("#fingerprint", "aria-invalid") == "true"
    page.fill("#fingerprint", "")
    assert auditor.press()["sentence"] == "No bundle was chosen."
    assert auditor.check(b"no zip")["sentence"] == "The zip cannot be read: it has no end."
    assert "This is not a bundle" in auditor.check(altering.zipped({"x": b""}))["sentence"]
    twice = altering.zipped({"a": b"", "b": b""}).replace(b"b", b"a")
    assert "a is in it twice" in auditor.check(twice)["sentence"]
    assert "not a name in a folder" in auditor.check(altering.zipped({"../a": b""}))["sentence"]


def test_a_browser_without_ed25519_says_so_and_nothing_is_called_authentic(
    made: Made, auditor: Auditor
) -> None:
    auditor.page.evaluate(
        """() => { crypto.subtle.importKey = async () => {
          throw new DOMException("no Ed25519", "NotSupportedError"); }; }"""
    )
    found = auditor.check(made.data, made.fingerprint)
    assert found["checks"]["c"] == "undone"
    assert found["answer"] == "Not everything was checked"
    assert "this browser has no Ed25519" in found["text"]


def test_without_the_fingerprint_it_is_only_consistent(made: Made, auditor: Auditor) -> None:
    assert "Give the fingerprint in step 1" in auditor.check(made.data)["sentence"]
    assert auditor.page.evaluate("document.activeElement.id") == "verdict-title"


def test_without_a_certificate_nothing_is_proved(made: Made, auditor: Auditor) -> None:
    files = {name: data for name, data in files_of(made.data).items() if "certificates/" not in name}
    report = json.loads(files["report.json"])
    report["evidence"] = [item for item in report["evidence"] if "certificates/" not in str(item["file"])]
    files["report.json"] = json.dumps(report).encode()
    found = auditor.check(altering.zipped(altering.summed(files)), made.fingerprint)
    assert found["answer"] == "Nothing is proved", found["text"]
    assert found["checks"]["e"] == "passed"


def test_a_ledger_that_was_taken_out_whole_is_missed(made: Made, auditor: Auditor) -> None:
    files = {name: data for name, data in files_of(made.data).items() if not name.startswith("ledger/")}
    report = json.loads(files["report.json"])
    report["evidence"] = [item for item in report["evidence"] if "ledger/" not in str(item["file"])]
    files["report.json"] = json.dumps(report).encode()
    found = auditor.check(altering.zipped(altering.summed(files)), made.fingerprint)
    assert (found["checks"]["e"], found["checks"]["heads"]) == ("absent", "failed"), found["text"]
    assert found["answer"] == "Failed"


def test_certificates_of_failures_prove_no_restore(made: Made, auditor: Auditor) -> None:
    says = """(outcomes) => { Bundle.prototype.contents_fit = async function () {
      this.outcomes = outcomes; return outcomes; }; }"""
    for outcomes, answer, sentence in (
        (["PASSED", "WARNED"], AUTHENTIC, "At the times in step d somebody"),
        (["PASSED", "FAILED"], AUTHENTIC, "At the times in step d, but for the 1 with FAILED, somebody"),
        (["FAILED", "FAILED"], "No test restore passed", "nothing in this bundle proves"),
    ):
        auditor.page.evaluate(says, outcomes)
        found = auditor.check(made.data, made.fingerprint)
        assert found["answer"] == answer
        assert sentence in found["sentence"]


def test_nothing_can_be_fetched_and_no_text_becomes_code(auditor: Auditor) -> None:
    refused = auditor.page.evaluate(
        """async () => {
          const refused = [];
          await fetch("http://127.0.0.1:9/").catch(() => refused.push("fetch"));
          // Later, as the page's own: what a debugger calls may always do so.
          await new Promise((done) => setTimeout(done));
          try { eval("1"); } catch { refused.push("eval"); }
          try { document.body.innerHTML += "<img src=x>"; } catch { refused.push("innerHTML"); }
          return refused;
        }"""
    )
    assert refused == ["fetch", "eval", "innerHTML"]
    assert any("Content Security Policy" in line for line in auditor.said)
    auditor.said.clear()
    auditor.asked[:] = auditor.asked[:1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_for_every_screen_and_reader(
    made: Made, auditor: Auditor, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = auditor.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    altered = altering.summed(files_of(made.data) | {"report.json": b"{}"})
    for data in (b"", made.data, altering.zipped(altered)):
        if data:
            auditor.check(data, made.fingerprint)
        require_accessible(page, width=width, scheme=scheme)
        wide = page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
        assert wide <= 0


def test_the_page_is_written_without_a_configuration_and_its_digest_told(tmp_path: Path, made: Made) -> None:
    told = orgkey(tmp_path, "report", "--verify-page", "page.html", expect=0)
    page = (tmp_path / "page.html").read_bytes()
    assert page == offline.render() == files_of(made.data)["verify.html"]
    assert hashlib.sha256(page).hexdigest() in told.out
    assert hashlib.sha256(page).hexdigest() in files_of(made.data)["VERIFY.txt"].decode()
    assert "exists already" in orgkey(tmp_path, "report", "--verify-page", "page.html", expect=3).error[0]
    assert orgkey(tmp_path, "report", "--verify-page", "x.html", "--json").code == 2


@pytest.mark.parametrize("name", ["openpgp.min.js", "fflate.min.js"])
def test_a_library_is_the_one_of_the_notice_unmodified(name: str) -> None:
    folder = resources.files("pipeline.report.offline")
    library = folder.joinpath(name).read_bytes()
    assert hashlib.sha256(library).hexdigest() in folder.joinpath("NOTICE.txt").read_text()
    assert library in offline.render()
