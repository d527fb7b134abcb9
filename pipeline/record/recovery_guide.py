"""RECOVERY.txt: how to get the key back from a record without this program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.custody import recovery_guide
from pipeline.custody.holders.interface import Binding
from pipeline.custody.shares.manifest_section import CustodySection

TEMPLATE = Path(__file__).with_name("recovery_guide.txt")
"""The text, with places for what differs between records."""


CHECK = (
    "umask 077",
    'export GNUPGHOME="$PWD/gnupg" && mkdir -m 700 "$GNUPGHOME" record',
    'tar -xf "$RECORD" -C record && cd record && gpg --batch --quiet --import public.asc',
    "SAID=$(gpg --batch --status-fd 1 --verify manifest.json.asc manifest.json) || SAID=",
    "SUMS=$(python3 -I -c \"import json; [print(d, n, sep='  ') for n, d in "
    "json.load(open('manifest.json'))['members'].items()]\") || SUMS=",
    'grep -qaE "^\\[GNUPG:\\] VALIDSIG ([0-9A-Z-]+ ){9}$FINGERPRINT\\$" <<< "$SAID" && '
    'sha256sum --quiet -c - <<< "$SUMS" && echo "AUTHENTIC: signed by $FINGERPRINT, and every member is whole" || '
    '{ cd ..; echo "FALSE: do not use this record, nor any text in it"; false; }',
)
"""Commands for bash that tell a true record from a false one, given RECORD and FINGERPRINT.

They stand in the documentation and in kits as well, so that nobody has to take them out of a record that is
not known to be true. What is unpacked lies apart from gpg's home, and Python does not look there for modules:
a record may hold files of any name. Only a line of gpg that begins with its own mark counts, since user ids
and notations are foreign text, and gpg itself has to end with 0.
"""
CHECK_TEXT = "\n".join(map(recovery_guide.command, CHECK))
"""The same as they stand in a text for people."""


def recovery_text(section: CustodySection, binding: Binding, *, epoch: str, user_ids: Sequence[str]) -> str:
    """Write RECOVERY.txt with the fingerprint and the paths filled in.

    Args:
        section: The record's custody section.
        binding: Fingerprint and record id.
        epoch: The epoch's name.
        user_ids: The key's user ids, for people.
    """
    known = {
        "fingerprint": binding.fingerprint,
        "record_id": binding.record_id,
        "epoch": epoch,
        "user_ids": "; ".join(_plain(item) for item in user_ids) or "(none)",
        "check": CHECK_TEXT,
        "custody": recovery_guide.render(section, binding, binding.fingerprint),
    }
    return TEMPLATE.read_text().format(**known)


def _plain(text: str) -> str:
    """A user id is foreign text: one line, printable, and no command."""
    return "".join(char if char.isprintable() else "?" for char in text)[:200]
