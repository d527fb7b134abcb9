"""Makes ``pipeline/openpgp/proofs/known_answer.json`` with gpg: ``python -m tools.make_known_answer``.

A throwaway key of the year 2000, a message to it that it has signed, and a signature: what each
implementation has to read rightly on this host before it may judge a real key.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from pipeline.core.clock import Deadline
from pipeline.core.secret import Secret
from pipeline.openpgp.format import protection
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.proofs import known_answer

PASSPHRASE = Secret("known-answer")
ANSWER = b"known answer"


def main() -> None:
    """Write the file."""
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
            "secret": key.protect(PASSPHRASE, s2k_count_octet=protection.ESCROW_COUNT_OCTET),
            "public": key.public,
            "message": call(
                "-z", "0", "--digest-algo", "SHA256", "--recipient", fingerprint, "--sign", "--encrypt",
                stdin=ANSWER,
            ),
            "signature": call("--digest-algo", "SHA256", "--detach-sign", stdin=ANSWER),
        }  # fmt: skip
    document = {"fingerprint": fingerprint, "passphrase": PASSPHRASE.text(), "answer": ANSWER.decode()}
    document |= {name: base64.b64encode(data).decode() for name, data in made.items()}
    known_answer.DATA.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
