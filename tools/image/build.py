"""Building the image out of what git knows, with secrets planted beside it that must not get in."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from pathlib import Path

from tools.image import base
from tools.image.buildah import Buildah, Image, megabytes
from tools.transcript import Transcript

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "infra" / "container"
NAME = "localhost/orgkey-escrow"
PROGRAMS = {"buildah": "buildah", "runc": "runc", "mmdebstrap": "mmdebstrap"}
# Planted where somebody may have left it; no image may have it.
CANARY = "a-secret-that-nobody-may-find"
LEFT = (
    ".env", "orgkey.toml", "keypair.asc", "state/journal", "infra/container/.env",
    "infra/container/credentials/driller_aws", "infra/schedule/kubernetes/overlays/mine/driller.pem",
    "pipeline/keypair.asc", "docs/keypair.asc", "tests/note", "tools/note",
)  # fmt: skip


def built(said: Transcript, work: Path, *, again: bool = True) -> Image:
    """Build the image, and look for what must not be in it.

    Args:
        said: What is printed.
        work: A folder for the log and the checkout.
        again: Whether it is built even if it was built out of the same files before.
    """
    buildah = Buildah(work / "build.log")
    text = (CONTAINER / "Containerfile").read_text()
    (name,) = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    said.step(f"The base, under the name {name}")
    (version,) = re.findall(r"^python:(3\.\d+)-", name)
    about, made = base.ensure(buildah, name, version)
    said.output(about)
    checkout = _checkout(work / "checkout")
    tag = f"{NAME}:{_digest(checkout, made)}"
    if not again and buildah.has(tag):
        said.output(f"{tag} was built out of these files before")
        return buildah.unpack(tag)
    said.step("What is sent to the builder")
    _context(said, buildah, checkout)
    said.step("The build")
    words = [
        "bud", "--isolation", "chroot", "--pull-never", "--no-cache", "--layers=false", "--format", "docker",
        "--volume=/etc/ssl/certs:/etc/ssl/certs:ro",  # whom this host trusts; not in the image afterwards
        "--file", str(checkout / "infra/container/Containerfile"), "--tag", tag, str(checkout),
    ]  # fmt: skip
    said.command(["buildah", *words])
    begun = time.monotonic()
    told = buildah(*words)
    said.output("\n".join(line for line in told.splitlines() if re.match(r"\[\d/\d\] STEP", line)))
    said.output(f"built in {time.monotonic() - begun:.0f} s")
    buildah.keep(made, f"localhost/{name}", tag)
    image = buildah.unpack(tag)
    _weigh(said, image)
    return image


def _weigh(said: Transcript, image: Image) -> None:
    program, python = image.root / "opt/orgkey", image.root / "usr/local"
    (typst,) = program.glob("lib/python*/site-packages/typst")
    sizes = {
        "all of it": megabytes(image.root),
        "the program and its packages": megabytes(program),
        "of that typst, for the report as PDF": megabytes(typst),
        "Python": megabytes(python),
        "Debian": megabytes(image.root / "usr") - megabytes(python),
    }
    for part, size in sizes.items():
        said.output(f"{size:4d} MB  {part}")
    found = _found(["grep", "-rlF", CANARY, str(image.root)])
    said.check("none of the secrets that lay in the checkout is in the image", not found, found)
    found = _found(["find", str(image.root), "-xdev", "-name", ".git"])
    said.check("nothing of git is in the image", not found, found)
    found = _found(["find", str(image.root), "-xdev", "-type", "f", "-perm", "/6000", "-printf", "%f "])
    said.output(f"Debian's files that run as another user, without effect: no new privileges: {found}")


def _found(words: list[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def _digest(checkout: Path, base_name: str) -> str:
    """What the image is made of, in short."""
    made = hashlib.sha256(base_name.encode())
    for top in _listed(checkout):
        path = checkout / top
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                made.update(
                    f"{file.relative_to(checkout)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
                )
    return made.hexdigest()[:12]


def _listed(checkout: Path) -> list[str]:
    """What the list lets through."""
    text = (checkout / "infra/container/Containerfile.dockerignore").read_text()
    return re.findall(r"^!(\S+)$", text, re.MULTILINE)


def _checkout(folder: Path) -> Path:
    """A checkout as somebody works in it: what git knows, git's own folder, and secrets left lying about."""
    known = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, known):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    for name in (*LEFT, ".git/config"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(CANARY)
    return folder


def _context(said: Transcript, buildah: Buildah, checkout: Path) -> None:
    ignore = checkout / "infra/container/Containerfile.dockerignore"
    sent = _sent(buildah, checkout, ignore)
    top = sorted({name.split("/")[0] for name in sent})
    said.output(f"{len(sent)} files in {', '.join(top)}")
    leaked = [name for name in (*LEFT, ".git/config") if name in sent]
    said.check("no secret of the checkout and no .git is sent", not leaked, leaked)
    known = {path for top in _listed(checkout) for path in (checkout / top, *(checkout / top).rglob("*"))}
    wanted = {str(path.relative_to(checkout)) for path in known if path.is_file()} - set(LEFT)
    said.check("all that git knows of them is sent", wanted == sent, sorted(wanted ^ sent))
    nothing = checkout.parent / "empty.dockerignore"
    nothing.write_text("")
    seen = _sent(buildah, checkout, nothing)
    said.check("without the list all of them would be: this check can fail", {*LEFT, ".git/config"} <= seen)


def _sent(buildah: Buildah, checkout: Path, ignore: Path) -> set[str]:
    recipe = checkout.parent / "Context"
    recipe.write_text("FROM scratch\nCOPY . /\n")
    name = "localhost/context"
    buildah("bud", "--ignorefile", str(ignore), "--file", str(recipe), "--tag", name, str(checkout))
    root = buildah.unpack(name).root
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
