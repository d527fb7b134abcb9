"""How to get the escrow passphrase back without this program: the commands, path by path.

The commands are for bash, run in one shell, in the directory in which the record was unpacked. Each is
one line, indented by four spaces, after ``$ ``. Shares and passphrase stay in shell variables and pipes:
``printf`` is a builtin, so they are in no argument list and in no file.

People's shares are opened by those who are there; the others' variables stay empty, and are left out when
the shares are put together. Words that a custodian brings from elsewhere are typed in unseen.

``shamir recover`` reads its shares from standard input, one a line, and ends with 0 *without any result*
when they are too few; the ``grep`` behind it turns that into a failure.
"""

from __future__ import annotations

import shlex
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import Any

from pipeline.custody.holders.interface import Binding, Coordinates
from pipeline.custody.shares.manifest_section import CustodySection, PathEntry, ShareEntry
from pipeline.custody.shares.paths import PathNeed

WIDTH = 96


def commands_for(section: CustodySection, path: str, binding: Binding) -> list[str]:
    """The commands that recover the escrow passphrase along one path.

    They leave the 64 hexadecimal digits in the shell variable ``PASSPHRASE``.

    Args:
        section: The record's custody section.
        path: The path's name.
        binding: The record.

    Returns:
        Lines for bash, without indentation.

    Raises:
        UsageProblem: The record has no such path.
    """
    entry = section.path(path)
    kinds = {section.holders[need.holder].kind for need in entry.needs}
    lines = ["VAULT=$(command -v vault || command -v bao)"] if "vault-transit" in kinds else []
    for number, share in enumerate(entry.shares, 1):
        lines += _share_commands(section, entry, share, number, binding)
    return lines + _join_commands(len(entry.shares))


def render(section: CustodySection, binding: Binding, fingerprint: str) -> str:
    """The part of RECOVERY.txt that leads from the record to the escrow passphrase.

    Args:
        section: The record's custody section.
        binding: The record.
        fingerprint: The Org Key's fingerprint, for the text.

    Returns:
        Text, ASCII, with a final newline.
    """
    parts = [_path_text(section, entry, binding) for entry in section.paths]
    intro = (
        f"The escrow passphrase of {fingerprint} was split with SLIP-39, once for every path. "
        "A path needs each holder that it names; the other paths are alternatives. Every share is "
        "compared with its commitment (a SHA-256 in the manifest) before it is used: do not go on when a "
        "command does not say that the share is right."
    )
    return "\n".join([fill(intro, WIDTH), *parts])


def _path_text(section: CustodySection, entry: PathEntry, binding: Binding) -> str:
    lines = ["", f"Path {entry.name}", "~" * (5 + len(entry.name)), ""]
    vault = False
    number = 0
    for need in entry.needs:
        kind = section.holders[need.holder].kind
        lines += [fill(_explain(need, kind), WIDTH), ""]
        lines += _people_text(section, entry, need, number)
        if kind == "vault-transit" and not vault:
            lines.append(_command("VAULT=$(command -v vault || command -v bao)"))
            vault = True
        for share in entry.shares_of(need.holder):
            number += 1
            lines += [_command(line) for line in _share_commands(section, entry, share, number, binding)]
        lines.append("")
    lines += ["Put together:", ""]
    lines += [_command(line) for line in _join_commands(number)]
    return "\n".join([*lines, ""])


def _command(line: str) -> str:
    return f"    $ {line}"


def _explain(need: PathNeed, kind: str) -> str:
    """What a person has to do before the commands of one holder work."""
    who = _texts_of(kind)["explain"]
    count = "" if need.size == 1 else f", any {need.threshold} of {need.size}; leave the others out"
    return f"Holder {need.holder} ({kind}){count}. {who}"


def _people_text(section: CustodySection, entry: PathEntry, need: PathNeed, before: int) -> list[str]:
    """Whose shares these are, and what to do about those who are absent or bring words.

    Args:
        section: The record's custody section.
        entry: The path.
        need: The holder on it.
        before: How many shares of the path stand before this holder's.
    """
    description = section.holders[need.holder]
    if "advice" not in _texts_of(description.kind):
        return []
    people = _openpgp_people if description.kind == "openpgp" else _paper_people
    shares = entry.shares_of(need.holder)
    lines = []
    for number, (share, who) in enumerate(
        zip(shares, people(description.coordinates, shares), strict=True), 1
    ):
        lines.append(f"  share {share.index}, SHARE_{before + number}: {who[0]}")
        lines += [f"      {line}" for line in who[1:]]
    for text in _texts_of(description.kind)["advice"]:
        # One that begins with a space is a line as it is typed, not one of those that are always run.
        lines += ["", text if text.startswith(" ") else fill(text, WIDTH, break_on_hyphens=False)]
    return [*lines, ""]


def _openpgp_people(coordinates: Coordinates, shares: tuple[ShareEntry, ...]) -> Iterator[tuple[str, ...]]:
    members = _texts(coordinates, "members")
    names = dict(zip(members, _texts(coordinates, "names"), strict=False))
    subkeys = dict(zip(members, _texts(coordinates, "encrypted_to"), strict=False))
    for share in shares:
        name = names.get(share.label, "")
        lines = [_plain(name), f"certificate {_plain(share.label)}"]
        if share.label in subkeys:
            lines[1] += f", encrypted to its key {_plain(subkeys[share.label])[-16:]}"
        yield tuple(lines if name else lines[1:])


def _paper_people(coordinates: Coordinates, shares: tuple[ShareEntry, ...]) -> Iterator[tuple[str, ...]]:
    keepers = _texts(coordinates, "kept_by")
    for share in shares:
        keeper = keepers[share.index - 1] if share.index <= len(keepers) else share.label
        yield (f"the sheet kept by {_plain(keeper)}",)


def _texts(coordinates: Coordinates, name: str) -> list[str]:
    listed = coordinates.get(name)
    return list(listed) if isinstance(listed, list) else []


def _plain(text: str) -> str:
    """Foreign text as one line of ASCII, without accents. It never begins a line, so it is not a command."""
    spelled = unicodedata.normalize("NFKD", text)
    letters = (letter for letter in spelled if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in letters)[:100]


def _share_commands(
    section: CustodySection, entry: PathEntry, share: ShareEntry, number: int, binding: Binding
) -> list[str]:
    """Open one share into a variable, and compare it with its commitment."""
    description = section.holders[share.holder]
    opened = _OPENERS.get(description.kind, _typed)(description.coordinates, share, binding)
    place = " ".join(
        shlex.quote(field)
        for field in (share.salt, binding.record_id, entry.name, share.holder, str(share.index))
    )
    variable = f"SHARE_{number}"
    return [
        f"{variable}=$({opened})",
        f"printf '%s\\n' {place} \"${variable}\" | sha256sum | grep -q '^{share.commitment}' "
        f'&& echo "share {share.index} of holder {share.holder} is right"',
    ]


def _join_commands(count: int) -> list[str]:
    shares = " ".join(f'"$SHARE_{number}"' for number in range(1, count + 1))
    return [
        f"PASSPHRASE=$(printf '%s\\n' {shares} | grep . | shamir recover | grep -oE '[0-9a-f]{{64}}$')",
        'test "${#PASSPHRASE}" = 64 && echo "the escrow passphrase is in the variable PASSPHRASE"',
    ]


def _transit(coordinates: Coordinates, share: ShareEntry, binding: Binding) -> str:
    namespace = coordinates.get("namespace")
    words = ["write", f"-address={coordinates['address']}"]
    words += [f"-namespace={namespace}"] if namespace else []
    words += ["-field=plaintext", f"{coordinates['mount']}/decrypt/{coordinates['key']}"]
    return (
        f'"$VAULT" {shlex.join(words)} ciphertext="$(cat {shlex.quote(share.member)})" '
        f"context={binding.transit_context()} | base64 -d"
    )


def _kms(coordinates: Coordinates, share: ShareEntry, binding: Binding) -> str:
    words = ["aws", "kms", "decrypt", "--region", str(coordinates["region"])]
    if coordinates.get("endpoint_url"):
        words += ["--endpoint-url", str(coordinates["endpoint_url"])]
    context = ",".join(f"{name}={value}" for name, value in binding.mapping().items())
    words += ["--key-id", str(coordinates["key_arn"]), "--ciphertext-blob", f"fileb://{share.member}"]
    words += ["--encryption-context", context, "--query", "Plaintext", "--output", "text"]
    return f"{shlex.join(words)} | base64 -d"


def _openpgp(coordinates: Coordinates, share: ShareEntry, binding: Binding) -> str:
    return f"gpg --decrypt {shlex.quote(share.member)}"


_TYPED = "read -r -s WORDS && printf %s \"$WORDS\" | tr 'A-Z' 'a-z'"


def _typed(coordinates: Coordinates, share: ShareEntry, binding: Binding) -> str:
    return _TYPED


@cache
def _texts_of(kind: str) -> dict[str, Any]:
    """What the guide says of one kind of holder: ``explain``, and for people ``advice`` in paragraphs."""
    texts: dict[str, dict[str, Any]] = tomllib.loads(
        Path(__file__).with_name("recovery_guide.toml").read_text()
    )
    return texts.get(kind, texts["other"])


_OPENERS: dict[str, Callable[[Coordinates, ShareEntry, Binding], str]] = {
    "vault-transit": _transit,
    "aws-kms": _kms,
    "openpgp": _openpgp,
    "paper": _typed,
}
