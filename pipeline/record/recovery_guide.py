"""RECOVERY.txt: how to get the key back from a record without this program."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.custody import recovery_guide
from pipeline.custody.holders.interface import Binding
from pipeline.custody.shares.manifest_section import CustodySection

_INTRO = """\
RECOVERY OF AN ORGANIZATION KEY
===============================

This file lies in a record of orgkey-escrow. The record is a plain tar; it holds the
Organization Key of a PGP Encryption Server, protected by an escrow passphrase that is
stored nowhere whole. These are the commands that get the key back with tar, gpg, shamir
(pip install "shamir-mnemonic[cli]") and the holders' own tools. This program is not needed.

  fingerprint   {fingerprint}
  user ids      {user_ids}
  epoch         {epoch}
  record id     {record_id}

With the program it is one command:  orgkey restore --out FILE

Lines that start with "$" are commands. Run them in an empty directory on a memory-backed
file system (for example under /dev/shm), as a user whom nobody else can read, in one shell,
from the top. RECORD is the path of the record.


1. Unpack, and check that the record is authentic
-------------------------------------------------
A false record has a good signature of another key, and a text like this one of its own. So compare
the fingerprint with one that you know from elsewhere (an earlier report, a printed page), and take
these commands from there, too: they are the same for every record. Go on only after AUTHENTIC.

    $ FINGERPRINT={fingerprint}
{check}

2. Get the escrow passphrase back (any ONE of the paths below is enough)
------------------------------------------------------------------------
"""

_OUTRO = """

3. Open the key
---------------
The escrow passphrase is the 64 hexadecimal digits that shamir printed; the commands above
left them in the shell variable PASSPHRASE.

    $ printf %s "$PASSPHRASE" | gpg --batch --pinentry-mode loopback --passphrase-fd 0 --import keypair.asc

It shows "sec" (not "sec#") for {fingerprint}:

    $ gpg --batch --with-colons --list-secret-keys {fingerprint} | grep -E "^sec:"

To hand the key to a server, give it a passphrase of your own, then export it:

  gpg --edit-key {fingerprint} passwd
  gpg --armor --export-secret-keys {fingerprint} > keypair-for-the-server.asc

The export as it first came in, byte for byte, under its own old passphrase:

    $ printf %s "$PASSPHRASE" | gpg --batch --pinentry-mode loopback --passphrase-fd 0 --output original.asc --decrypt original.gpg


4. Leave nothing behind
-----------------------
  gpgconf --kill gpg-agent
  unset PASSPHRASE
  cd ..
  then remove this directory, with all that is in it.
"""


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


def commands(lines: Sequence[str]) -> str:
    """Commands as they stand in a text for people: each one line, indented, after ``$ ``."""
    return "\n".join(f"    $ {line}" for line in lines)


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
        "check": commands(CHECK),
    }
    return (
        _INTRO.format(**known)
        + recovery_guide.render(section, binding, binding.fingerprint)
        + _OUTRO.format(**known)
    )


def _plain(text: str) -> str:
    """A user id is foreign text: one line, printable, and no command."""
    return "".join(char if char.isprintable() else "?" for char in text)[:200]
