"""What the packages bring: a page for each command, units, the user, scripts that enable nothing."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline import __version__
from tools import make_man
from tools.make_reference import commands
from tools.packages import build

PAGES = {Path(name).name: text for name, text in make_man.pages().items()}


def test_the_pages_are_those_of_this_version() -> None:
    there = {path.name: path.read_text() for path in make_man.FOLDER.rglob("*.[15]")}
    assert there == PAGES, "run `make generate` and commit what it writes"


def test_each_command_has_a_page_that_the_others_name() -> None:
    names = {f"{one.words.replace(' ', '-')}.1" for one in commands()}
    assert set(PAGES) == names | {"orgkey.toml.5"}
    named = re.findall(r"^\.BR (\S+) \((\d)\)", "".join(PAGES.values()), re.MULTILINE)
    assert {f"{name}.{section}" for name, section in (_plain(it) for it in named)} == set(PAGES)


def _plain(item: tuple[str, str]) -> tuple[str, str]:
    return item[0].replace("\\-", "-").rstrip(","), item[1]


def test_a_page_has_every_option_and_its_exit_codes() -> None:
    page = PAGES["orgkey-restore.1"].replace("\\-", "-")
    (one,) = [one for one in commands() if one.words == "orgkey restore"]
    for name in one.names:
        assert name in page
    assert "\n.SH EXIT STATUS\n.TP\n.B 0\n" in page
    assert ".B 32\na share is wrong (named)\n" in page


def test_every_setting_is_on_the_page_of_the_configuration() -> None:
    from pipeline.config.schema import sections

    page = PAGES["orgkey.toml.5"].replace("\\-", "-")
    for section in sections().values():
        for name in section.settings:
            assert f"\n\\fB{name}\\fR (" in page


def test_text_is_never_taken_for_a_request() -> None:
    assert make_man.escaped(".so /etc/passwd\n'quoted \\n `--option`") == (
        "\\&.so /etc/passwd\n\\(aqquoted \\en \\fB\\-\\-option\\fR"
    )
    assert make_man.escaped("see [sources](../how-to.md#x)") == "see sources"
    known = {"TH", "SH", "PP", "TP", "B", "BR", "nf", "fi"}
    for page in PAGES.values():
        assert {line[1:].split()[0] for line in page.splitlines() if line.startswith(".")} <= known


def test_everything_beside_the_environment_is_where_a_host_looks(tmp_path: Path) -> None:
    build.files(tmp_path)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()}
    units = {f"usr/lib/systemd/system/{path.name}" for path in (build.INFRA / "systemd").glob("*@.*")}
    assert units
    assert units < there
    assert there > {
        "usr/bin/orgkey",
        "usr/lib/sysusers.d/orgkey.conf",
        "usr/share/bash-completion/completions/orgkey",
        "usr/share/fish/vendor_completions.d/orgkey.fish",
        "usr/share/man/man1/orgkey.1.gz",
        "usr/share/man/man5/orgkey.toml.5.gz",
        "usr/share/zsh/vendor-completions/_orgkey",
    }
    assert (tmp_path / "usr/share/zsh/vendor-completions/_orgkey").read_text().startswith("#compdef orgkey")


def test_the_command_is_where_the_units_call_it() -> None:
    for path in (build.INFRA / "systemd").glob("*.service"):
        assert f"/{build.HOME}/bin/orgkey " in path.read_text()
    assert build.COMMAND.startswith(f"#!/{build.HOME}/bin/python3\n")


def test_the_scripts_enable_nothing_and_remove_no_state() -> None:
    scripts = {path.stem: path.read_text() for path in build.HERE.glob("*.sh")}
    assert set(scripts) == {"postinstall", "preremove", "postremove"}
    for text in scripts.values():
        assert text.startswith("#!/bin/sh\n")
        assert "set -e" in text
        assert not re.search(
            r"\benable\b(?!d)|userdel|deluser|/var/lib", text.replace("--home-dir /var/lib/orgkey", "")
        )


def test_a_candidate_is_older_than_its_release() -> None:
    # `~` sorts before the end, for Debian as for RPM; the rest of a release stays as it is.
    assert [build.older(it) for it in ("1.0.0", "1.0.0rc1", "1.1b2")] == ["1.0.0", "1.0.0~rc1", "1.1~b2"]
    how_to = (build.ROOT / "docs" / "how-to.md").read_text()
    assert f"/orgkey-escrow_{build.older(__version__)}-1_amd64.deb" in how_to
