"""Prometheus' text exposition, read by Prometheus' own client."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
OWN = frozenset({"fingerprint", "name"})


def parse(text: str) -> dict[tuple[str, Labels], float]:
    """Read an exposition of one key.

    Args:
        text: The file.

    Returns:
        Values by name and sorted labels, those left out that say whose they are.

    Raises:
        ValueError: It is malformed, a sample occurs twice, or does not say whose it is.
    """
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.labels.keys() >= OWN:
                raise ValueError(f"whose is it: {sample}")
            labels = tuple(sorted(item for item in sample.labels.items() if item[0] not in OWN))
            if (sample.name, labels) in found:
                raise ValueError(f"twice: {sample}")
            found[sample.name, labels] = sample.value
    if odd := [name for name, _ in found if re.search(r"_(milliseconds|minutes|hours|days|percent)\Z", name)]:
        raise ValueError(f"no base unit: {odd}")
    return found
