"""The ledger: every oracle id of the specifications is a claim, measured against its bound and its control.

A claim is a small function that takes a `numpy.random.Generator` and returns a `Measured`: the number
that the statement is about, and the number that a deliberately wrong twin (the control) gives.  The claim
holds when the number keeps the bound, and counts only while its control breaks it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RELATIONS: dict[str, Callable[[float, Any], bool]] = {
    "<=": lambda value, bound: value <= bound,
    ">=": lambda value, bound: value >= bound,
    "==": lambda value, bound: value == bound,
    "in": lambda value, bound: bound[0] <= value <= bound[1],
}


class VacuousError(AssertionError):
    """The check ran on silence: no spikes, a zero gradient, an unconverged phase."""


def require(condition: bool, message: str) -> None:
    """Stop a claim that would say nothing, or whose side condition does not hold."""
    if not condition:
        raise VacuousError(message)


@dataclass(frozen=True)
class Measured:
    """What a claim's function returns.

    Attributes
    ----------
    value : float
        The measured number, compared with the claim's bound.
    control : float
        The same number for the control, which must break the bound.
    details : dict
        Further figures for the report: activity, margins, single cases.  Label to number or short text.
    """

    value: float
    control: float
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One id of a specification's section 5.

    Attributes
    ----------
    id : str
        ``<spec file name>/<id>``.
    statement : str
        One or two sentences; mathematics between dollar signs.
    source : str
        Paper equation, theorem or section of the specification.
    metric : str
        What the measured number is.
    relation, bound
        ``<=``, ``>=`` or ``==`` with a float, ``in`` with a pair.
    control : str
        What the control does differently.
    measure : callable
        From a Generator to a `Measured`.
    """

    id: str
    statement: str
    source: str
    metric: str
    relation: str
    bound: float | tuple[float, float]
    control: str
    measure: Callable[[np.random.Generator], Measured]

    @property
    def paper(self) -> str:
        return self.id.split("/")[0]


_CLAIMS: dict[str, Claim] = {}


def claim(
    id: str,
    statement: str,
    *,
    source: str,
    metric: str,
    relation: str,
    bound: float | tuple[float, float],
    control: str,
) -> Callable[[Callable[[np.random.Generator], Measured]], Callable[[np.random.Generator], Measured]]:
    """Register the decorated function as the claim `id`."""
    if relation not in RELATIONS:
        raise ValueError(f"relation: expected one of {sorted(RELATIONS)}, got {relation!r}")
    if id in _CLAIMS:
        raise ValueError(f"id: {id!r} is registered twice")

    def register(measure: Callable[[np.random.Generator], Measured]) -> Callable:
        _CLAIMS[id] = Claim(id, statement, source, metric, relation, bound, control, measure)
        return measure

    return register


def registered() -> list[Claim]:
    """What the decorator has seen so far."""
    return list(_CLAIMS.values())


@dataclass(frozen=True)
class Record:
    """The outcome of one claim."""

    claim: Claim
    measured: float | None
    control_measured: float | None
    holds: bool
    control_fails: bool
    seconds: float
    seed: int
    details: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def good(self) -> bool:
        """The claim holds, and its control failed as it should."""
        return self.holds and self.control_fails

    def as_dict(self) -> dict[str, Any]:
        """The record of `--json`."""
        entry = self.claim
        return {
            "id": entry.id,
            "paper": entry.paper,
            "statement": entry.statement,
            "source": entry.source,
            "metric": entry.metric,
            "measured": self.measured,
            "relation": entry.relation,
            "bound": entry.bound,
            "holds": self.holds,
            "control": entry.control,
            "control_measured": self.control_measured,
            "control_fails": self.control_fails,
            "seconds": self.seconds,
            "seed": self.seed,
            "details": self.details,
            "error": self.error,
        }


def generator_for(seed: int, name: str) -> np.random.Generator:
    """The Generator of one named claim or figure in the run with this seed; no other name draws the same.

    A claim draws the same inputs whether it runs alone or among all.
    """
    return np.random.default_rng([seed, *name.encode()])


def seed_of_run(rng: np.random.Generator) -> int:
    """The run's seed behind a generator of `generator_for`: for what several claims of a run share."""
    return int(np.ravel(rng.bit_generator.seed_seq.entropy)[0])


def check(entry: Claim, seed: int) -> Record:
    """Measure one claim in the run with this seed; an exception is a claim that does not hold."""
    start = time.perf_counter()
    compare = RELATIONS[entry.relation]
    try:
        result = entry.measure(generator_for(seed, entry.id))
        value, control = float(result.value), float(result.control)
        # NaN and infinity are no figures: NaN compares false with everything, so that a NaN control would
        # "fail" for the wrong reason, and an infinite ratio would keep any lower bound
        odd = [
            f"{name} is {number}"
            for name, number in (("measured", value), ("control", control))
            if not np.isfinite(number)
        ]
        return Record(
            claim=entry,
            measured=value,
            control_measured=control,
            holds=bool(np.isfinite(value) and compare(value, entry.bound)),
            control_fails=bool(np.isfinite(control) and not compare(control, entry.bound)),
            seconds=time.perf_counter() - start,
            seed=seed,
            details=dict(result.details),
            error="; ".join(odd) + ": not a figure" if odd else None,
        )
    except Exception as error:
        return Record(
            claim=entry,
            measured=None,
            control_measured=None,
            holds=False,
            control_fails=False,
            seconds=time.perf_counter() - start,
            seed=seed,
            error="".join(traceback.format_exception_only(error)).strip(),
        )
