"""Look a public key up at a key server: HKP, HKPS, LDAP, LDAPS.

GnuPG's dirmngr speaks all four. It is started for one look-up, in a fresh private home, with the caller's
environment left out, and ended with it. What comes back is foreign bytes of a bounded size: the caller takes
nothing of it that the pinned key itself has not signed.

The commands are dirmngr's own, over its Assuan protocol on standard input and output (`dirmngr --server`,
doc/dirmngr.texi in GnuPG); an error's number is libgpg-error's, in its low 16 bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from pipeline.core import environment, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, Unreachable
from pipeline.openpgp.gnupg.home import Home
from pipeline.openpgp.key import parsing

SCHEMES: Final = ("hkp", "hkps", "ldap", "ldaps")
MAX_BYTES: Final = 1024 * 1024
_NO_SUCH: Final = (27, 58)  # GPG_ERR_NOT_FOUND, GPG_ERR_NO_DATA
_NOT_ASKED_SO: Final = 60  # GPG_ERR_NOT_SUPPORTED
_WORDS: Final = re.compile(r"[A-Za-z0-9@._-]+")
_NAMES: Final = 4
"""How many user ids are asked about."""
_MEMORY: Final = 256 << 20
"""Address space for dirmngr, which keeps the whole of an LDAP server's answer."""
_HINT: Final = "check the address in key.live, and that the server answers"


@dataclass(frozen=True)
class KeyServerAnswer:
    """What a key server has.

    Attributes:
        key: What it gave for the fingerprint; ``None`` when it has no such key.
        others: Key ids or fingerprints of usable keys that it lists under the same names.
    """

    key: bytes | None
    others: tuple[str, ...] = ()


def look_up(
    url: str,
    fingerprint: str,
    names: Sequence[str],
    *,
    seconds: float,
    deadline: Deadline,
    ca_file: Path | None = None,
) -> KeyServerAnswer:
    """Ask a server for a key, and for others under its names.

    Args:
        url: Where it is, with one of :data:`SCHEMES`.
        fingerprint: The key's, 40 hexadecimal digits.
        names: Its user ids.
        seconds: How long each of the two questions may take.
        deadline: Of the run.
        ca_file: PEM file of the authority that signed the server's certificate; else the system's.

    Raises:
        Unreachable: It does not answer in time, or answers with an error or without end.
        ProgramMissing: dirmngr is not installed.
    """
    asked = names[:_NAMES]
    mails = dict.fromkeys(filter(None, map(_mail, asked)))
    ask = partial(_ask, url, seconds=seconds, deadline=deadline, ca_file=ca_file)
    if urlsplit(url).scheme.startswith("ldap"):
        # A directory with the classic schema knows neither fingerprints nor mail addresses, and dirmngr lists
        # nothing there: it gets by key id and by whole user id.
        found = ask("KS_GET", [f"0x{fingerprint}", f"0x{fingerprint[-16:]}"])
        answers = ask("KS_GET", [*(f"={quote(name)}" for name in asked), *(f"<{mail}>" for mail in mails)])
        listed = [one.fingerprint for answer in answers if answer for one in parsing.read_all(answer).keys]
    else:
        found = ask("KS_GET", [f"0x{fingerprint}"])
        words = [_WORDS.findall(name) for name in asked if not _mail(name)]
        answers = ask("KS_SEARCH", [*mails, *(max(several, key=len) for several in words if several)])
        listed = [other for answer in answers for other in _listed(answer or b"")]
    key = next((one for one in found if one is not None), None)
    others = dict.fromkeys(other for other in listed if not fingerprint.endswith(other))
    return KeyServerAnswer(key, tuple(others))


def _mail(name: str) -> str | None:
    """A user id's mail address, which servers index best."""
    match = re.search(r"<([A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)>", name)
    return match[1] if match else None


def _ask(
    url: str,
    command: str,
    terms: Sequence[str],
    *,
    seconds: float,
    deadline: Deadline,
    ca_file: Path | None,
) -> list[bytes | None]:
    """Give dirmngr a command for each term; an answer is ``None`` when there is no such thing."""
    if not terms:
        return []
    server = urlsplit(url)
    host = server.hostname or url
    limit = deadline.limit(seconds)
    said = [f"KEYSERVER --clear {_address(url)}", *(f"{command} -- {term}" for term in terms), "BYE", ""]
    with Home() as home:
        options = ["--homedir", str(home.path), "--server", "--standard-resolver", "--no-use-tor"]
        options += ["--connect-timeout", str(max(1, int(limit))), "--log-file", "/dev/null"]
        extra = {"GNUPGHOME": str(home.path), "HOME": str(home.path)}
        if ca_file is not None:
            options += ["--hkp-cacert", str(ca_file)]
            extra |= {"LDAPTLS_CACERT": str(ca_file), "LDAPTLS_REQCERT": "demand"}
        try:
            done = process.run(
                ["dirmngr", *options],
                stdin="\n".join(said).encode(),
                timeout=limit,
                env=environment.clean_environment(extra),
                max_output=3 * MAX_BYTES,  # octets may come escaped, three for one
                memory=_MEMORY,
            )
        except DeadlinePassed as error:
            raise Unreachable(f"{host} did not answer within {limit:.0f} s", hint=_HINT) from error
        except LocalFilesProblem as error:
            raise Unreachable(f"{host} answers without end", hint=_HINT) from error
    answers = _answers(done.stdout)[2:]  # after the greeting and the first command
    if len(answers) < len(terms):
        raise Unreachable(f"{host}: dirmngr ended before its time", hint=_HINT)
    no_such = (*_NO_SUCH, _NOT_ASKED_SO) if server.scheme.startswith("ldap") else _NO_SUCH
    return [_judge(answer, host, no_such) for answer in answers[: len(terms)]]


def _address(url: str) -> str:
    """The address as dirmngr understands it: to it, ``ldaps://`` means STARTTLS, which is another thing."""
    parts = urlsplit(url)
    if parts.scheme != "ldaps":
        return url
    return f"ldap:{parts.hostname}:{parts.port or 636}:::{unquote(parts.path.strip('/'))}:ldaptls"


def _answers(output: bytes) -> list[tuple[bytes, bytes]]:
    """Split what dirmngr wrote: for each command its data and its last line."""
    found: list[tuple[bytes, bytes]] = []
    data = bytearray()
    for line in output.split(b"\n"):
        if line.startswith(b"D "):
            data += unquote_to_bytes(line[2:])
        elif line.startswith((b"OK", b"ERR")):
            found.append((bytes(data), line))
            data.clear()
    return found


def _judge(answer: tuple[bytes, bytes], host: str, no_such: Sequence[int]) -> bytes | None:
    data, line = answer
    if line.startswith(b"OK"):
        if len(data) > MAX_BYTES:
            raise Unreachable(f"{host} gives out {len(data):,} bytes, more than any key", hint=_HINT)
        return data
    number, _, words = line.removeprefix(b"ERR ").partition(b" ")
    if number.isdigit() and int(number) & 0xFFFF in no_such:
        return None
    told = words.decode(errors="replace").removesuffix("<Dirmngr>").strip()
    raise Unreachable(f"{host} gives no answer: {told}", hint=_HINT)


def _listed(index: bytes) -> Iterable[str]:
    """Keys in a machine-readable index (draft-shaw-openpgp-hkp-00 section 5.2) that are of use."""
    for line in index.decode(errors="replace").splitlines():
        words = line.split(":")
        if words[0] != "pub" or len(words) < 2:
            continue
        flags = words[6] if len(words) > 6 else ""
        identity = unquote(words[1]).upper()
        if re.fullmatch(r"[0-9A-F]{8,64}", identity) and not set(flags) & set("rde"):
            yield identity
