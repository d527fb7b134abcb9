"""Who can get the key today, and what loss is fatal: from the configuration, what is stored, and the servers.

Any stored record gives the key, so every authentic epoch counts with the plan that its manifest carries and
the copies that are good now. The configuration says who controls what; facts that servers tell add parties
that it does not name.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from pipeline import config as settings
from pipeline.archive import overview
from pipeline.archive.catalog import Catalog, Epoch
from pipeline.archive.run import KeyScope
from pipeline.config import Config
from pipeline.core.clock import stamp
from pipeline.core.errors import Code, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.core.text import counted
from pipeline.custody.shares import paths
from pipeline.custody.shares.paths import VOLATILE, WAY, HolderDescription
from pipeline.posture import model as posture
from pipeline.posture.minimal_sets import one
from pipeline.posture.model import Answer, Model, Posture, Requirement, Thing
from pipeline.record.verify import Record

TRUTH = (
    "copies that were kept elsewhere, and kits in safes, stay open to the custodians of their epoch "
    "for good; only a regenerated Org Key ends that"
)
"""What no computation shows."""

LISTED = 200
"""More sets than this are compared, and told, as groups only."""


@dataclass(frozen=True)
class Lingering:
    """What is left over from before, and still opens the key.

    Attributes:
        epoch: The epoch; ``None`` for exports that lie about.
        who: Sets of parties that get the key through it and could not through the latest epoch; for
            exports whoever can read them.
        until: When its last locked copy can be deleted; ``None`` when nothing holds it.
        what: In words.
    """

    epoch: str | None
    who: Answer
    until: datetime | None
    what: str


@dataclass(frozen=True)
class Exposure:
    """The computed posture.

    Attributes:
        stored: What the stored epochs mean together; ``None`` when none is authentic.
        latest: What the latest epoch means alone.
        configured: What the configured plan would mean.
        epochs: The epochs that were taken into account, oldest first.
        lingering: What older epochs and left-over exports add.
        hosts: Hosts whose live logins open a whole path.
        facts: What servers told, in words.
        unknown: What could not be found out.
        names: What custodians are called, by party.
        code: How the run ends.
    """

    stored: Posture | None
    latest: Posture | None
    configured: Posture
    epochs: tuple[Epoch, ...]
    lingering: tuple[Lingering, ...]
    hosts: tuple[str, ...]
    facts: tuple[str, ...]
    unknown: tuple[str, ...]
    names: Mapping[str, str]
    code: Code

    @property
    def basis(self) -> str:
        """What it was computed from where no epoch was seen: no answer is not an empty answer."""
        seen = "nothing authentic is stored yet" if self.code is Code.OK else "what is stored is not known"
        return f"{seen}: computed from the configuration and the servers"

    @property
    def now(self) -> Posture:
        """What counts today: what is stored, else what is configured."""
        return self.stored or self.configured


@dataclass
class _Control:
    """Who controls what, by the configuration and by facts."""

    config: Config
    described: Mapping[str, HolderDescription]
    accounts: Mapping[str, str]
    extra: dict[str, set[str]] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)

    def of(self, thing: Thing) -> Thing:
        """A thing with the parties that facts add."""
        return replace(thing, parties=thing.parties | frozenset(self.extra.get(thing.label, ())))

    def copy(self, name: str) -> Thing:
        """A target's copy."""
        target = self.config.target[name]
        return self.of(Thing(f"target {name}", frozenset(target.controlled_by), target.domain))

    def shares(self, name: str, description: HolderDescription, labels: Iterable[str]) -> tuple[Thing, ...]:
        """The shares of a holder as a manifest describes it."""
        if description.kind == "openpgp":
            return tuple(posture.custodian(label) for label in labels)
        if description.kind == "paper":
            return posture.sheets(name, labels)
        for known, told in self.described.items():
            item = self.config.holder[known]
            if told.kind == description.kind and _fixed(told) == _fixed(description):
                return tuple(self.of(thing) for thing in posture.shares_of(known, item))
        where = " ".join(
            str(description.coordinates[key])
            for key in ("address", "mount", "key", "key_arn")
            if description.coordinates.get(key)
        )
        party = f"whoever controls {where or f'holder {name}'}"
        return (Thing(f"holder {name} at {where}", frozenset({party})),)


def _fixed(item: HolderDescription) -> dict[str, object]:
    """Which key it is, however it is reached."""
    skipped = VOLATILE | WAY | {"endpoint_url"}
    return {key: value for key, value in item.coordinates.items() if key not in skipped and value is not None}


def expose(context: KeyScope, surveys: Sequence[Catalog] | None = None) -> Exposure:
    """Compute the posture.

    Args:
        context: The run; the driller's logins read, and nothing is opened.
        surveys: What is stored of the pinned key, then of the former ones, where it was read already.

    Raises:
        UsageProblem: There are more combinations of parties than can be listed.
    """
    surveys = surveys or context.catalogs()
    control, unknown = _control(context)
    unknown += [f"{' and '.join(item.subjects)}: {item.message}" for item in overview.silences(surveys)]
    epochs = tuple(epoch for survey in surveys for epoch in survey.epochs if epoch.record)
    models = {epoch.name: _model(control, epoch) for epoch in epochs}
    chosen = surveys[0].latest()
    configured = Posture((_configured(context.config, control),))
    latest = Posture((models[chosen.name],)) if chosen else None
    codes = [item.code for item in overview.silences(surveys)]
    return Exposure(
        Posture(tuple(models.values())) if models else None,
        latest,
        configured,
        epochs,
        (*_older(surveys, models, chosen, latest), *_exports(context)),
        _hosts(context.config),
        tuple(control.facts),
        tuple(dict.fromkeys(unknown)),
        _names([epoch.record for epoch in epochs if epoch.record], control.described),
        Code.DEGRADED if first_of(codes) is not Code.OK else Code.OK,
    )


def _configured(config: Config, control: _Control) -> Model:
    plain = posture.from_config(config)
    return Model(
        tuple(
            tuple(replace(need, shares=tuple(control.of(share) for share in need.shares)) for need in path)
            for path in plain.paths
        ),
        tuple(control.of(copy) for copy in plain.copies),
        plain.names,
    )


def _model(control: _Control, epoch: Epoch) -> Model:
    """What one stored epoch means: its own plan, and the copies that are good now."""
    assert epoch.record is not None
    section = epoch.record.manifest.custody
    return Model(
        tuple(
            tuple(
                Requirement(
                    need.threshold,
                    control.shares(
                        need.holder,
                        section.holders[need.holder],
                        [share.label for share in entry.shares_of(need.holder)],
                    ),
                    need.holder,
                )
                for need in entry.needs
            )
            for entry in section.paths
        ),
        tuple(control.copy(copy.target) for copy in epoch.good),
        tuple(entry.name for entry in section.paths),
    )


# -- what servers tell -----------------------------------------------------------------------------


def _control(context: KeyScope) -> tuple[_Control, list[str]]:
    unknown: list[str] = []
    described: dict[str, HolderDescription] = {}
    known = context.config.identity
    # The writer may describe keys; a host that only drills has no writer's login.
    holders = context.backends(
        "driller" if "driller" in known and "writer" not in known else "writer"
    ).holders()
    for name, holder in holders.items():
        told = isolated(partial(paths.describe, {name: holder}, [name]), f"holder {name}")
        if isinstance(told, OrgkeyError):
            unknown.append(f"holder {name}: {told.message}")
        else:
            described |= told
    control = _Control(context.config, described, _accounts(context.config, described))
    unknown += _unsealed(context, control)
    _same_server(context.config, control)
    _same_account(control)
    return control, unknown


def _accounts(config: Config, described: Mapping[str, HolderDescription]) -> dict[str, str]:
    """The AWS account behind each thing, where it is known."""
    found = {}
    for name, item in described.items():
        match = re.match(r"arn:[a-z-]+:kms:[^:]*:(\d{12}):", str(item.coordinates.get("key_arn", "")))
        if match:
            found[f"holder {name}"] = match[1]
    for name, target in config.target.items():
        if isinstance(target, settings.S3TargetConfig) and target.expected_bucket_owner:
            found[f"target {name}"] = target.expected_bucket_owner
    return found


def _controlled(config: Config) -> dict[str, tuple[str, ...]]:
    """Who controls each machine's thing, by the configuration."""
    found = {f"target {name}": target.controlled_by for name, target in config.target.items()}
    for name, holder in config.holder.items():
        if isinstance(holder, settings.TransitHolderConfig | settings.KmsHolderConfig):
            found[f"holder {name}"] = holder.controlled_by
    return found


def _at_vault(config: Config) -> dict[str, dict[str, settings.VaultPlace]]:
    """The things at each Vault server, by address."""
    found: dict[str, dict[str, settings.VaultPlace]] = {}
    for what, group in (("target", config.target), ("holder", config.holder)):
        for name, item in group.items():
            if isinstance(item, settings.VaultPlace):
                found.setdefault(item.address, {})[f"{what} {name}"] = item
    return found


def _unsealed(context: KeyScope, control: _Control) -> list[str]:
    """Whoever holds the key of an auto-unseal can open that Vault's storage, and so use what is in it."""
    config = context.config
    controlled = _controlled(config)
    clouds = {
        party
        for name, item in (*config.target.items(), *config.holder.items())
        if isinstance(item, settings.S3TargetConfig | settings.KmsHolderConfig)
        for party in item.controlled_by
    }
    unknown = []
    kinds = context.backends("driller").seal_types()
    for address, things in _at_vault(config).items():
        kind = kinds.get(address)
        if isinstance(kind, OrgkeyError):
            unknown.append(f"how {address} is unsealed: {kind.message}")
        if kind is None or isinstance(kind, OrgkeyError) or kind == "shamir":
            continue
        named = {party for item in things.values() for party in item.unsealed_by or ()}
        asked = all(item.unsealed_by is None for item in things.values())
        parties = named or (clouds if kind == "awskms" and asked else set())
        if asked and not parties:
            parties = {f"whoever holds the {kind} seal of {address}"}
        for label in things:
            control.extra.setdefault(label, set()).update(parties - set(controlled[label]))
        control.facts.append(
            f"{address} is unsealed by {kind}: "
            f"{', '.join(sorted(parties)) or 'nobody else'} can open its storage"
        )
    return unknown


def _same_server(config: Config, control: _Control) -> None:
    """Whoever runs a Vault server can use everything in it, whatever the configuration calls them."""
    for address, things in _at_vault(config).items():
        _link(control, f"whoever runs {address}", things)


def _same_account(control: _Control) -> None:
    """The root of an AWS account can use every key and bucket of it."""
    by_account: dict[str, list[str]] = {}
    for label, account in control.accounts.items():
        by_account.setdefault(account, []).append(label)
    for account, labels in by_account.items():
        _link(control, f"AWS account {account}", labels)


def _link(control: _Control, party: str, labels: Iterable[str]) -> None:
    """Add a party that controls several things, unless one that is named already controls them all."""
    controlled = _controlled(control.config)
    things = sorted(labels)
    if len(things) < 2 or set.intersection(*(set(controlled[label]) for label in things)):
        return
    for label in things:
        control.extra.setdefault(label, set()).add(party)
    control.facts.append(f"{party} controls {' and '.join(things)}, which have no party in common")


# -- what is left over -----------------------------------------------------------------------------


def _older(
    surveys: Iterable[Catalog], models: Mapping[str, Model], chosen: Epoch | None, latest: Posture | None
) -> list[Lingering]:
    found = []
    for survey in surveys:
        for epoch in survey.epochs:
            if epoch.record is None or epoch is chosen or latest is None:
                continue
            model = models[epoch.name]
            who = Posture((*latest.models, model)).beyond(model, latest.models)
            dates = [copy.retain_until for copy in epoch.good if copy.retain_until]
            where = ", ".join(copy.target for copy in epoch.good)
            found.append(
                Lingering(epoch.name, who, max(dates, default=None), f"{epoch.state}, stored at {where}")
            )
    return found


def _exports(context: KeyScope) -> list[Lingering]:
    """Exports that an inbox keeps after they were escrowed: each is the key, under its old passphrase."""
    source = context.config.source
    if source is None or source.kind != "inbox" or not source.path:
        return []
    folder = Path(source.path) / "done"
    try:
        count = sum(path.is_file() for path in folder.iterdir())
    except OSError:
        return []
    if not count:
        return []
    who = Answer(one(f"whoever reads {folder} and knows the export's passphrase"), {})
    return [Lingering(None, who, None, f"{counted(count, 'export')} in {folder}")]


def _hosts(config: Config) -> tuple[str, ...]:
    """This host, where its logins open a whole path: it gets the key at any time."""
    identity = config.identity.get("driller") or config.identity.get("writer") or settings.IdentityConfig()
    machines = {
        name
        for name, holder in config.holder.items()
        if isinstance(holder, settings.TransitHolderConfig | settings.KmsHolderConfig)
    }
    paths_here = [
        name for name, path in config.path.items() if {need.holder for need in path.needs} <= machines
    ]
    if not paths_here:
        return ()
    login = "live drill credentials" if identity != settings.IdentityConfig() else "the user's own logins"
    return (f"host {platform.node()} ({login}, path {', '.join(sorted(paths_here))})",)


def _names(records: Iterable[Record], described: Mapping[str, HolderDescription]) -> dict[str, str]:
    """What custodians are called, by the newest record that has them, else by the configuration."""
    found: dict[str, str] = {}
    sections = [described, *(record.manifest.custody.holders for record in records)]
    for holders in sections:
        for item in holders.values():
            members, names = item.coordinates.get("members"), item.coordinates.get("names")
            if isinstance(members, list) and isinstance(names, list):
                for member, name in zip(members, names, strict=False):
                    found[f"custodian {member}"] = name
    return found


def until_text(moment: datetime | None) -> str:
    """When something can be deleted, for people."""
    return "any time, by its targets' administrators" if moment is None else f"not before {stamp(moment)}"
