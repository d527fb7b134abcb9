"""Makes ``pipeline/openpgp/proofs/known_answer.py`` with gpg: ``python -m tools.make_known_answer``.

A throwaway key of the year 2000, a message to it that it has signed, and a signature: what each
implementation has to read rightly on this host before it may judge a real key.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.clock import Deadline
from pipeline.core.secret import Secret
from pipeline.openpgp.format import protection
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.key import rewrap

OUT = Path(__file__).parents[1] / "pipeline" / "openpgp" / "proofs" / "known_answer.py"
PASSPHRASE = Secret("known-answer")
ANSWER = b"known answer"
HEAD = '''"""A known answer: what an implementation has to read rightly on this host before it judges a key.

Made by :mod:`tools.make_known_answer`. The key is published, and protects nothing.
"""

from __future__ import annotations

import base64
from typing import Final

'''


def main() -> None:
    """Write the module."""
    with GnuPG(Deadline(60), moment=datetime(2000, 1, 1, tzinfo=UTC)) as gpg:

        def call(*arguments: str, stdin: bytes = b"") -> bytes:
            done = gpg.call(*arguments, stdin=stdin, passphrase=PASSPHRASE)
            assert done.returncode == 0, done
            return done.output

        call("--quick-generate-key", "Known answer", "ed25519", "cert,sign", "never")
        listed = call("--with-colons", "--list-keys").decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        call("--quick-add-key", fingerprint, "cv25519", "encr", "never")
        key = rewrap.unlock(call("--export-secret-keys"), PASSPHRASE)
        made = {
            "SECRET": key.protect(PASSPHRASE, s2k_count_octet=protection.ESCROW_COUNT_OCTET),
            "PUBLIC": key.public,
            "MESSAGE": call(
                "-z", "0", "--digest-algo", "SHA256", "--recipient", fingerprint, "--sign", "--encrypt",
                stdin=ANSWER,
            ),
            "SIGNATURE": call("--digest-algo", "SHA256", "--detach-sign", stdin=ANSWER),
        }  # fmt: skip
    text = HEAD + f'FINGERPRINT: Final = "{fingerprint}"\n'
    text += f'PASSPHRASE: Final = "{PASSPHRASE.text()}"\nANSWER: Final = {ANSWER!r}\n'.replace("'", '"')
    for name, data in made.items():
        encoded = base64.b64encode(data).decode()
        lines = [f'    "{encoded[at : at + 96]}"' for at in range(0, len(encoded), 96)]
        text += f"{name}: Final = base64.b64decode(\n" + "\n".join(lines) + "\n)\n"
    OUT.write_text(text)


if __name__ == "__main__":
    main()
