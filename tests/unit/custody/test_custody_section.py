from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.errors import IntegrityProblem
from pipeline.custody.shares import passphrase
from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.custody.shares.paths import HolderDescription, Path, PathNeed, plan_digest
from pipeline.custody.shares.seal import seal

if TYPE_CHECKING:
    from tests.support.plans import Plan, Plans


@pytest.fixture(scope="module")
def plan(plans: Plans) -> Plan:
    return plans.with_people()


@pytest.fixture(scope="module")
def document(plan: Plan) -> dict[str, Any]:
    sealed = seal(passphrase.draw(), plan.paths, plan.everybody, plan.everybody, plan.binding)
    text = json.dumps(sealed.section.to_json())
    assert CustodySection.from_json(json.loads(text)) == sealed.section
    result: dict[str, Any] = json.loads(text)
    return result


def _everywhere(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, coordinates (which are free) left out."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key not in ("coordinates", "checks"):
            found += _everywhere(item, (*path, key))
    return found


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def test_whatever_is_left_out_or_replaced_is_noticed(document: dict[str, Any]) -> None:
    tried = 0
    for path in _everywhere(document):
        changes: list[Any] = [None, 3.5, {}, "\n", -1, 99_999, []]
        for change in changes if path[-1] == "label" else [*changes, "../x"]:
            changed = copy.deepcopy(document)
            _at(changed, path[:-1])[path[-1]] = change
            with pytest.raises(IntegrityProblem):
                CustodySection.from_json(changed)
            tried += 1
        changed = copy.deepcopy(document)
        del _at(changed, path[:-1])[path[-1]]
        with pytest.raises(IntegrityProblem):
            CustodySection.from_json(changed)
    assert tried > 500


def test_whatever_is_added_is_noticed(document: dict[str, Any]) -> None:
    for path in ((), ("paths", 0), ("paths", 0, "shares", 0), ("paths", 0, "needs", 0), ("holders", "aws")):
        changed = copy.deepcopy(document)
        _at(changed, path)["surprise"] = 1
        with pytest.raises(IntegrityProblem):
            CustodySection.from_json(changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["paths"].reverse(),
        lambda d: d["paths"].append(copy.deepcopy(d["paths"][0])),
        lambda d: d["paths"][0].update(identifier=d["paths"][1]["identifier"]),
        lambda d: d["paths"][0]["needs"][0].update(threshold=1),
        lambda d: d["paths"][0]["needs"][0].update(size=4),
        lambda d: d["paths"][1]["needs"].reverse(),
        lambda d: d["paths"][1]["shares"].reverse(),
        lambda d: d["paths"][0]["shares"][0].update(member="custody/people/custodians-2.mem"),
        lambda d: d["paths"][0]["shares"][0].update(member="custody/people/../../etc/x.mem"),
        lambda d: d["paths"][0]["shares"][0].update(checks=d["paths"][0]["shares"][0]["checks"][:-1]),
        lambda d: d["holders"].update(idle={"kind": "memory", "coordinates": {}}),
        lambda d: d["holders"]["aws"].update(coordinates={"a": {"b": 1}}),
        lambda d: d["holders"]["aws"].update(coordinates={"a": [1]}),
        lambda d: d.update(witness=d["witness"].strip()),
    ],
)
def test_parts_that_do_not_fit_together_are_noticed(
    document: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    changed = copy.deepcopy(document)
    change(changed)
    with pytest.raises(IntegrityProblem):
        CustodySection.from_json(changed)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["paths"][1]["shares"][0].update(salt="x"), "custody.paths[1].shares[0].salt"),
        (lambda d: d["paths"].reverse(), "custody.paths"),
        (lambda d: d["paths"][1]["needs"].clear(), "custody.paths[1]: needs"),
        (lambda d: d["paths"][1]["needs"].append(d["paths"][1]["needs"][0]), "custody.paths[1]: needs"),
        (lambda d: d["paths"][0]["shares"].reverse(), "custody.paths[0]: shares"),
        (lambda d: d["paths"][0]["shares"][4].update(checks=["0" * 64]), "custody.paths[0]: shares"),
        (
            lambda d: d["paths"][0].update(identifier=d["paths"][1]["identifier"]),
            "custody.paths: identifiers are not distinct",
        ),
        (lambda d: d["holders"].pop("aws"), "custody.holders"),
    ],
)
def test_what_does_not_fit_is_named(
    document: dict[str, Any], change: Callable[[dict[str, Any]], None], told: str
) -> None:
    changed = copy.deepcopy(document)
    change(changed)
    with pytest.raises(IntegrityProblem) as caught:
        CustodySection.from_json(changed)
    assert caught.value.message == f"the manifest's {told} is not as it should be"


@pytest.mark.parametrize("value", [None, [], "x", 1, {"holders": {}, "paths": [], "witness": ""}])
def test_other_documents_are_refused(value: object) -> None:
    with pytest.raises(IntegrityProblem):
        CustodySection.from_json(value)


def test_a_manifest_follows_the_plan_that_it_was_made_from(plan: Plan, document: dict[str, Any]) -> None:
    section = CustodySection.from_json(document)
    assert section.plan_digest() == plan_digest(plan.paths, plan.everybody)
    plan.holders["vault"].version = 2
    assert section.plan_digest() == plan_digest(plan.paths, plan.everybody)


PATHS = (
    Path("people", (PathNeed("custodians", 2, 3),)),
    Path("unattended", (PathNeed("vault", 1, 1), PathNeed("aws", 1, 1))),
)
HOLDERS = {
    "vault": HolderDescription(
        "vault-transit", {"address": "https://v", "namespace": None, "key_version": 3}
    ),
    "aws": HolderDescription("aws-kms", {"key_arn": "arn:1", "endpoint_url": None}),
    "custodians": HolderDescription("openpgp", {"members": ["A", "B", "C"]}),
    "idle": HolderDescription("paper", {}),
}


def test_a_plan_does_not_depend_on_order_versions_or_idle_holders() -> None:
    digest = plan_digest(PATHS, HOLDERS)
    reordered = tuple(Path(path.name, path.needs[::-1]) for path in PATHS[::-1])
    assert plan_digest(reordered, dict(reversed(HOLDERS.items()))) == digest
    same = {
        "vault": HolderDescription("vault-transit", {"key_version": 4, "address": "https://v"}),
        "aws": HolderDescription("aws-kms", {"key_arn": "arn:1"}),
        "custodians": HolderDescription("openpgp", {"members": ["C", "A", "B"]}),
    }
    assert plan_digest(PATHS, same) == digest


def test_the_digest_of_a_plan_never_changes() -> None:
    # Made with printf and sha256sum: records that exist name their plan by it.
    assert plan_digest(PATHS, HOLDERS) == "65fc0be886d463f37744a366e0d2e577fbc7af77775e555cc7c513f9f87a5ed9"


def test_a_plan_depends_on_everything_else() -> None:
    digests = {plan_digest(PATHS, HOLDERS)}
    for paths in (
        PATHS[:1],
        (Path("staff", PATHS[0].needs), PATHS[1]),
        (Path("people", (PathNeed("custodians", 3, 3),)), PATHS[1]),
        (PATHS[0], Path("unattended", (PathNeed("vault", 1, 1),))),
    ):
        digests.add(plan_digest(paths, HOLDERS))
    for name, description in (
        ("vault", HolderDescription("vault-transit", {"address": "https://w"})),
        ("vault", HolderDescription("other", HOLDERS["vault"].coordinates)),
        ("aws", HolderDescription("aws-kms", {"key_arn": "arn:2"})),
        ("aws", HolderDescription("aws-kms", {"key_arn": "arn:1", "endpoint_url": "https://vpce"})),
        ("aws", HolderDescription("aws-kms", {"key_arn": "arn:1", "proxy": "http://proxy"})),
        ("vault", HolderDescription("vault-transit", {"address": "https://v", "ca_file": "/ca.pem"})),
        ("custodians", HolderDescription("openpgp", {"members": ["A", "B", "D"]})),
    ):
        digests.add(plan_digest(PATHS, {**HOLDERS, name: description}))
    assert len(digests) == 12
