"""The page about a bucket that is not at AWS, typed as written on the S3 of the stack.

Where that is an outside server, one key has all rights: users and policies are left out there.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.devstack import build, wire
from pipeline.devstack.programs import VERSITYGW
from pipeline.devstack.progress import Progress
from tests.conftest import Place
from tests.runbooks.runner import Typist, execute
from tests.support import openpgp_writer
from tests.support.commandline import ROOT, Desk, environment

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

PAGE = ROOT / "docs" / "own-bucket.md"
OURS_ALONE = ("The users", "The rights", "Does nobody else write?")
LOGINS = ("writer", "driller", "auditor", "retention")


def without(text: str, *titles: str) -> str:
    """A page without some of its sections."""
    for title in titles:
        before, _, rest = text.partition(f"## {title}\n")
        assert rest, title
        text = before + "".join(rest.partition("\n## ")[1:]).lstrip("\n")
    return text


def table(page: str) -> str:
    """The part of a configuration that the page shows."""
    (found,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


def test_the_page_holds_on_this_s3(stack: Stack, tmp_path: Path) -> None:
    outside = stack.state.members["s3"].process is None
    tag = f"own-{uuid.uuid4().hex[:6]}"
    places = {
        "https://s3.example.com:9000": stack.endpoint("s3"),
        "us-east-1": wire.REGION,
        "example-orgkey": f"{tag}-records",
        "orgkey-$who": f"{tag}-$who",
        "orgkey-%s": f"{tag}-%s",
        **{f"orgkey-{name}": f"{tag}-{name}" for name in LOGINS},
        **{f"/etc/orgkey/credentials/pgp1/{name}/aws": str(tmp_path / "logins" / name) for name in LOGINS},
    }
    desk = Desk(Place(stack, "records", "orgkey"), tmp_path)
    places["EXPORT"] = str(desk.export)
    typist = Typist(
        {"orgkey escrow": [("passphrase of the export", openpgp_writer.PASSPHRASE.decode())]}, places
    )
    env = environment(tmp_path) | {
        "PATH": os.pathsep.join(
            [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "ORGKEY_CONFIG": str(desk.config),
        "ORGKEY_STATE_DIR": str(desk.state),
        "AWS_PAGER": "",
    }
    (tmp_path / "infra").symlink_to(ROOT / "infra")
    (tmp_path / "bin").mkdir()
    root = stack.layout.aws_credentials("writer" if outside else "root")
    (tmp_path / ".aws").mkdir(exist_ok=True)
    (tmp_path / ".aws" / "credentials").write_text(root.read_text().replace("[default]", "[admin]"))
    page = PAGE
    if outside:
        page = tmp_path / PAGE.name
        page.write_text(without(PAGE.read_text(), *OURS_ALONE))
        (tmp_path / "logins").mkdir()
        for name in LOGINS:
            (tmp_path / "logins" / name).write_text(root.read_text())
    else:
        (tmp_path / "bin" / "versitygw").symlink_to(build.ensure(VERSITYGW, Progress()))
        access, secret = wire.read_credentials(root)
        env |= {
            "ADMIN_ENDPOINT_URL": stack.endpoint("s3"),
            "ADMIN_ACCESS_KEY": access,
            "ADMIN_SECRET_KEY": secret,
        }

    def configured() -> None:
        text = desk.config.read_text()
        text = re.sub(r"^\[target\.s3\].*?(?=^\[|\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
        # The stack's KMS knows the stack's own logins alone.
        text = re.sub(r"^\[identity\.(\w+)\.aws\]", r"[identity.\1.at.aws]", text, flags=re.MULTILINE)
        desk.config.write_text(text + "\n" + typist.here(table(PAGE.read_text())))

    done = execute(page, tmp_path, env, {"configured": configured}, typist)
    assert len(done) >= (11 if outside else 17)
