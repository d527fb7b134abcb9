"""Environment variables around the stack: those that must not reach it, and those for people's shells."""

from __future__ import annotations

import os
import shlex
from collections.abc import MutableMapping

from pipeline.devstack.programs import OPENBAO, find
from pipeline.devstack.stack import Stack
from pipeline.devstack.wire import REGION

# What a shell may hold that would lead `bao` or `aws` away from the stack.
UNSET = (
    *("BAO_ADDR", "BAO_TOKEN", "BAO_NAMESPACE", "VAULT_NAMESPACE", "VAULT_TOKEN", "VAULT_CACERT"),
    *("VAULT_AGENT_ADDR", "BAO_AGENT_ADDR", "VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY"),
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
)
FOREIGN = ("VAULT_", "BAO_", "AWS_", "ROOT_ACCESS_KEY", "ROOT_SECRET", "VGW_")


def drop_ambient(env: MutableMapping[str, str] | None = None) -> None:
    """Forget every setting of Vault and AWS that was meant for other servers, profiles included.

    Args:
        env: What is changed; this process' environment by default.
    """
    env = os.environ if env is None else env
    for name in [name for name in env if name.startswith(FOREIGN)]:
        del env[name]
    env["AWS_CONFIG_FILE"] = env["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    env["AWS_EC2_METADATA_DISABLED"] = "true"


def shell_exports(stack: Stack, identity: str) -> str:
    """Lines for ``eval "$(orgkey stack env)"``, after which `bao` and `aws` work on the stack.

    No secret stands in them: credentials are named by file, and the token is fetched when the lines are
    evaluated, so a terminal, a log or a transcript shows none.

    Args:
        stack: The stack; it has been up.
        identity: ``driller``, ``writer`` or ``root``.

    Raises:
        UsageProblem: There is no stack.
    """
    layout, program = stack.layout, find(OPENBAO)
    bao = str(program) if program else "bao"
    exports = {
        "VAULT_ADDR": stack.endpoint("vault"),
        "AWS_ENDPOINT_URL_S3": stack.endpoint("s3"),
        "AWS_ENDPOINT_URL_KMS": stack.endpoint("kms"),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,  # version 1 of the aws command knows no other
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": str(layout.aws_credentials(identity)),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    lines = [f"unset {' '.join(UNSET)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    if program:
        lines.append(f'export PATH={shlex.quote(str(program.parent))}:"$PATH"')
    if identity == "root":
        token = f"cat {shlex.quote(str(layout.root_token))}"
    else:
        role, secret = (
            shlex.quote(f"@{path}") for path in (layout.role_id(identity), layout.secret_id(identity))
        )
        token = f"{shlex.quote(bao)} write -field=token auth/approle/login role_id={role} secret_id={secret}"
    lines.append(f'VAULT_TOKEN="$({token})" && export VAULT_TOKEN')
    return "\n".join(lines) + "\n"
