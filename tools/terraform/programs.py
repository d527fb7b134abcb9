"""OpenTofu and its providers: found, built, and run in a directory of their own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where OpenTofu and Terraform look for providers without being told.
_PLUGINS = ("~/.local/share/opentofu/plugins", "~/.terraform.d/plugins", "~/.local/share/terraform/plugins")


class Failed(Exception):
    """A command did not end as it should; the text is what it said."""


def provider(name: str) -> Path | None:
    """The directory of a provider that is here, below ``TF_PLUGINS`` or where the programs look themselves.

    Args:
        name: For example ``aws``.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    roots = os.environ["TF_PLUGINS"].split(os.pathsep) if "TF_PLUGINS" in os.environ else _PLUGINS
    found = [
        path.parent
        for root in roots
        for path in Path(root).expanduser().glob(f"**/linux_{machine}/terraform-provider-{name}*")
    ]
    return max(found, default=None)


@dataclass(frozen=True, slots=True)
class Tofu:
    """OpenTofu, or Terraform, in one directory.

    Attributes:
        program: The command.
        directory: The root module, which the caller may write to.
        env: What it is started with beside the usual: addresses and logins of local servers.
    """

    program: Path
    directory: Path
    env: Mapping[str, str]

    def use(self, **providers: Path) -> None:
        """Take these providers as they lie there; the directory's modules are made known."""
        lines = [f'    "hashicorp/{name}" = {json.dumps(str(path))}' for name, path in providers.items()]
        text = "\n".join(
            ["provider_installation {", "  dev_overrides {", *lines, "  }", "  direct {}", "}", ""]
        )
        (self.directory / "cli.tfrc").write_text(text)
        self("get")

    def __call__(self, *arguments: str, limit: float = 600) -> str:
        """Run a command.

        Returns:
            What it printed.

        Raises:
            Failed: It did not end with 0.
        """
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TF_", "AWS_", "VAULT_"))
        }
        env |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color", **self.env}
        if (config := self.directory / "cli.tfrc").exists():
            env["TF_CLI_CONFIG_FILE"] = str(config)
        done = subprocess.run(
            [self.program, *arguments],
            cwd=self.directory,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{self.program.name} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def state(self) -> dict[str, Any]:
        """The values of what was applied, by address."""
        found: dict[str, Any] = {}

        def walk(module: Mapping[str, Any]) -> None:
            found.update({item["address"]: item["values"] for item in module.get("resources", [])})
            for child in module.get("child_modules", []):
                walk(child)

        walk(json.loads(self("show", "-json"))["values"]["root_module"])
        return found
