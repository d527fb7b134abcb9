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
from collections.abc import Callable
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import Any, Final

from pipeline.custody.holders.interface import Binding, Coordinates
from pipeline.custody.shares.manifest_section import CustodySection, PathEntry, ShareEntry
from pipeline.custody.shares.paths import HolderDescription

WIDTH: Final = 96


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


def command(line: str) -> str:
    """A command as it stands in a text for people: one line, indented, after ``$ ``."""
    return f"    $ {line}"


_VAULT: Final = command("VAULT=$(command -v vault || command -v bao)")


def _path_text(section: CustodySection, entry: PathEntry, binding: Binding) -> str:
    lines = ["", f"Path {entry.name}", "~" * (5 + len(entry.name)), ""]
    number = 0
    for need in entry.needs:
        holder = section.holders[need.holder]
        texts, shares = _texts_of(holder.kind), entry.shares_of(need.holder)
        count = "" if need.size == 1 else f", any {need.threshold} of {need.size}; leave the others out"
        lines += [fill(f"Holder {need.holder} ({holder.kind}){count}. {texts['explain']}", WIDTH), ""]
        if "advice" in texts:
            lines += _people_text(holder, shares, number, texts["advice"])
        if holder.kind == "vault-transit" and _VAULT not in lines:
            lines.append(_VAULT)
        for share in shares:
            number += 1
            lines += map(command, _share_commands(holder, entry, share, number, binding))
        lines.append("")
    return "\n".join([*lines, "Put together:", "", *map(command, _join_commands(number)), ""])


def _people_text(
    holder: HolderDescription, shares: tuple[ShareEntry, ...], before: int, advice: list[str]
) -> list[str]:
    """Whose shares these are, and what to do about those who are absent or bring words.

    Args:
        holder: The group.
        shares: Its shares on the path.
        before: How many shares of the path stand before these.
        advice: What the guide says to such people.
    """
    lines = []
    for number, share in enumerate(shares, before + 1):
        first, *more = _person(holder, share)
        lines += [f"  share {share.index}, SHARE_{number}: {first}", *(f"      {line}" for line in more)]
    for text in advice:
        # One that begins with a space is a line as it is typed, not one of those that are always run.
        lines += ["", text if text.startswith(" ") else fill(text, WIDTH, break_on_hyphens=False)]
    return [*lines, ""]


def _person(holder: HolderDescription, share: ShareEntry) -> list[str]:
    if holder.kind == "paper":
        keepers = holder.listed("kept_by")
        keeper = keepers[share.index - 1] if share.index <= len(keepers) else share.label
        return [f"the sheet kept by {_plain(keeper)}"]
    name = holder.names.get(share.label, "")
    keys = dict(zip(holder.listed("members"), holder.listed("encrypted_to"), strict=False))
    certificate = f"certificate {_plain(share.label)}"
    first, *more = [_plain(key[-16:]) for key in keys.get(share.label, "").split(" ")]
    if first:
        certificate += f", encrypted to its key {first}"
    lines = [certificate, *(f"the key {key} opens it as well" for key in more)]
    return [_plain(name), *lines] if name else lines


def _plain(text: str) -> str:
    """Foreign text as one line of ASCII, without accents. It never begins a line, so it is not a command."""
    spelled = unicodedata.normalize("NFKD", text)
    letters = (letter for letter in spelled if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in letters)[:100]


def _share_commands(
    holder: HolderDescription, entry: PathEntry, share: ShareEntry, number: int, binding: Binding
) -> list[str]:
    """Open one share into a variable, and compare it with its commitment."""
    opened = _OPENERS[holder.kind](holder.coordinates, share, binding) if holder.kind in _OPENERS else _TYPED
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
}
