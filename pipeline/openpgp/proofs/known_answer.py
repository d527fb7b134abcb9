"""A known answer: what an implementation has to read rightly on this host before it judges a key.

Made by :mod:`tools.make_known_answer`. The key is published, and protects nothing.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).with_name("known_answer.json")
_made: Final[dict[str, str]] = json.loads(DATA.read_text())
FINGERPRINT: Final = _made["fingerprint"]
PASSPHRASE: Final = _made["passphrase"]
ANSWER: Final = _made["answer"].encode()
SECRET, PUBLIC, MESSAGE, SIGNATURE = (
    base64.b64decode(_made[name]) for name in ("secret", "public", "message", "signature")
)
