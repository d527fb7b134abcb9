"""What `doctor` and `config validate` say about custodians' certificates. Reads local files only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pipeline.core.clock import stamp
from pipeline.core.errors import OrgkeyError, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.custody.custodians.certificate_store import CertificateStore, read_store
from pipeline.custody.custodians.certificates import (
    LONGEST_NAME,
    RENEW,
    Recipient,
    called,
    recipient,
    same_keys,
)
from pipeline.openpgp.key.validity import user_ids

if TYPE_CHECKING:
    from pipeline.config.holders import OpenpgpHolderConfig

MOST_STRANGERS: Final = 20
"""How many are listed one by one."""
_ASK: Final = (
    "ask the custodian about it; if the custodian knows nothing of it, find out who changed the file"
)
_EXPOSED: Final = (
    "tell its owner, who has to take it for known to others; destroy the file, and put the "
    "certificate there instead, which `gpg --armor --export` prints"
)


def findings(name: str, item: OpenpgpHolderConfig, now: datetime, warning: timedelta) -> list[Finding]:
    """Judge every certificate of a group, and everything else that lies there.

    Args:
        name: The holder's name.
        item: Its configuration.
        now: The present time.
        warning: How long before an expiry to warn.

    Returns:
        What `doctor` should say; a failure for each custodian to whom nothing can be encrypted, and for
        each secret key.
    """
    subject = f"holder {name}"
    try:
        shelf = read_store(item)
    except OrgkeyError as error:
        return [Finding(Level.FAIL, subject, error.message, error.hint, error.code)]
    found = []
    people = []
    for member in item.members:
        try:
            people.append(recipient(name, member, shelf.certificates, now))
        except OrgkeyError as error:
            message = error.message.removeprefix(f"{subject}: ")
            found.append(Finding(Level.FAIL, subject, message, error.hint, error.code))
    wrong = [*same_keys(people), *_secrets(shelf, item)]
    odd = [
        *(told for person in people for token in person.tokens for told in _warnings(token, now, warning)),
        *_same_names(people),
        *((problem, "remove or replace it") for problem in shelf.problems),
        *_strangers(shelf, people),
    ]
    found += [Finding(Level.FAIL, subject, *told, UsageProblem.code) for told in wrong]
    found += [Finding(Level.WARN, subject, *told) for told in odd]
    return found or [Finding(Level.OK, subject, f"{item.size} custodians, certificates are good")]


def _warnings(person: Recipient, now: datetime, warning: timedelta) -> Iterator[tuple[str, str]]:
    who = f"the certificate of {person.name} ({person.fingerprint})"
    if person.expires and person.expires - now < warning:
        renew = f"no share can be encrypted to it afterwards: {RENEW.format(person.fingerprint)}"
        yield f"{who} expires at {stamp(person.expires)}", renew
    for note in person.notes:
        yield f"{who}: {note}", _ASK


def _same_names(people: Iterable[Recipient]) -> Iterator[tuple[str, str]]:
    first: dict[str, Recipient] = {}
    for person in people:
        known = first.setdefault(person.name, person)
        if known is not person:
            yield (
                f"two custodians are called {person.name}: {known.fingerprint} and {person.fingerprint}",
                "one person must not have two shares; tell them apart with `name` in `members`",
            )


def _secrets(shelf: CertificateStore, item: OpenpgpHolderConfig) -> Iterator[tuple[str, str]]:
    names = {token.fingerprint: member for member in item.members for token in member.tokens}
    for placed in shelf.secrets:
        member = names.get(placed.fingerprint)
        known = shelf.certificates.get(member.fingerprint) if member else None
        whose = f"custodian {called(member, known)}" if member else placed.fingerprint
        yield f"{placed.file} holds the SECRET key of {whose}: it must not lie on this host", _EXPOSED


def _strangers(shelf: CertificateStore, people: Iterable[Recipient]) -> Iterator[tuple[str, str]]:
    claimed = {
        name: person
        for person in people
        for token in person.tokens
        for name in (person.name, *user_ids(shelf.certificates[token.fingerprint]))
    }
    strangers = [shelf.strangers[fingerprint] for fingerprint in sorted(shelf.strangers)]
    for placed in strangers[:MOST_STRANGERS]:
        same = next((claimed[name] for name in placed.user_ids if name in claimed), None)
        called = f" ({placed.user_ids[0][:LONGEST_NAME]})" if placed.user_ids else ""
        message = f"{placed.file} holds a certificate that is nobody's in the group, and is not used: "
        message += f"{placed.fingerprint}{called}"
        if same:
            message += f"; it has the user id of custodian {same.name} ({same.fingerprint})"
        yield message, "find out who put it there, then remove it"
    if more := strangers[MOST_STRANGERS:]:
        message = f"{len(more)} more certificates that are nobody's lie there, and are not used"
        yield message, "find out who put them there, then remove them"
