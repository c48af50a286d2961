"""Policies that users compare the optimal ones with: told where to push, not how much memory there is.

| policy | pushes | forward steps |
|---|---|---|
| `StoreAll` | each tape: plain backpropagation through time | T |
| `StoreHidden` | each state | 2 T - 1 |
| `StoreNothing` | nothing | T (T+1) / 2 |
| `Periodic` | each s-th state, the tapes of one segment; `chen` with s = sqrt T | 2 T - the last segment |
| `Segments` | the same, with the short segment first | 2 T - s |
| `Bisection` | the state in the middle, again and again | about T (1 + log2(T) / 2) |

`least_units` is what each needs, and what it then uses at its peak.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from math import isqrt

from refsnn import checks
from refsnn.schedules.policies import (
    ALL_STATES,
    ALL_TAPES,
    DIRECT,
    HALVES,
    HIDDEN,
    INTERNAL,
    NOTHING,
    PERIOD,
    SEGMENTS,
    Compiled,
    SizedPolicy,
)


@dataclass(frozen=True)
class StoreAll(SizedPolicy):
    """Each tape: plain backpropagation through time.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_I; states are not pushed.
    shares_input : bool
        Whether a tape leaves out its input, which the tape before it holds.
    name : str
        How it is called.

    Examples
    --------
    >>> StoreAll(internal_units=4).least_units(12), StoreAll().cost(12, 11)
    (44, 12)
    """

    shares_input: bool = True
    name: str = "all tapes"

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The tape of the first step."""
        return INTERNAL, 1

    def cost(self, steps: int, units: int) -> int:
        """T."""
        return checks.count("steps", steps)

    def least_units(self, steps: int) -> int:
        """T - 1 tapes; the last is in the working core."""
        return (steps - 1) * self.internal_units

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(ALL_TAPES)


@dataclass(frozen=True)
class StoreHidden(SizedPolicy):
    """Each state; every step but the last is run once more for its tape.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_h; tapes are not pushed.
    name : str
        How it is called.

    Examples
    --------
    >>> StoreHidden().least_units(12), StoreHidden().cost(12, 11)
    (11, 23)
    """

    name: str = "all states"

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The state after the first step."""
        return HIDDEN, 1

    def cost(self, steps: int, units: int) -> int:
        """2 T - 1."""
        return 2 * checks.count("steps", steps) - 1

    def least_units(self, steps: int) -> int:
        """T - 1 states beside the start."""
        return (steps - 1) * self.hidden_units

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(ALL_STATES)


@dataclass(frozen=True)
class StoreNothing(SizedPolicy):
    """The start alone: each step is reached from there.

    Attributes
    ----------
    hidden_units, internal_units : int
        Nothing is pushed.
    name : str
        How it is called.

    Examples
    --------
    >>> StoreNothing().cost(12, 0)
    78
    """

    name: str = "nothing"

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The last step."""
        return DIRECT, steps

    def cost(self, steps: int, units: int) -> int:
        """T (T+1) / 2."""
        steps = checks.count("steps", steps)
        return steps * (steps + 1) // 2

    def least_units(self, steps: int) -> int:
        """0."""
        return 0

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(NOTHING)


@dataclass(frozen=True)
class Periodic(SizedPolicy):
    """Each s-th state, and the tapes of one segment at a time; the last segment is taped in the first sweep.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_h and s_I.
    every : int
        s.
    name : str
        How it is called.

    Examples
    --------
    >>> policy = Periodic(every=4)
    >>> policy.decide(12, 9), policy.decide(4, 7), policy.cost(12, 9), policy.cost(10, 9)
    ((1, 4), (2, 1), 20, 18)
    """

    every: int = field(kw_only=True)
    name: str = "periodic"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "every", checks.count("every", self.every))

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The next s-th state; within the last segment, the tape of the first step."""
        return (HIDDEN, self.every) if steps > self.every else (INTERNAL, 1)

    def cost(self, steps: int, units: int) -> int:
        """2 T less the length of the last segment."""
        return 2 * checks.count("steps", steps) - self._last(steps)

    def least_units(self, steps: int) -> int:
        """The states before a segment and its tapes but one, where that is most: in one of the last two."""
        before, last = (steps - 1) // self.every, self._last(steps)
        most = before * self.hidden_units + (last - 1) * self.internal_units
        if before:
            most = max(most, (before - 1) * self.hidden_units + (self.every - 1) * self.internal_units)
        return max(most, before * self.hidden_units)

    def _last(self, steps: int) -> int:
        """Length of the last segment."""
        return (steps - 1) % self.every + 1

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(PERIOD, self.every)


@dataclass(frozen=True)
class Segments(SizedPolicy):
    """`Periodic` with the short segment first: the last, which is taped in the first sweep, is whole.

    The segments are as long as memory allows: between the square root of T and T this needs no table and
    comes close to the best of states and tapes.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_h and s_I.
    every : int
        s.
    name : str
        How it is called.

    Examples
    --------
    >>> policy = Segments(every=4)
    >>> policy.decide(10, 9), policy.decide(8, 9), policy.cost(10, 9), Segments(every=9).cost(10, 9)
    ((1, 2), (1, 4), 16, 11)
    """

    every: int = field(kw_only=True)
    name: str = "segments"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "every", checks.count("every", self.every))

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The state after which whole segments are left; within a segment, the tape of its first step."""
        return (HIDDEN, (steps - 1) % self.every + 1) if steps > self.every else (INTERNAL, 1)

    def cost(self, steps: int, units: int) -> int:
        """2 T - s; T where one segment is enough."""
        return 2 * checks.count("steps", steps) - min(self.every, steps)

    def least_units(self, steps: int) -> int:
        """At the end of the first sweep: states of all segments, and the tapes of the last but one."""
        length = min(self.every, steps)
        return (steps - 1) // length * self.hidden_units + (length - 1) * self.internal_units

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(SEGMENTS, self.every)


def chen(steps: int, hidden_units: int = 1, internal_units: int = 1) -> Periodic:
    """The square-root rule of Chen 2016: `Periodic` with s = sqrt(T), rounded.

    Examples
    --------
    >>> chen(1000).every, chen(1000).cost(1000, 61)
    (32, 1992)
    """
    steps = checks.count("steps", steps)
    root = isqrt(steps)
    every = root + (steps - root * root > root)
    return Periodic(hidden_units, internal_units, every=every, name="Chen")


@dataclass(frozen=True)
class Bisection(SizedPolicy):
    """The state in the middle, and the same on either side.

    Attributes
    ----------
    hidden_units, internal_units : int
        s_h; tapes are not pushed.
    name : str
        How it is called.

    Examples
    --------
    >>> Bisection().least_units(100), Bisection().cost(100, 7), Bisection().cost(1000, 10)
    (7, 416, 5932)
    """

    name: str = "bisection"

    def decide(self, steps: int, units: int) -> tuple[int, int]:
        """The state after half of the steps, rounded down."""
        return HIDDEN, steps // 2

    def cost(self, steps: int, units: int) -> int:
        """C(t) = t // 2 + C(t - t // 2) + C(t // 2), C(1) = 1."""
        return _bisection_cost(checks.count("steps", steps))

    def least_units(self, steps: int) -> int:
        """The larger half is halved again, with one state more: log2 of T, rounded up."""
        return (steps - 1).bit_length() * self.hidden_units

    def compiled(self) -> Compiled:
        """For the compiled loop."""
        return Compiled(HALVES)


@functools.cache
def _bisection_cost(steps: int) -> int:
    if steps == 1:
        return 1
    return steps // 2 + _bisection_cost(steps - steps // 2) + _bisection_cost(steps // 2)
