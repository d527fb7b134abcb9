"""Text for people: foreign words made harmless, lengths of time, fingerprints."""

from __future__ import annotations


def printable(text: str) -> str:
    """Foreign text without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)


def age(seconds: float | None) -> str:
    """A length of time for people."""
    if seconds is None:
        return "never"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def counted(number: int, noun: str) -> str:
    """A number of things, for people: "no copies", "1 copy", "2 copies"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number or 'no'} {noun if number == 1 else plural}"


def spaced(fingerprint: str) -> str:
    """A fingerprint in groups of four, as people compare them."""
    groups = [fingerprint[index : index + 4] for index in range(0, len(fingerprint), 4)]
    return " ".join(groups[:5]) + "  " + " ".join(groups[5:])
