"""From bytes to a schedule: what is kept where, what it costs, and which strategy is best for a budget.

The memory of a run, beside parameters, their gradients, inputs, targets and what the user asked for, is

    start                           s_h
    working core                    2 s_h + s_I: the states before and after the step at hand, and its tape
    scratch                         what one step is worked out in
    adjoint                         s_a
    slots                           e units
    table of the policy             MSM only

with s_h, s_I, s_a in bytes.  The rest of the budget is what a policy may use.  An overhead in time follows
from the count of steps alone (Gruslys 2016): with u_F, u_T, u_B the times of a step without and with its
tape, and backward,

    (C - T) u_F / (T (u_T + u_B))  ->  (C/T - 1) / (1 + rho),     rho = u_B / u_F,  u_T = u_F.        (14)
"""

from __future__ import annotations

import functools
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from refsnn import checks
from refsnn.schedules.baselines import (
    Bisection,
    Periodic,
    Segments,
    StoreAll,
    StoreHidden,
    StoreNothing,
    chen,
)
from refsnn.schedules.binomial import least_hidden_slots, least_internal_slots
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import LONGEST, decision_dtype, least_mixed_units, mixed_tables
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed, Policy, revolve
from refsnn.schedules.simulation import Counts, simulate

STRATEGIES = (
    "auto", "hsm", "revolve", "ism", "msm",
    "all_tapes", "all_states", "nothing", "chen", "periodic", "bisection",
)  # fmt: skip
# entries of a table that are made without being asked for: about a second's work
_MOST_ENTRIES = 4_000_000
_COST_BYTES = 8
# the least budget is looked for column by column: a second's work
_MOST_STEPS_OF_A_SEARCH = 5000
_ROUNDING = 1e-9
_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Sizes:
    """Bytes of one state, one tape, one adjoint, and of what a step is worked out in.

    Parameters
    ----------
    state : int
        h_k.
    tape : int
        I_k without the state before the step.
    adjoint : int
        What goes back from step to step; like a state by default (0).
    scratch : int
        What one step is worked out in, beside its states and tape: 0 by default.

    Raises
    ------
    TypeError, ValueError
        For anything but whole numbers of at least 1 (0 for the adjoint).

    Examples
    --------
    >>> Sizes(state=16, tape=40).fixed
    104
    """

    state: int
    tape: int
    adjoint: int = 0
    scratch: int = 0

    def __post_init__(self) -> None:
        for name, least in (("state", 1), ("tape", 1), ("adjoint", 0), ("scratch", 0)):
            object.__setattr__(self, name, checks.count(name, getattr(self, name), least))
        object.__setattr__(self, "adjoint", self.adjoint or self.state)

    @property
    def core(self) -> int:
        """Of the working core: two states, a tape, and what a step is worked out in."""
        return 2 * self.state + self.tape + self.scratch

    @property
    def fixed(self) -> int:
        """What every schedule needs: start, working core, adjoint."""
        return self.state + self.core + self.adjoint


@dataclass(frozen=True)
class Plan:
    """A schedule with its figures.

    Attributes
    ----------
    schedule : PolicySchedule
        What will be carried out.
    unit_bytes : int
        Bytes of one unit.
    sizes : Sizes
        Of the model.
    """

    schedule: PolicySchedule
    unit_bytes: int
    sizes: Sizes

    @property
    def policy(self) -> Policy:
        """What decides."""
        return self.schedule.policy

    @property
    def steps(self) -> int:
        """T."""
        return self.schedule.steps

    @property
    def cost(self) -> int:
        """C: forward steps, the first sweep included."""
        return self.schedule.cost

    @functools.cached_property
    def counts(self) -> Counts:
        """What a simulation of the whole schedule counts; it is legal, or this raises."""
        return simulate(self.schedule)

    @property
    def slot_bytes(self) -> int:
        """Of all slots."""
        return self.schedule.units * self.unit_bytes

    @property
    def table_bytes(self) -> int:
        """Of the policy's table."""
        return self.policy.tables.nbytes if isinstance(self.policy, Mixed) else 0

    @property
    def peak_bytes(self) -> int:
        """Start, working core, adjoint and slots."""
        return self.sizes.fixed + self.slot_bytes

    @property
    def saved(self) -> float:
        """1 - peak / (start + all tapes): the share of plain BPTT's bytes that is not needed."""
        return 1 - self.peak_bytes / (self.sizes.state + self.steps * self.sizes.tape)

    def overhead(self, ratio: float = 2.0) -> float:
        """Extra time over plain BPTT as a share of its own, (14).

        Parameters
        ----------
        ratio : float
            rho: time of a step backward over that of one forward.

        Returns
        -------
        float

        Examples
        --------
        >>> round(plan(1000, Sizes(2, 5), "1 kB", "ism").overhead(), 3)
        0.286
        """
        return (self.cost / self.steps - 1) / (1 + checks.number("ratio", ratio, 0))

    def __str__(self) -> str:
        return (
            f"{self.policy.name}: T = {self.steps}, C/T = {self.cost / self.steps:.3f}, "
            f"{self.peak_bytes} bytes ({100 * self.saved:.1f} % saved), {self.table_bytes} of a table, "
            f"about {100 * self.overhead():.0f} % more time"
        )


def plan(
    steps: int,
    sizes: Sizes,
    budget: int | str | None = None,
    strategy: str = "auto",
    *,
    every: int | None = None,
) -> Plan:
    """The best schedule of a strategy, or of any, within a budget.

    Parameters
    ----------
    steps : int
        T.
    sizes : Sizes
        Bytes of the model's state, tape and adjoint.
    budget : int or str, optional
        Bytes, or text such as "50 MB" or "2 GiB": for start, working core, adjoint, slots and the policy's
        table.  A strategy that says itself what it keeps needs none, and is refused where it exceeds one.
    strategy : str
        "hsm", "revolve", "ism", "msm" are the best of their kind for the budget; "all_tapes", "all_states",
        "nothing", "chen", "periodic", "bisection" keep what they keep; "auto" takes the fewest forward steps.
    every : int, optional
        The period of "periodic".

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        For unknown strategies, and budgets that are missing, no budgets, or too small.

    Examples
    --------
    >>> chosen = plan(1000, Sizes(state=2, tape=5), budget=300)
    >>> chosen.policy.name, chosen.cost, chosen.peak_bytes <= 300
    ('segments', 1950, True)
    """
    steps = checks.count("steps", steps)
    checks.instance("sizes", sizes, Sizes, "Sizes(state=1024, tape=4096)")
    checks.choice("strategy", strategy, STRATEGIES)
    if every is not None and strategy != "periodic":
        raise ValueError(
            f"every: expected none with strategy={strategy!r}, got {every!r}; it is for 'periodic'"
        )
    limit = None if budget is None else bytes_of(budget)
    if limit is not None and limit < sizes.fixed:
        raise ValueError(
            f"budget: expected at least {sizes.fixed} bytes, for the start, the working core and the adjoint "
            f"of this model, got {limit}; nothing runs in less"
        )
    if strategy == "periodic" and every is None:
        raise ValueError(
            "every: expected a period with strategy='periodic', got none; give every=32 for a state at each "
            "32nd step"
        )
    if strategy in _KEEP_WHAT_THEY_KEEP:
        return _fixed(steps, sizes, limit, strategy, every)
    if limit is None:
        raise ValueError(f"budget: expected bytes for strategy={strategy!r}, got none; give e.g. '50 MB'")
    free = limit - sizes.fixed
    best = None
    for candidate in _BUDGETED[strategy](steps, sizes, free):
        if best is None or _price(candidate) < _price(best):
            best = candidate
    if best is None:
        raise ValueError(
            f"strategy: a table for {steps} steps does not fit beside the slots into {limit} bytes; take "
            "'hsm' or 'ism', which need none, or a larger budget"
        )
    return best


def _price(candidate: Plan) -> tuple[int, int]:
    """Forward steps, then bytes."""
    return candidate.cost, candidate.peak_bytes + candidate.table_bytes


def least_plan(steps: int, sizes: Sizes, overhead: float, *, ratio: float = 2.0) -> Plan:
    """A plan of few bytes, table included, for no more time than asked for: the least of one of each kind.

    Parameters
    ----------
    steps : int
        T.
    sizes : Sizes
        Bytes of the model's state, tape and adjoint.
    overhead : float
        Extra time as a share of that of plain BPTT, 1/3 for a third.
    ratio : float
        rho: time of a step backward over that of one forward.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        For anything but numbers of at least 0.

    Examples
    --------
    >>> third = least_plan(1000, Sizes(state=4096, tape=20480), 1 / 3)
    >>> third.policy.name, third.cost, round(third.saved, 3)
    ('segments', 1985, 0.971)
    """
    steps = checks.count("steps", steps)
    checks.instance("sizes", sizes, Sizes, "Sizes(state=1024, tape=4096)")
    overhead, ratio = checks.number("overhead", overhead, 0), checks.number("ratio", ratio, 0)
    cost = int(steps * (1 + overhead * (1 + ratio)) + _ROUNDING)
    found = [_fixed(steps, sizes, None, "all_tapes", None)]
    found += _internal(steps, sizes, (least_internal_slots(steps, cost) - 1) * (sizes.state + sizes.tape))
    if cost >= 2 * steps - 1:
        states = least_hidden_slots(steps, cost) - 1
        found += _hidden(steps, sizes, states * sizes.state, HiddenStates())
    # segments as long as the cost asks for, or where they take least
    every = max(2 * steps - cost, -(-steps // _best_segments(steps, sizes)), 1)
    segments = Segments(sizes.state, sizes.tape, every=min(every, steps))
    if segments.cost(steps, 0) <= cost:
        found.append(Plan(PolicySchedule(segments, steps, segments.least_units(steps)), 1, sizes))
    if steps <= _MOST_STEPS_OF_A_SEARCH:
        unit, state, tape = _coarse_units(sizes)
        units = least_mixed_units(steps, cost, state, tape)
        policy = Mixed(mixed_tables(steps, units, state, tape))
        found.append(Plan(PolicySchedule(policy, steps, units), unit, sizes))
    return min(found, key=lambda one: one.peak_bytes + one.table_bytes)


def bytes_of(budget: Any) -> int:
    """Bytes from a whole number, or from text such as "50 MB" or "2 GiB".

    Parameters
    ----------
    budget : int or str
        What a user wrote.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> bytes_of("1.5 kB"), bytes_of("2 MiB"), bytes_of(12)
    (1500, 2097152, 12)
    """
    if isinstance(budget, (float, Plan)):
        better = (
            "schedule=plan" if isinstance(budget, Plan) else f"budget={int(budget)} or '{budget / 1e6:g} MB'"
        )
        raise TypeError(
            f"budget: expected bytes as a whole number or text, got a {type(budget).__name__}; give {better}"
        )
    if not isinstance(budget, str):
        return checks.count("budget", budget)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMG]|[KMG]i|)B\s*", budget, re.ASCII)
    if found is None:
        raise ValueError(
            f"budget: expected bytes as a whole number or like '50 MB' or '2 GiB', got {budget!r}; prefixes "
            "are k, M, G and Ki, Mi, Gi, in these letters, and B stands at the end"
        )
    return checks.count("budget", int(Fraction(found[1]) * _PREFIXES[found[2]]))


# -- strategies that say themselves what they keep --------------------------------------------------------

_KEEP_WHAT_THEY_KEEP = ("all_tapes", "all_states", "nothing", "chen", "periodic", "bisection")


def _fixed(steps: int, sizes: Sizes, limit: int | None, strategy: str, every: int | None) -> Plan:
    unit, state, tape = _exact_units(sizes)
    policies: dict[str, Callable[[], Policy]] = {
        "all_tapes": lambda: StoreAll(state, tape),
        "all_states": lambda: StoreHidden(state, tape),
        "nothing": lambda: StoreNothing(state, tape),
        "chen": lambda: replace(chen(steps), hidden_units=state, internal_units=tape),
        "periodic": lambda: Periodic(state, tape, every=checks.count("every", every)),
        "bisection": lambda: Bisection(state, tape),
    }
    policy = policies[strategy]()
    made = Plan(PolicySchedule(policy, steps, policy.least_units(steps)), unit, sizes)
    if limit is not None and made.peak_bytes > limit:
        raise ValueError(
            f"budget: strategy={strategy!r} needs {made.peak_bytes} bytes for {steps} steps, got {limit}; "
            "take strategy='auto', which keeps what fits"
        )
    return made


def _exact_units(sizes: Sizes) -> tuple[int, int, int]:
    """The largest unit that divides both, and s_h and s_I in it."""
    unit = math.gcd(sizes.state, sizes.tape)
    return unit, sizes.state // unit, sizes.tape // unit


def _coarse_units(sizes: Sizes) -> tuple[int, int, int]:
    """The same, or a unit of a quarter of a state or more with both rounded up."""
    exact = _exact_units(sizes)
    unit = math.ceil(sizes.state / 4)
    return exact if exact[0] >= unit else (unit, -(-sizes.state // unit), -(-sizes.tape // unit))


# -- strategies that fit themselves into a budget ---------------------------------------------------------


def _hidden(steps: int, sizes: Sizes, free: int, policy: HiddenStates) -> Iterator[Plan]:
    units = min(free // sizes.state, steps - 1)
    yield Plan(PolicySchedule(policy, steps, units), sizes.state, sizes)


def _internal(steps: int, sizes: Sizes, free: int) -> Iterator[Plan]:
    size = sizes.state + sizes.tape  # a tape with its input
    units = min(free // size, steps - 1)
    yield Plan(PolicySchedule(InternalStates(), steps, units), size, sizes)


def _mixed(steps: int, sizes: Sizes, free: int, most_entries: int = 10 * _MOST_ENTRIES) -> Iterator[Plan]:
    """Units are exact, or coarse with sizes rounded up, for a table has an entry a unit and step."""
    if steps > LONGEST:
        return
    coarse = (math.ceil(sizes.state / parts) for parts in (1, 2, 3, 4))
    rounded = [(unit, -(-sizes.state // unit), -(-sizes.tape // unit)) for unit in coarse]
    for unit, state, tape in sorted({_exact_units(sizes), *rounded}, reverse=True):
        # the table is paid from the same budget, and while it is made the slots' share is enough
        row = (steps + 1) * decision_dtype(steps).itemsize
        units = min((free - row - _COST_BYTES) // (unit + row + _COST_BYTES), (steps - 1) * tape)
        making = (steps + 1) * _COST_BYTES * (max(state, tape) + 3) + (units + 1) * row
        if units < 0 or making > free or (units + 1) * steps > most_entries:
            continue
        policy = Mixed(mixed_tables(steps, units, state, tape))
        yield Plan(PolicySchedule(policy, steps, units), unit, sizes)


def _best_segments(steps: int, sizes: Sizes) -> int:
    """Where states of all segments and tapes of one take least; with fewer or more of them they take more."""
    return max(1, min(steps, math.isqrt(steps * sizes.tape // sizes.state)))


def _segments(steps: int, sizes: Sizes, free: int) -> Iterator[Plan]:
    """Segments as long as fit, the last of which is taped in the first sweep."""
    unit, state, tape = _exact_units(sizes)

    def fits(every: int) -> bool:
        return Segments(state, tape, every=every).least_units(steps) * unit <= free

    # what is needed falls with the length of segments up to about this one, and rises from there
    shortest = -(-steps // _best_segments(steps, sizes))
    if fits(shortest):
        longer = bisect_left(range(shortest, steps + 1), True, key=lambda every: not fits(every))
        policy = Segments(state, tape, every=shortest + longer - 1)
        yield Plan(PolicySchedule(policy, steps, policy.least_units(steps)), unit, sizes)


def _automatic(steps: int, sizes: Sizes, free: int) -> Iterator[Plan]:
    everything = _fixed(steps, sizes, None, "all_tapes", None)
    if everything.slot_bytes <= free:
        yield everything
        return
    yield from _hidden(steps, sizes, free, HiddenStates())
    yield from _internal(steps, sizes, free)
    yield from _segments(steps, sizes, free)
    if steps * decision_dtype(steps).itemsize < sizes.state + sizes.tape:
        # else a unit with its row of the table takes more than a slot of ISM
        yield from _mixed(steps, sizes, free, _MOST_ENTRIES)


_BUDGETED: dict[str, Callable[[int, Sizes, int], Iterator[Plan]]] = {
    "auto": _automatic,
    "hsm": lambda steps, sizes, free: _hidden(steps, sizes, free, HiddenStates()),
    "revolve": lambda steps, sizes, free: _hidden(steps, sizes, free, revolve()),
    "ism": _internal,
    "msm": _mixed,
}
