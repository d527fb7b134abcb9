"""The posture as a picture: which shares open the key, who controls each, and where the single points are.

A self-contained SVG: no script, no font and no link from outside; it follows the reader's light or dark
scheme, and words say whatever colour says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Final
from xml.sax.saxutils import escape

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
        self.head, self.lines = _cut(head, letters), _wrapped(texts, letters)
        self.warning, self.width = warning, width

    @property
    def height(self) -> float:
        return _PAD * 2 + _LINE * (1 + len(self.lines) + bool(self.warning)) - 4

    def draw(self, x: float, y: float) -> list[str]:
        kind = ' class="point"' if self.warning else ""
        drawn = [f'<rect x="{x:g}" y="{y:g}" width="{self.width:g}" height="{self.height:g}" rx="6"{kind}/>']
        at = y + _PAD + 10
        drawn.append(_text(x + _PAD, at, self.head, "head"))
        for line in self.lines:
            at += _LINE
            drawn.append(_text(x + _PAD, at, line, "dim"))
        if self.warning:
            drawn.append(_text(x + _PAD, at + _LINE, self.warning, "warn"))
        return drawn


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
    what = "as stored in the latest epoch" if found.latest else f"as configured; {seen}"
    drawn = [_text(24, 34, "Who can get the Org Key back", "title"), _text(24, 54, what, "dim")]
    y = 76.0
    ends = []
    for number, path in enumerate(model.paths):
        if number:
            drawn.append(_text(40, y + 4, "OR", "join"))
            y += 18
        name = _name(model, number)
        height, panel = _path(name, path, found.names, points, y)
        drawn += panel
        ends.append(y + height / 2)
        y += height + 14
    drawn.append(_text(40, y + 6, "AND one authentic copy of the record", "join"))
    y += 20
    height, panel = _copies(model, points, y)
    drawn += panel
    ends.append(y + height / 2)
    bottom = y + height
    drawn += _key(ends, 76, bottom)
    bottom += 28
    for line in _closing(found):
        drawn.append(_text(24, bottom, line, "warn" if line.startswith("!") else "dim"))
        bottom += _LINE
    return _document(drawn, bottom + 12, _described(model, found))


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
    name: str, path: tuple[Requirement, ...], names: Mapping[str, str], points: _Points, y: float
) -> tuple[float, list[str]]:
    """A path: its requirements in a row, all of them needed."""
    width = (_ROOM - 2 * _PAD - _GAP * (len(path) - 1)) / len(path)
    boxes = [_requirement(need, names, points, width) for need in path]
    height = max(box.height for box in boxes) + _LINE + 2 * _PAD
    drawn = [
        f'<rect class="panel" x="24" y="{y:g}" width="{_ROOM:g}" height="{height:g}" rx="8"/>',
        _text(24 + _PAD, y + 18, f"path {name}", "head"),
    ]
    x = 24.0 + _PAD
    for number, box in enumerate(boxes):
        if number:
            drawn.append(_text(x - _GAP + 8, y + height / 2 + 8, "AND", "join"))
        drawn += box.draw(x, y + _LINE + _PAD)
        x += width + _GAP
    return height, drawn


def _requirement(need: Requirement, names: Mapping[str, str], points: _Points, width: float) -> _Box:
    warning, size = points.of(need.shares), len(need.shares)
    if size == 1:
        (share,) = need.shares
        return _Box(share.label, [f"controlled by {', '.join(sorted(share.parties))}"], warning, width)
    people = [_called(share, names) for share in need.shares]
    head = f"any {need.threshold} of {size}: {need.holder or 'people'}"
    return _Box(head, [*people, f"{size - need.threshold} may be missing"], warning, width)


def _copies(model: Model, points: _Points, y: float) -> tuple[float, list[str]]:
    columns = min(3, max(1, len(model.copies)))
    width = (_ROOM - 12 * (columns - 1)) / columns
    boxes = []
    for copy in model.copies:
        texts = [f"controlled by {', '.join(sorted(copy.parties))}"]
        texts += [f"failure domain {copy.domain}"] if copy.domain else []
        boxes.append(_Box(copy.label, texts, points.of([copy]), width))
    drawn = []
    at = y
    for start in range(0, len(boxes), columns):
        row = boxes[start : start + columns]
        for number, box in enumerate(row):
            drawn += box.draw(24 + number * (width + 12), at)
        at += max(box.height for box in row) + 12
    return at - y - (12 if boxes else 0), drawn


def _key(ends: list[float], top: float, bottom: float) -> list[str]:
    """The key at the right, and a line to it from every path and from the copies."""
    x, middle = WIDTH - 24 - 112, (top + bottom) / 2
    return [
        *(f'<line x1="{24 + _ROOM:g}" y1="{end:g}" x2="{x:g}" y2="{middle:g}"/>' for end in sorted(ends)),
        f'<rect class="key" x="{x:g}" y="{middle - 28:g}" width="112" height="56" rx="6"/>',
        _text(x + 14, middle - 4, "the Org Key", "head"),
        _text(x + 14, middle + 14, "a path, a copy", "dim"),
    ]


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
    for number, path in enumerate(model.paths):
        name = _name(model, number)
        needs = [
            need.shares[0].label
            if len(need.shares) == 1
            else f"{need.threshold} of {len(need.shares)} {need.holder}"
            for need in path
        ]
        ways.append(f"path {name}: {' and '.join(needs)}")
    copies = ", ".join(copy.label for copy in model.copies) or "none"
    return "; or ".join(ways) + f"; and one copy of: {copies}. " + ". ".join(_closing(found)) + "."


def _name(model: Model, number: int) -> str:
    return model.names[number] if number < len(model.names) else str(number + 1)


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
    return tuple(lines)


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: max(1, letters - 1)] + "\N{HORIZONTAL ELLIPSIS}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return escape("".join(char if char.isprintable() else "?" for char in text))


def _document(drawn: list[str], height: float, description: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" aria-labelledby="posture-title posture-desc">'
    )
    return "\n".join(
        [
            head,
            '<title id="posture-title">Custody posture: who can get the Org Key back</title>',
            f'<desc id="posture-desc">{_escaped(description)}</desc>',
            f"<style>{_STYLE}</style>",
            *drawn,
            "</svg>",
            "",
        ]
    )
