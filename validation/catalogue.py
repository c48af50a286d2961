"""Which claims there are, in which order, and which of them a command line means."""

from __future__ import annotations

import re
from collections.abc import Iterable

import validation.claims  # noqa: F401  its modules register their claims
from validation.ledger import Claim, registered


def all_claims() -> list[Claim]:
    """Every registered claim: by paper, then as the specification numbers them, negative controls last."""
    return sorted(registered(), key=lambda entry: (entry.paper, _position(entry.id)))


def _position(id: str) -> tuple[int, list[int], str]:
    """O2 before O10, then D1, then 5.2 and named extensions, and N1 or NC1 after all of them."""
    name = id.split("/")[1]
    letters = ("O", "X", "A", "D", "5", "T", "CE", "RBP", "SP", "VF", "")
    group = next(place for place, letter in enumerate(letters) if name.startswith(letter))
    return group, [int(number) for number in re.findall(r"\d+", name)], name


def select(patterns: Iterable[str]) -> list[Claim]:
    """The claims named by `patterns`: a paper, or ``paper/id``; all of them when there is none.

    Raises
    ------
    ValueError
        If a pattern names nothing.
    """
    claims, patterns = all_claims(), list(patterns)
    if not patterns:
        return claims
    for pattern in patterns:
        if not any(pattern in (entry.id, entry.paper) for entry in claims):
            papers = sorted({entry.paper for entry in claims})
            raise ValueError(
                f"claims: expected a paper ({', '.join(papers)}) or an id such as {claims[0].id}, "
                f"got {pattern!r}; `python -m validation --list` shows them all, and the experiments"
            )
    return [entry for entry in claims if entry.id in patterns or entry.paper in patterns]
