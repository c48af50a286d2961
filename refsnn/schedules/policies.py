"""What to do next with t steps and e free units: nothing else decides a schedule (Gruslys 2016, Algorithm 2).

A policy looks at a sub-sequence of t >= 2 steps whose start is held, and says

    (DIRECT, t)      run to the last step with a tape, pull it back; go on with t - 1 steps
    (HIDDEN, y)      run y steps, push h_y; do the right part, t - y steps; free it; do the left, y steps
    (INTERNAL, y)    run y steps, the last with a tape, push that; do the right part; pull step y back with
                     it; do the left part, y - 1 steps

| policy | pushes | forward steps |
|---|---|---|
| `HiddenStates` | states, where it is optimal (HSM; `revolve` breaks ties the other way) | closed form |
| `InternalStates` | tapes with their input, where it is optimal (ISM) | closed form |
| `Mixed` | both, by a table (MSM) | table |

What users compare these with stands in `baselines`.

The decisions stand here in plain Python; `frames` has them once more, compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from refsnn import checks
from refsnn.schedules import binomial
from refsnn.schedules.mixed import MixedTables

DIRECT, HIDDEN, INTERNAL = range(3)
TIES = ("min", "max")
# How a compiled loop knows a policy.
STATES, TAPES, TABLE, ALL_TAPES, ALL_STATES, NOTHING, PERIOD, HALVES, SEGMENTS = range(9)
_NO_TABLE = np.zeros((1, 1), dtype=np.int32)


class Compiled(NamedTuple):
    """A policy as the compiled loop takes it.

    Attributes
    ----------
    code : int
        Which policy.
    option : int
        1 for the largest split, or the period.
    table : ndarray of int16 or int32
        Of `Mixed`; one entry elsewhere.
    """

    code: int
    option: int = 0
    table: np.ndarray = _NO_TABLE


class Policy(Protocol):
    """Decisions, and what they cost.

    Attributes
    ----------
    name : str
        For tables and figures.
    hidden_units, internal_units : int
        s_h and s_I: what a pushed state and a pushed tape take.
    shares_input : bool
        Whether a pushed tape leaves out its input state.
    """

    @property
    def name(self) -> str:
        """For tables and figures."""
        ...

    @property
    def hidden_units(self) -> int:
        """s_h."""
        ...

    @property
    def internal_units(self) -> int:
        """s_I."""
        ...

    @property
    def shares_input(self) -> bool:
        """Whether a pushed tape leaves out its input state."""
        ...

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """What to do with `steps` >= 2 steps and `units` free units: (DIRECT | HIDDEN | INTERNAL, y)."""
        ...

    def cost(self, steps: int, units: int) -> int:
        """Forward steps of the whole schedule, the first sweep included."""
        ...

    def least_units(self, steps: int) -> int:
        """The free units without which it cannot run."""
        ...

    def compiled(self) -> Compiled:
        """The same decisions for the compiled loop."""
        ...


@dataclass(frozen=True)
class SizedPolicy:
    """Sizes, checked.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_h and s_I, what a pushed state and a pushed tape take; without meaning where none is pushed.
    """

    hidden_units: int = 1
    internal_units: int = 1

    def __post_init__(self) -> None:
        for field in ("hidden_units", "internal_units"):
            object.__setattr__(self, field, checks.count(field, getattr(self, field)))

    @property
    def shares_input(self) -> bool:
        """A tape is pushed only where its input is held, if at all."""
        return True


@dataclass(frozen=True)
class HiddenStates(SizedPolicy):
    """HSM: as many states as fit, where pushing them is optimal; e units hold e // s_h of them.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_h; tapes are not pushed.
    tie : {"min", "max"}
        Which of the optimal splits: the first (the paper's), or the last (more pushes, often).
    name : str
        How it is called.

    Examples
    --------
    >>> HiddenStates().decide(12, 2), HiddenStates(tie="max").decide(12, 2), HiddenStates().cost(12, 2)
    ((1, 4), (1, 6), 33)
    """

    tie: str = "min"
    name: str = "HSM"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("tie", self.tie, TIES)

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The first or the last of the optimal splits, from the closed form."""
        if units < self.hidden_units:
            return DIRECT, steps
        first, last = binomial.hidden_splits(steps, units // self.hidden_units + 1)
        return HIDDEN, first if self.tie == "min" else last

    def cost(self, steps: int, units: int) -> int:
        """C(T, m) of HSM at m = e // s_h + 1."""
        return binomial.hidden_cost(steps, checks.count("units", units, 0) // self.hidden_units + 1)

    def least_units(self, steps: int) -> int:
        """0: the start is enough."""
        return 0

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(STATES, int(self.tie == "max"))


def revolve(hidden_units: int = 1) -> HiddenStates:
    """HSM under the name of Griewank and Walther 2000, with the last of the optimal splits.

    Examples
    --------
    >>> revolve().decide(12, 2)
    (1, 6)
    """
    return HiddenStates(hidden_units, tie="max", name="Revolve")


@dataclass(frozen=True)
class InternalStates(SizedPolicy):
    """ISM: as many tapes as fit, where pushing them is optimal; e units hold e // s_I of them.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_I, with the input state; states are not pushed.
    tie : {"min", "max"}
        Which of the optimal splits: the first, or the last (more pushes, fewer restores, often).
    name : str
        How it is called.

    Examples
    --------
    >>> InternalStates().decide(12, 2), InternalStates().cost(12, 2), InternalStates().decide(3, 0)
    ((2, 4), 24, (0, 3))
    """

    tie: str = "min"
    name: str = "ISM"

    @property
    def shares_input(self) -> bool:
        """A pushed tape holds its input."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("tie", self.tie, TIES)

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The first or the last of the optimal splits, from the closed form."""
        if units < self.internal_units:
            return DIRECT, steps
        first, last = binomial.internal_splits(steps, units // self.internal_units + 1)
        y = first if self.tie == "min" else last
        return (INTERNAL, y) if y < steps else (DIRECT, steps)

    def cost(self, steps: int, units: int) -> int:
        """C(T, m) of ISM at m = e // s_I + 1."""
        return binomial.internal_cost(steps, checks.count("units", units, 0) // self.internal_units + 1)

    def least_units(self, steps: int) -> int:
        """0: the start is enough."""
        return 0

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(TAPES, int(self.tie == "max"))


@dataclass(frozen=True)
class Mixed:
    """MSM: states and tapes, by the tables of the dynamic program.

    Attributes
    ----------
    tables : MixedTables
        For at least as many steps and units as the schedule has.
    name : str
        How it is called.

    Raises
    ------
    ValueError
        For tables of (13), which has two sizes for one tape.

    Examples
    --------
    >>> from refsnn.schedules.mixed import mixed_tables
    >>> policy = Mixed(mixed_tables(30, units=10, hidden_units=1, internal_units=4))
    >>> policy.decide(30, 10), policy.decide(5, 9), policy.cost(30, 10)
    ((1, 3), (2, 1), 67)
    """

    tables: MixedTables
    name: str = "MSM"

    def __post_init__(self) -> None:
        tables = checks.instance("tables", self.tables, MixedTables, "mixed_tables(30, 10, 1, 4)")
        if not tables.shares_input and tables.other_units != tables.first_units:
            raise ValueError(
                "tables: expected one size for all pushed tapes, got "
                f"{tables.first_units} units at y = 1 and {tables.other_units} elsewhere; such tables are "
                "for costs only, leave out first_units"
            )

    @property
    def hidden_units(self) -> int:
        """s_h."""
        return self.tables.hidden_units

    @property
    def internal_units(self) -> int:
        """s_I."""
        return self.tables.first_units

    @property
    def shares_input(self) -> bool:
        """Whether a pushed tape leaves out its input state."""
        return self.tables.shares_input

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """What the table says."""
        decision = self.tables.decision(steps, units)
        return (DIRECT, steps) if decision == 0 else (HIDDEN if decision > 0 else INTERNAL, abs(decision))

    def cost(self, steps: int, units: int) -> int:
        """C(T, e)."""
        return self.tables.cost(steps, units)

    def least_units(self, steps: int) -> int:
        """0: the start is enough."""
        return 0

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(TABLE, 0, self.tables.decisions)
