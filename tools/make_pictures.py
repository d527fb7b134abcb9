"""Make the pictures of the pages in ``docs/pictures`` from a run on servers of its own (``make pictures``).

A throwaway key is escrowed for two machines and five people, restored in drills, and looked at: the report,
the sheet of a custodian, the custody posture and the status. Chromium takes the pictures; pdftoppm, of
poppler-utils, turns the sheet into one.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.support import people
from tests.support.browser import CHROMIUM, QUIET

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTH, COLUMNS, ROWS = 1100, 80, 24
NAMES = {
    "alice": ("Alice Archer", "+49 30 5550101"),
    "bob": ("Bob Baker", "+49 30 5550102"),
    "carol": ("Carol Chen", "+49 30 5550103"),
    "dave": ("Dave Diaz", "+49 30 5550104"),
    "erin": ("Erin Eze", "+49 30 5550105"),
}
_COLOURS = {"31": "#ff8a80", "32": "#7fd3a0", "33": "#f3c46b", "2": "#a9b3c0"}
_SCREEN = """<!doctype html><meta charset="utf-8"><style>body{{margin:0;display:inline-block}}
pre{{margin:0;padding:16px 20px;background:#14181f;color:#e6eaf0;font:15px/1.35 "DejaVu Sans Mono",monospace}}
</style><pre>{}</pre>"""

_SHEET = """<!doctype html><meta charset="utf-8"><style>
body{display:flex;gap:12px;margin:0;padding:12px;background:#8793a3}img{width:calc(50% - 6px)}
</style><img src="page-1.png" alt=""><img src="page-2.png" alt="">"""

_PROGRAM = str(Path(sys.executable).with_name("orgkey"))


class Story:
    """The run: a folder with everything, and the program in it.

    Args:
        folder: An empty folder with a short name: the path of an agent's socket has a limit (unix(7)).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mine = ("VAULT_", "BAO_", "AWS_", "ORGKEY_", "NO_COLOR")
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith(mine)} | {
            "ORGKEY_STACK_DIR": str(folder / "stack"),
            "ORGKEY_STATE_DIR": str(folder / "state"),
            "ORGKEY_CONFIG": str(folder / "orgkey.toml"),
            "ORGKEY_LAB_DIR": str(folder / "server"),
            "GNUPGHOME": str(folder / "gnupg"),
            "TERM": "xterm-256color",
        }

    def run(self, *words: str, fails: bool = False) -> str:
        """Run the program, and say what it printed on standard output."""
        command = [_PROGRAM, *words]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip
        if (done.returncode != 0) is not fails:
            sys.exit(f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def screen(self, *words: str) -> str:
        """What a terminal shows of a command, with its colours."""
        terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        command = [_PROGRAM, *words]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdin=inside, stdout=inside, stderr=inside
        ):
            os.close(inside)
            printed = b""
            while piece := _read(terminal):
                printed += piece
        os.close(terminal)
        return printed.decode().replace("\r\n", "\n")

    def prepare(self) -> None:
        """Everything up to the pictures: escrow, check-in, drills with and without people."""
        for name, text in (("ignition", "at every boot"), ("passphrase", "correct horse battery staple")):
            (self.folder / name).write_text(f"{text}\n")
            (self.folder / name).chmod(0o600)
        given = ("--export-passphrase-file", "passphrase")
        self.run("lab", "setup", "acme.example", "--ignition-passphrase-file", "ignition")
        self.run("lab", "user", "add", "Ada Lovelace", "ada@acme.example")
        self.run("lab", "backup", "--content", "random", "--size", "2000000", "--to", "backups")
        self.run("lab", "export", "keypair", "--out", ".", *given)
        (export,) = self.folder.glob("0x*.asc")
        self.run("stack", "up")
        fingerprint = re.search(r'"fingerprint": "(\w+)"', self.run("inspect", export.name, "--json"))
        assert fingerprint is not None
        self.run("stack", "config", "--out", "orgkey.toml", "--fingerprint", fingerprint[1])
        self._configure()
        self.run("escrow", export.name, *given)
        self.run("backups", "verify")
        self.run("custody", "kit", "--out", "kit", "--no-bundle")
        (self.folder / "gnupg").mkdir(mode=0o700)
        for name in NAMES:
            gpg = ["gpg", "--batch", "--quiet", "--import"]
            subprocess.run(gpg, env=self.environment, input=people.secret_key(name), check=True, timeout=60)
        shares = [
            ("--share", str(path)) for path in sorted(self.folder.glob("kit/custodians/*/custodians.asc"))
        ]
        for count in (2, 3):  # two are not enough
            brought = [word for share in shares[:count] for word in share]
            self.run("drill", "--via", "custodians", *brought, fails=count == 2)
        self.run("drill")

    def _configure(self) -> None:
        members = ",\n  ".join(
            f'{{ fingerprint = "{people.FINGERPRINTS[name]}", name = "{called}", contact = "{contact}" }}'
            for name, (called, contact) in NAMES.items()
        )
        certificates = people.folder(self.folder / "certificates")
        path = self.folder / "orgkey.toml"
        path.write_text(
            f"{path.read_text()}\n"
            f'[holder.custodians]\nkind = "openpgp"\nmembers = [\n  {members},\n]\n'
            f'certificates = "{certificates}"\n'
            '[path.custodians]\nneeds = [{ holder = "custodians", threshold = 3 }]\n'
            f'[backups.nightly]\nlocation = "{self.folder / "backups"}"\n'
        )

    def end(self) -> None:
        """Stop what runs, and remove the folder."""
        for words in (("lab", "reboot"), ("stack", "down", "--wipe")):
            self.run(*words)
        subprocess.run(["gpgconf", "--kill", "all"], env=self.environment, check=True, timeout=60)
        shutil.rmtree(self.folder)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def as_page(printed: str) -> str:
    """What a terminal shows as a page: text, and the colours that this program uses."""
    spans = re.sub(
        r"\x1b\[([0-9;]*)m",
        lambda code: "</span><span style='" + _style(code[1]) + "'>",
        html.escape(printed.strip("\n")),
    )
    return _SCREEN.format(f"<span>{spans}</span>")


def _style(code: str) -> str:
    parts = code.split(";")
    colour = next((f"color:{_COLOURS[part]};" for part in parts if part in _COLOURS), "")
    return colour + ("font-weight:bold" if "1" in parts else "")


def take(story: Story, browser: Browser, folder: Path) -> None:
    """Take the pictures.

    Args:
        story: The run, prepared.
        browser: Takes them.
        folder: Where to.
    """
    story.run("report", "--out", "report.html")
    (folder / "posture.svg").unlink(missing_ok=True)
    story.run("custody", "posture", "--svg", str(folder / "posture.svg"))
    (story.folder / "status.html").write_text(
        as_page("$ orgkey status\n" + story.screen("status", "--quiet"))
    )
    (sheet,) = story.folder.glob("kit/custodians/*-alice-*/sheet.pdf")
    command = ["pdftoppm", "-r", "90", "-png", str(sheet), str(story.folder / "page")]
    subprocess.run(command, check=True, timeout=60)
    (story.folder / "sheet.html").write_text(_SHEET)
    # Of the report its first screen, the others whole.
    for name, height in (("report", 860), ("status", None), ("sheet", None)):
        tab = browser.new_page(viewport={"width": WIDTH, "height": height or 100}, color_scheme="light")
        tab.goto((story.folder / f"{name}.html").as_uri())
        shown = tab if height else tab.locator("body")
        shown.screenshot(path=folder / f"{name}.png")
        tab.close()


def main() -> int:
    """Run, take the pictures, clean up."""
    if CHROMIUM is None or shutil.which("pdftoppm") is None:
        sys.exit("missing: on Debian `apt install chromium poppler-utils`")
    story = Story(Path(tempfile.mkdtemp(prefix="okp-")))
    try:
        story.prepare()
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
            take(story, browser, PICTURES)
            browser.close()
    finally:
        story.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
