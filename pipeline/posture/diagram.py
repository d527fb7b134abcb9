"""The posture as a picture: which shares open the key, who controls each, and where the single points are.

A self-contained SVG: no script, no font and no link from outside; it follows the reader's light or dark
scheme, and words say whatever colour says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Final

from markupsafe import Markup

from pipeline.core.templates import filled_markup
from pipeline.core.text import who_alone
from pipeline.posture.analysis import Exposure
from pipeline.posture.model import Model, Requirement, Thing

WIDTH: Final = 960
_ROOM: Final = WIDTH - 24 - 24 - 150
_LINE: Final = 17
_PAD: Final = 12
_GAP: Final = 44
_LETTER: Final = 6.7
"""About the width of a letter at 12 pixels, for wrapping."""

_STYLE: Final = resources.files(__package__).joinpath("diagram.css").read_text(encoding="utf-8")


class _Box:
    """A box with a heading and lines, which are cut and wrapped to its width."""

    def __init__(self, head: str, texts: Iterable[str], warning: str, width: float) -> None:
        letters = int((width - 2 * _PAD) / _LETTER)
        self.head, self.lines = _shown(_cut(head, letters)), _wrapped(texts, letters)
        self.warning, self.width = _shown(warning), width

    @property
    def height(self) -> float:
        return _PAD * 2 + _LINE * (1 + len(self.lines) + bool(self.warning)) - 4


def draw(found: Exposure) -> str:
    """Draw the latest epoch's plan, or the configured one where nothing is stored.

    Args:
        found: The computed posture.

    Returns:
        The SVG document.
    """
    posture = found.latest or found.configured
    (model,) = posture.models
    points = _Points(found)
    seen = found.basis.partition(":")[0]
    paths = [_path(name, path, found.names, points) for name, path in _named(model)]
    return filled_markup(
        __package__,
        "diagram.svg.j2",
        paths=paths,
        copies=_copies(model, points),
        what="as stored in the latest epoch" if found.latest else f"as configured; {seen}",
        closing=_closing(found),
        description=_shown(_described(model, found)),
        style=Markup(_STYLE),  # noqa: S704 - this package's own file
        width=WIDTH,
        room=_ROOM,
        step=_LINE,
        pad=_PAD,
        gap=_GAP,
    )


class _Points:
    """Which names are single points, either way."""

    def __init__(self, found: Exposure) -> None:
        self._alone = set(found.now.reconstruct.singles())
        self._fatal = set(found.now.fatal_losses.singles())

    def of(self, things: Iterable[Thing]) -> str:
        """What to warn of at a box."""
        fatal = any(thing.lost_with() & self._fatal for thing in things)
        alone = sorted({party for thing in things for party in thing.parties & self._alone})
        texts = ["! its loss is fatal"] if fatal else []
        return "; ".join(texts + [f"! {party} alone reconstructs" for party in alone])


def _path(
    name: str, path: tuple[Requirement, ...], names: Mapping[str, str], points: _Points
) -> dict[str, Any]:
    """A path: its requirements in a row, all of them needed."""
    width = (_ROOM - 2 * _PAD - _GAP * (len(path) - 1)) / len(path)
    boxes = [_requirement(need, names, points, width) for need in path]
    height = max(box.height for box in boxes) + _LINE + 2 * _PAD
    return {"name": _shown(name), "boxes": boxes, "height": height}


def _requirement(need: Requirement, names: Mapping[str, str], points: _Points, width: float) -> _Box:
    warning, size = points.of(need.shares), len(need.shares)
    if size == 1:
        (share,) = need.shares
        return _Box(share.label, [f"controlled by {', '.join(sorted(share.parties))}"], warning, width)
    people = [_called(share, names) for share in need.shares]
    head = f"any {need.threshold} of {size}: {need.holder or 'people'}"
    return _Box(head, [*people, f"{size - need.threshold} may be missing"], warning, width)


def _copies(model: Model, points: _Points) -> list[list[_Box]]:
    columns = min(3, max(1, len(model.copies)))
    width = (_ROOM - 12 * (columns - 1)) / columns
    boxes = []
    for copy in model.copies:
        texts = [f"controlled by {', '.join(sorted(copy.parties))}"]
        texts += [f"failure domain {copy.domain}"] if copy.domain else []
        boxes.append(_Box(copy.label, texts, points.of([copy]), width))
    return [boxes[start : start + columns] for start in range(0, len(boxes), columns)]


def _closing(found: Exposure) -> list[str]:
    now = found.now
    alone, fatal = now.reconstruct.singles(), now.fatal_losses.singles()
    letters = int((WIDTH - 48) / _LETTER)
    texts = [
        f"! reconstructs alone: {who_alone(alone, found.hosts)}"
        if alone or found.hosts
        else "nobody reconstructs alone",
        f"! fatal alone: {', '.join(fatal)}" if fatal else "no single loss is fatal",
    ]
    older = [item.epoch for item in found.lingering if item.epoch]
    if older:
        texts.append(f"older epochs that still open the key: {len(older)}")
    return [line for text in texts for line in _wrapped([text], letters)]


def _described(model: Model, found: Exposure) -> str:
    """The picture in words, for those who do not see it."""
    ways = []
    for name, path in _named(model):
        needs = [
            need.shares[0].label
            if len(need.shares) == 1
            else f"{need.threshold} of {len(need.shares)} {need.holder}"
            for need in path
        ]
        ways.append(f"path {name}: {' and '.join(needs)}")
    copies = ", ".join(copy.label for copy in model.copies) or "none"
    return "; or ".join(ways) + f"; and one copy of: {copies}. " + ". ".join(_closing(found)) + "."


def _named(model: Model) -> list[tuple[str, tuple[Requirement, ...]]]:
    """Each path with its name."""
    return [
        (model.names[number] if number < len(model.names) else str(number + 1), path)
        for number, path in enumerate(model.paths)
    ]


def _called(share: Thing, names: Mapping[str, str]) -> str:
    if share.label in names:
        return f"{names[share.label].partition(' <')[0]} ({share.label[-8:]})"
    return share.label if share.person else f"{share.label}: {', '.join(sorted(share.parties))}"


def _wrapped(texts: Iterable[str], letters: int) -> tuple[str, ...]:
    lines: list[str] = []
    for text in texts:
        line = ""
        for word in text.split():
            if line and len(line) + 1 + len(word) > letters:
                lines.append(line)
                line = ""
            line = f"{line} {_cut(word, letters)}".strip()
        lines.append(line)
    return tuple(map(_shown, lines))


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: max(1, letters - 1)] + "\N{HORIZONTAL ELLIPSIS}"


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
