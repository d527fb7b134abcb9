"""Who can get the key today, and what loss is fatal: from the configuration, what is stored, and the servers.

Any stored record gives the key, so every authentic epoch counts with the plan that its manifest carries and
the copies that are good now. The configuration says who controls what; facts that servers tell add parties
that it does not name.
"""

from __future__ import annotations

import platform
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeGuard

from pipeline.archive import overview
from pipeline.archive.catalog import Catalog, Epoch
from pipeline.archive.run import KeyScope
from pipeline.config import Config
from pipeline.config.holders import HolderConfig, KmsHolderConfig, TransitHolderConfig
from pipeline.config.identities import IdentityConfig, VaultIdentity
from pipeline.config.places import AwsPlace, S3TargetConfig, VaultPlace, one_address
from pipeline.core.clock import stamp
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.core.text import counted
from pipeline.custody.shares import paths
from pipeline.custody.shares.manifest_section import PathEntry
from pipeline.custody.shares.paths import VOLATILE, WAY, HolderDescription, PathNeed
from pipeline.posture.minimal_sets import one
from pipeline.posture.model import (
    Model,
    PartySets,
    Posture,
    Requirement,
    Thing,
    copy_at,
    custodian,
    from_config,
    shares_of,
    sheets,
)
from pipeline.record.verify import Record
from pipeline.sources import done_folder

_KMS_KEY: Final = re.compile(r"arn:[a-z-]+:kms:[^:]*:(\d{12}):")
TRUTH: Final = (
    "copies that were kept elsewhere, and kits in safes, stay open to the custodians of their epoch "
    "for good; only a regenerated Org Key ends that"
)
"""What no computation shows."""


@dataclass(frozen=True)
class Lingering:
    """What is left over from before, and still opens the key.

    Attributes:
        epoch: The epoch; ``None`` for exports that are left over.
        who: Sets of parties that get the key through it and could not through the latest epoch; for
            exports whoever can read them.
        until: When its last locked copy can be deleted; ``None`` when nothing holds it.
        what: In words.
    """

    epoch: str | None
    who: PartySets
    until: datetime | None
    what: str


@dataclass(frozen=True)
class Exposure:
    """The computed posture.

    Attributes:
        stored: What the stored epochs mean together; ``None`` when none of the present key is authentic.
        latest: What the latest epoch means alone.
        configured: What the configured plan would mean.
        epochs: The epochs that were taken into account, oldest first.
        lingering: What older epochs and left-over exports add.
        hosts: Hosts whose live logins open a whole path.
        facts: What servers say, in words.
        unknown: What could not be found out.
        names: What custodians are called, by party.
        all_read: Whether all that is stored was looked at.
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
    all_read: bool
    code: Code

    @property
    def basis(self) -> str:
        """What it was computed from where no epoch was seen: no answer is not an empty answer."""
        seen = "nothing authentic is stored yet" if self.all_read else "what is stored is not known"
        return f"{seen}: computed from the configuration and the servers"

    @property
    def now(self) -> Posture:
        """What counts today: what is stored, else what is configured."""
        return self.stored or self.configured


class _Control:
    """Who controls what: by the configuration, and by facts that servers tell.

    Args:
        context: The run. The writer may describe keys; a host that only drills has no writer's login.
    """

    def __init__(self, context: KeyScope) -> None:
        config = self.config = context.config
        self.described: dict[str, HolderDescription] = {}
        self.facts: list[str] = []
        self.unknown: list[str] = []
        self._added: dict[str, set[str]] = defaultdict(set)
        things = [
            *((f"target {name}", item) for name, item in config.target.items()),
            *((f"holder {name}", item) for name, item in config.holder.items() if _machine(item)),
        ]
        self._controlled = {label: set(item.controlled_by) for label, item in things}
        self._at_vault: dict[str, dict[str, VaultPlace]] = defaultdict(dict)
        for label, item in things:
            if isinstance(item, VaultPlace):
                self._at_vault[item.address][label] = item
        self._describe(context)
        clouds = {
            party
            for item in (*config.target.values(), *config.holder.values())
            if isinstance(item, S3TargetConfig | KmsHolderConfig)
            for party in item.controlled_by
        }
        seals = context.backends("driller").seals()
        self._unsealed(seals, clouds)
        self._vouched_for(clouds)
        # Whoever runs a Vault server can use everything in it, whatever the configuration calls them.
        # One server has several addresses, such as those of its nodes: it tells the same id at all of them.
        servers: dict[str | None, dict[str, str]] = defaultdict(dict)  # by the thing: its address as written
        for address, places in self._at_vault.items():
            told = seals.get(address)
            cluster = told[1] if isinstance(told, tuple) else ""
            servers[cluster or one_address(address)] |= dict.fromkeys(places, address)
        for label, item in things:
            if isinstance(item, AwsPlace) and item.endpoint_url and (own := one_address(item.endpoint_url)):
                servers[own][label] = item.endpoint_url
        for at in servers.values():
            self._link(f"whoever runs {' and '.join(dict.fromkeys(at.values()))}", at)
        # The root of an AWS account can use every key and bucket of it.
        for account, labels in self._accounts().items():
            self._link(f"AWS account {account}", labels)

    def of(self, thing: Thing) -> Thing:
        """A thing with the parties that facts add."""
        return replace(thing, parties=thing.parties | self._added.get(thing.label, set()))

    def stored(self, epoch: Epoch) -> Model:
        """What one stored epoch means: its own plan, and the copies that are good now."""
        assert epoch.record is not None
        section, targets = epoch.record.manifest.custody, self.config.target
        for copy in epoch.good:
            twins = f"target {copy.twin}", f"target {copy.target}"
            if copy.twin and self._added[twins[0]].isdisjoint(self._added[twins[1]]):
                self._link(f"whoever runs the one place behind {' and '.join(twins)}", twins)

        def required(entry: PathEntry, need: PathNeed) -> Requirement:
            labels = [share.label for share in entry.shares_of(need.holder)]
            shares = self._shares(need.holder, section.holders[need.holder], labels)
            return Requirement(need.threshold, shares, need.holder)

        return Model(
            tuple(tuple(required(entry, need) for need in entry.needs) for entry in section.paths),
            tuple(self.of(copy_at(it.target, targets[it.target])) for it in epoch.good),
            tuple(entry.name for entry in section.paths),
            epoch.fingerprint,
        )

    def _shares(self, name: str, description: HolderDescription, labels: Iterable[str]) -> tuple[Thing, ...]:
        """The shares of a holder as a manifest describes it."""
        if description.kind == "openpgp":
            return tuple(custodian(label) for label in labels)
        if description.kind == "paper":
            return sheets(name, labels)
        for known, item in self.described.items():
            if item.kind == description.kind and _fixed(item) == _fixed(description):
                return tuple(map(self.of, shares_of(known, self.config.holder[known])))
        keys = ("address", "mount", "key", "key_arn")
        where = " ".join(str(value) for key in keys if (value := description.coordinates.get(key)))
        party = f"whoever controls {where or f'holder {name}'}"
        own = self.config.holder.get(name)
        if own is not None and _machine(own) and name not in self.described:
            # It could not be asked, so it may be the one that is configured: both are taken into account.
            shares = map(self.of, shares_of(name, own))
            return tuple(replace(share, parties=share.parties | {party}) for share in shares)
        return (Thing(f"holder {name} at {where}", frozenset({party})),)

    # -- what servers tell -------------------------------------------------------------------------

    def _describe(self, context: KeyScope) -> None:
        drills_only = "driller" in self.config.identity and "writer" not in self.config.identity
        for name, holder in context.backends("driller" if drills_only else "writer").holders().items():
            found = isolated(partial(paths.describe, {name: holder}, [name]), f"holder {name}")
            if isinstance(found, OrgkeyError):
                self.unknown.append(f"holder {name}: {found.message}")
            else:
                self.described |= found

    def _accounts(self) -> dict[str, list[str]]:
        """The things behind each AWS account, where it is known."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, item in self.described.items():
            if match := _KMS_KEY.match(str(item.coordinates.get("key_arn", ""))):
                found[match[1]].append(f"holder {name}")
        for name, target in self.config.target.items():
            if isinstance(target, S3TargetConfig) and target.expected_bucket_owner:
                found[target.expected_bucket_owner].append(f"target {name}")
        return found

    def _unsealed(self, seals: Mapping[str, tuple[str, str] | OrgkeyError], clouds: Set[str]) -> None:
        """Whoever holds the key of an auto-unseal can open that Vault's storage, and so use what is in it."""
        for address, things in self._at_vault.items():
            told = seals.get(address)
            if isinstance(told, OrgkeyError):
                self.unknown.append(f"how {address} is unsealed: {told.message}")
            kind = told[0] if isinstance(told, tuple) else "shamir"
            if kind == "shamir":
                continue
            parties = {party for item in things.values() for party in item.unsealed_by or ()}
            if all(item.unsealed_by is None for item in things.values()):
                unnamed = {f"whoever holds the {kind} seal of {address}"}
                parties = set(clouds if kind == "awskms" else ()) or unnamed
            for label in things:
                self._added[label] |= parties - self._controlled[label]
            holders = ", ".join(sorted(parties)) or "nobody else"
            self.facts.append(f"{address} is unsealed by {kind}: {holders} can open its storage")

    def _vouched_for(self, clouds: Set[str]) -> None:
        """Whoever can say at a Vault who the driller is can log in there, and so open the shares in it."""
        known = self.config.identity
        driller = known.get("driller") or known.get("writer") or IdentityConfig()
        for name, item in self.config.holder.items():
            login = driller.at.get(name, driller.vault)
            if not isinstance(item, VaultPlace) or not isinstance(login, VaultIdentity):
                continue
            parties = set(login.vouched_by or ())
            if login.way == "aws" and login.vouched_by is None:
                parties = set(clouds) or {"whoever runs the AWS account of the driller"}
            if parties:
                self._added[f"holder {name}"] |= parties - self._controlled[f"holder {name}"]
                self.facts.append(
                    f"{', '.join(sorted(parties))} can log in as the driller at {item.address} "
                    f"({login.way}), and open the share of {name}"
                )

    def _link(self, party: str, labels: Iterable[str]) -> None:
        """Add a party that controls several things, unless one that is named already controls them all."""
        things = sorted(labels)
        if len(things) < 2 or set.intersection(*(self._controlled[label] for label in things)):
            return
        for label in things:
            self._added[label].add(party)
        fact = f"{party} controls {' and '.join(things)}, which have no party in common"
        self.facts += [fact] if fact not in self.facts else []


def _machine(item: HolderConfig) -> TypeGuard[TransitHolderConfig | KmsHolderConfig]:
    return isinstance(item, TransitHolderConfig | KmsHolderConfig)


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
    control = _Control(context)
    silent = overview.silences(surveys)
    unknown = [*control.unknown, *(f"{' and '.join(item.subjects)}: {item.message}" for item in silent)]
    epochs = tuple(epoch for survey in surveys for epoch in survey.epochs if epoch.record)
    models = {epoch.name: control.stored(epoch) for epoch in epochs}
    chosen = surveys[0].latest()
    latest = Posture((models[chosen.name],)) if chosen else None
    older = [epoch for epoch in epochs if epoch is not chosen]
    return Exposure(
        stored=Posture(tuple(models.values())) if chosen else None,
        latest=latest,
        configured=Posture((from_config(context.config, control.of),)),
        epochs=epochs,
        lingering=(
            *(_older(epoch, models[epoch.name], latest) for epoch in older if latest),
            *_exports(context),
        ),
        hosts=_hosts(context.config),
        facts=tuple(control.facts),
        unknown=tuple(dict.fromkeys(unknown)),
        names=_names([epoch.record for epoch in epochs if epoch.record], control.described),
        all_read=not silent,
        code=Code.DEGRADED if unknown else Code.OK,
    )


# -- what is left over -----------------------------------------------------------------------------


def _older(epoch: Epoch, model: Model, latest: Posture) -> Lingering:
    who = Posture((*latest.models, model)).beyond(model, latest.models)
    until = max((copy.retain_until for copy in epoch.good if copy.retain_until), default=None)
    where = ", ".join(copy.target for copy in epoch.good)
    return Lingering(epoch.name, who, until, f"{epoch.state}, stored at {where}")


def _exports(context: KeyScope) -> list[Lingering]:
    """Exports that an inbox keeps after they were escrowed: each is the key, under its old passphrase."""
    source = context.config.source
    if source is None or source.kind != "inbox" or not source.path:
        return []
    folder = Path(source.path) / "done"
    count = done_folder.count_exports(folder)
    if not count:
        return []
    who = PartySets(one(f"whoever reads {folder} and knows the export's passphrase"), {})
    return [Lingering(None, who, None, f"{counted(count, 'export')} in {folder}")]


def _hosts(config: Config) -> tuple[str, ...]:
    """This host, where its logins open a whole path: it gets the key at any time."""
    identity = config.identity.get("driller") or config.identity.get("writer") or IdentityConfig()
    machines = {name for name, holder in config.holder.items() if _machine(holder)}
    paths_here = [
        name for name, path in config.path.items() if {need.holder for need in path.needs} <= machines
    ]
    if not paths_here:
        return ()
    login = "live drill credentials" if identity != IdentityConfig() else "the user's own logins"
    return (f"host {platform.node()} ({login}, path {', '.join(sorted(paths_here))})",)


def _names(records: Iterable[Record], described: Mapping[str, HolderDescription]) -> dict[str, str]:
    """What custodians are called, by the newest record that has them, else by the configuration."""
    found: dict[str, str] = {}
    sections = [described, *(record.manifest.custody.holders for record in records)]
    for holders in sections:
        for item in holders.values():
            found |= {f"custodian {member}": name for member, name in item.names.items()}
    return found


def until_text(moment: datetime | None) -> str:
    """When something can be deleted, for people."""
    return "any time, by its targets' administrators" if moment is None else f"not before {stamp(moment)}"
