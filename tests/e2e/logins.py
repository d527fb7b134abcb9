"""Other logins in a configuration that is there."""

from __future__ import annotations

import json
import re

from tests.support.commandline import Desk


def use(desk: Desk, who: str, /, **settings: str) -> None:
    """Replace an identity's login at Vault."""
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    text, count = re.subn(
        rf"(\[identity\.{who}\.vault\][^\n]*\n)(?:[a-z_]+ = [^\n]*\n)+",
        lambda found: found[1] + lines,
        desk.config.read_text(),
    )
    assert count == 1
    desk.config.write_text(text)
