"""The root of the command line, and the one boundary where errors become exits."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from typing import Annotated, NoReturn, TypeGuard

import typer

from pipeline import __version__
from pipeline.cli import streams
from pipeline.cli.lazy import commands, group
from pipeline.cli.output import report_error
from pipeline.core import clock, hardening, host_limits, log, signals
from pipeline.core.errors import Code, Interrupted, LocalFilesProblem, OrgkeyError, UsageProblem
from pipeline.core.signals import Signalled

# By task, in the order of the help page. A command is in the module of its words; see `lazy`.
COMMANDS = commands(
    {
        "Everyday": {
            "escrow": "Store sealed copies of the Org Key, and prove that they restore.",
            "drill": "Restore from the stored copies, and prove that the key works.",
            "status": "Say how fresh and how proven the escrow is.",
            "list": "Show epochs, copies, versions and states.",
            "verify": "Read every copy whole and check that it is authentic.",
            "watch": "Watch inbox, live key and backups; for a service or a timer.",
            "refresh": "Store a renewed public part with the same secret.",
            "retain": "Extend the retention of stored records (S3 with Object Lock).",
            "backups": "Look after the server's backups: that the escrowed keys open them.",
            "backups verify": "Open backups with the escrowed key; prove that they are whole.",
            "backups map": "Which escrowed key opens which backup.",
            "backups read": "For other machines: read the backup of one ticket.",
            "backups crew": "Machines that read backups by tickets.",
            "backups crew init": "Make the key with which a crew opens its tickets.",
        },
        "After a disaster": {
            "restore": "Get the keypair back under a passphrase that you choose.",
            "repair": "Copy records to missing, damaged or new targets.",
        },
        "Custody": {
            "custody": "Look after shares: who has them, whether they are good, new ones.",
            "custody posture": "Who can reconstruct the key; what loss is fatal.",
            "custody challenge": "Ask custodians for proof of their shares.",
            "custody check": "For custodians: prove a share to the operator.",
            "custody confirm": "Enter the codes that custodians answered.",
            "custody rotate": "New passphrase, shares and record for the same key.",
            "custody kit": "Make sheets for custodians and a kit for the safe.",
        },
        "Setting up": {
            "init": "Write a commented orgkey.toml with the pin.",
            "doctor": "Check everything that a run will need.",
            "inspect": "Say what an export is, and whether it could restore a server.",
            "config": "Check the configuration, or print its schema.",
            "config validate": "Say whether the configuration is valid.",
            "config schema": "Print the configuration's JSON schema.",
            "infra": "Compare Vault's policies, roles and mounts with infra/vault, and set them.",
            "infra plan": "Show what differs; changes nothing.",
            "infra apply": "Make what the plan shows.",
            "notify": "See that notifications and pings arrive.",
            "notify test": "Send a test message by every way.",
            "explain": "Show what an exit code means, and the pages of the documentation.",
        },
        "Evidence": {
            "report": "Compute a report that an auditor can check.",
            "certificate": "Check drill certificates, and have their time stamped.",
            "certificate verify": "Check a certificate's signatures, contents and time-stamp; offline.",
            "certificate stamp": "Ask the time-stamp authority again for certificates that wait.",
            "ledger": "Verify, show and mirror the log of all that was done.",
            "ledger verify": "Check every host's chain, and what vouches for it.",
            "ledger show": "Show the last entries.",
            "ledger sync": "Push to the mirrors, and copy other hosts' chains.",
        },
        "Many keys": {
            "fleet": "Look after many keys, each with a configuration of its own.",
            "fleet status": "Say of each key how fresh and how proven its escrow is.",
            "fleet doctor": "Check everything that each key's runs will need.",
            "fleet drill": "Hold a drill of each key.",
            "fleet backups": "Read backups of each key.",
            "fleet report": "Write a report of each key, and one page over all.",
            "fleet posture": "Who can reconstruct how many keys; whose loss is fatal to how many.",
            "fleet challenge": "Ask custodians for proof of their shares of many keys, with one file each.",
            "fleet confirm": "Enter what a custodian of many keys answered.",
        },
        "Trying and testing": {
            "lab": "A stand-in for a PGP Encryption Server: not the product.",
            "stack": "Run real servers on this host, for trying and testing.",
        },
    },
    needs={"lab": "moto", "stack": "moto"},
)

app = typer.Typer(
    name="orgkey",
    cls=group(COMMANDS),
    help="Escrow the one key that a PGP Encryption Server cannot be restored without, "
    "and prove that every copy still restores.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich alone takes longer to import than all of this
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="What an exit code means, and what to do: orgkey explain CODE",
)


# A run of these goes on where an interrupted one stopped: by the journal, or since what is done is left out.
_RESUME = (("escrow",), ("refresh",), ("repair",), ("retain",), ("custody", "rotate"))
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_forced = signals.Flag()
_asked = False


# What the parser raises. Some releases of typer carry a click of their own, so the class is asked of typer.
_USAGE_ERRORS: type[typer.BadParameter] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"orgkey-escrow {__version__}\n")
        raise typer.Exit


_LOG_FORMATS = ("text", "json")
_BEHIND = ("--config", "--state-dir", "--fingerprint", "--json", "--quiet", "-q", "--verbose", "-v")
_SHELLS = (
    "type it in bash, zsh or fish, with a home that can be written; or put into the shell's own files "
    "what --show-completion prints"
)


@app.callback()
def root(
    log_format: Annotated[  # noqa: ARG001, RUF100 - read before the parser, so that its own errors follow it
        str | None,
        typer.Option(
            "--log-format",
            metavar="text|json",
            help="How stderr is written: for people, or one JSON object a line. Goes before the command.",
            envvar="ORGKEY_LOG_FORMAT",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001, RUF100 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Escrow the Organization Key of a PGP Encryption Server."""
    host_limits.require_address_space()


def main() -> NoReturn:
    """Run the command line and exit with a documented code."""
    hardening.harden()
    streams.guard()
    signals.force_by(_forced, _clean_up, int(Code.INTERRUPTED))
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    as_json = "--json" in sys.argv[1:]
    try:
        code = _run(as_json)
        _ignore_signals()
    except Signalled:
        _clean_up()
        _report(_interrupted(), as_json)
        code = Code.INTERRUPTED
    lost = streams.loss(code)
    if lost is not None:
        report_error(lost, as_json=False)  # whatever failed, its own code says more
        code = lost.code if code is Code.OK else code
    _log_end(code)
    streams.flush()
    # Threads may still wait for a server that never answers; nothing of theirs counts any more.
    os._exit(_plugin_state(code) if _as_plugin() else int(code))


def _as_plugin() -> bool:
    """Whether a monitor reads the answer: errors, the parser's too, are then told as it understands them."""
    return "--nagios" in sys.argv[1:]


def _plugin_state(code: Code) -> int:
    from pipeline.cli.nagios import PluginState

    return int(PluginState.of(code))


def _report(problem: OrgkeyError, as_json: bool) -> None:
    report_error(problem, as_json=as_json and not _as_plugin())
    if _as_plugin():
        from pipeline.cli import nagios

        sys.stdout.write(nagios.line(problem.code, f"{problem.message}; {problem.hint}") + "\n")


def _run(as_json: bool) -> Code:
    try:
        _refuse_empty_values(sys.argv[1:])
        _choose_log_format(sys.argv[1:])
        result = app(prog_name="orgkey", standalone_mode=False)
    except typer.Exit as leave:
        return Code(leave.exit_code) if leave.exit_code in set(Code) else Code.INTERNAL
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and error.__context__ is None:  # completion of words
            return Code(error.code) if error.code in set(Code) else Code.INTERNAL
        if _left_out(error) and not log.as_json():  # a command: its help is the answer
            message = str(error.format_message()).rstrip(".") if sys.argv[1:] else _first_screen()
            sys.stderr.write(f"{message}\n" if message else "")
            return Code.USAGE
        # Where a signal falls into the making of a class, Python tells it as an error of its own.
        struck = _asked and not isinstance(error, OrgkeyError)
        problem = _problem(KeyboardInterrupt() if struck else error)
        _report(problem, as_json)
        return problem.code
    if not isinstance(result, Code) and result:  # so the parser's own option for completion ends
        _report(UsageProblem("this shell cannot be told what to complete", hint=_SHELLS), as_json)
        return Code.USAGE
    return result if isinstance(result, Code) else Code.OK


def _first_screen() -> str:
    """What somebody needs who types the program's name alone; it fits a small terminal."""
    lines = ["Usage: orgkey [OPTIONS] COMMAND [ARGS]...", ""]
    lines += ["Escrows the one key that a PGP Encryption Server cannot be restored without, and"]
    lines += ["proves that every copy still restores."]
    for task in ("Everyday", "After a disaster"):
        mine = [(name, entry.help) for name, entry in COMMANDS.items() if entry.task == task]
        lines += ["", f"{task}:", *(f"  {name:<8} {text}" for name, text in mine)]
    lines += ["", "All commands: orgkey --help. One of them: orgkey COMMAND --help."]
    return "\n".join([*lines, "Trying it out: orgkey explain tutorial. Setting it up: orgkey init."])


def _left_out(error: BaseException) -> TypeGuard[typer.BadParameter]:
    return type(error).__name__ == "NoArgsIsHelpError"


def _problem(error: BaseException) -> OrgkeyError:
    """What is said of an error that nothing below has caught.

    The text of a foreign exception may quote what it choked on, so only its type is shown, and where it
    arose; the traceback has no values of variables.
    """
    if isinstance(error, OrgkeyError):
        # A file that cannot be read for want of memory or descriptors is not a mistake of the operator.
        cause = error.__cause__ if isinstance(error, UsageProblem) else None
        lack = host_limits.exhaustion(cause, "go on") if cause else None
        return lack or (_interrupted(error.message) if isinstance(error, Interrupted) else error)
    if isinstance(error, _USAGE_ERRORS):
        message = "no command is given" if _left_out(error) else error.format_message().rstrip(".")
        # The parser lets pydantic judge values, whose words these are.
        message = message.replace("Value error, ", "").replace("Input should be", "it should be")
        context = getattr(error, "ctx", None)
        hint = f"see `{context.command_path if context else 'orgkey'} --help`"
        if (option := getattr(error, "option_name", None)) in _BEHIND and not _named(context):
            hint = f"it goes behind the command: orgkey COMMAND {option} …"
        return UsageProblem(message[0].lower() + message[1:], hint=hint)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _clean_up()
        return _interrupted()
    if isinstance(error, OSError) and "--install-completion" in sys.argv[1:]:
        return LocalFilesProblem(f"completion was not installed: {error.strerror}", hint=_SHELLS)
    if isinstance(error, SystemExit):  # the parser's own: it takes any broken pipe for that of stdout
        error = error.__context__ or error
    return host_limits.exhaustion(error, "go on") or _internal(error)


def _named(context: typer.Context | None) -> bool:
    """Whether the parser knows the command already, not only a group of them."""
    return context is not None and not hasattr(context.command, "list_commands")


def _refuse_empty_values(words: list[str]) -> None:
    """An empty value is a variable that a script has not set; left out, it would mean something else.

    Raises:
        UsageProblem: There is one.
    """
    for option, value in pairwise([*words, "-"]):
        name, given, inside = option.partition("=")
        if name.startswith("--") and not (inside if given else value).strip():
            raise UsageProblem(f"{name} has an empty value", hint="give it one, or leave it out")


def _choose_log_format(words: list[str]) -> None:
    """Read ``--log-format``, or its variable, before the parser does: its own errors are to follow it.

    Raises:
        UsageProblem: It is neither text nor json.
    """
    chosen = os.environ.get("ORGKEY_LOG_FORMAT") or "text"
    for place, word in enumerate(words):
        if not word.startswith("-"):
            break  # the command: its options are its own
        if word == "--log-format":
            chosen = words[place + 1] if place + 1 < len(words) else chosen
        elif word.startswith("--log-format="):
            chosen = word.partition("=")[2]
    if chosen not in _LOG_FORMATS:
        raise UsageProblem(f"the log format {chosen!r} is not known", hint="--log-format takes text or json")
    if chosen == "json":
        log.choose(as_json=True)


def _log_end(code: Code) -> None:
    if log.as_json():
        level = "info" if code is Code.OK else "error"
        log.event(
            "end", f"exit code {int(code)}: {code.meaning}", level=level, code=int(code), name=code.label
        )


def _internal(error: BaseException) -> OrgkeyError:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "unknown"
    return OrgkeyError(
        f"internal error: {type(error).__name__} at {where}",
        hint="this is a defect: report it with this line; nothing that was confirmed is lost, "
        "and running the command again is safe",
    )


def _interrupt(_number: int, _frame: object) -> None:
    # The first signal ends what waits and starts no other call; a second one forces. No lock is taken here.
    global _asked
    if _asked:
        _forced.set()
        return
    _asked = True
    if not signals.settled():
        clock.interrupted.set()
        signals.end(Signalled())


def _ignore_signals() -> None:
    # The work is done and its result is printed: a signal that comes now changes nothing any more.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupted(message: str = "interrupted") -> Interrupted:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    resumes = any(words[: len(verb)] == [*verb] for verb in _RESUME)
    goes_on = "it resumes where it stopped" if resumes else "it begins anew"
    return Interrupted(message, hint=f"run the same command again, {goes_on}")


def _clean_up() -> None:
    """End agents and remove private directories of this process that worker threads may still hold."""
    if "pipeline.openpgp.gnupg.home" in sys.modules:
        from pipeline.openpgp.gnupg import home as gnupg_home

        gnupg_home.end_own()


if __name__ == "__main__":
    main()
