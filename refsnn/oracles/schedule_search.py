"""Exhaustive search over all programs of the checkpointing machine: the least number of forward steps.

A state of the machine is (next step to pull back, working state, whether its tape is in the core, pushed
hidden states, pushed tapes).  Moves: run the next step (cost 1), push, free, restore and pull back (cost 0),
in any order, whatever a policy would do.  A tape I_k in a slot takes `internal_units` while its input state
h_{k-1} is the start, pushed, or inside a pushed I_{k-1}, and `internal_units_alone` otherwise.

Left out are only moves that cannot help: running a step without keeping its tape in the core, waiting with
a possible pull back, and keeping what lies behind the next step to pull back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from refsnn import checks

START = 1  # h_0, as a bit


class MachineState(NamedTuple):
    """Where the machine stands; sets of steps are bit masks, bit k for h_k or I_k."""

    back: int
    working: int
    taped: bool
    hidden: int
    internal: int


def least_forward_steps(
    steps: Any,
    units: Any,
    *,
    hidden_units: Any = 1,
    internal_units: Any = None,
    internal_units_alone: Any = None,
    bound: bool = True,
) -> int:
    """Least number of forward steps of any program that pulls back steps T..1.

    Uniform-cost search; with `bound`, states are taken in the order of cost + number of steps, up to the next
    one to pull back, whose tape is nowhere: each of them must be run again, so that the answer is the same.

    Parameters
    ----------
    steps, units : int
        T, and e: units beyond the start and the working core.
    hidden_units, internal_units, internal_units_alone : int or None
        Size of a pushed h_k; of a pushed I_k while its input state is held elsewhere, and while it is not
        (the same if not given).  None: that kind is never pushed.
    bound : bool
        False: plain uniform-cost search, slower.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        For bad sizes.

    Examples
    --------
    >>> least_forward_steps(10, 2), least_forward_steps(6, 2, hidden_units=None, internal_units=1)
    (25, 9)
    """
    steps, units = checks.count("steps", steps), checks.count("units", units, 0)
    if internal_units is None and internal_units_alone is not None:
        raise ValueError("internal_units_alone: expected None without internal_units, got a size")
    if internal_units is not None:
        internal_units = checks.count("internal_units", internal_units)
        alone = internal_units if internal_units_alone is None else internal_units_alone
        internal_units_alone = checks.count("internal_units_alone", alone, internal_units)
    if hidden_units is not None:
        hidden_units = checks.count("hidden_units", hidden_units)
    sizes = (units, hidden_units, internal_units, internal_units_alone)

    start = MachineState(back=steps, working=0, taped=False, hidden=0, internal=0)
    cost = {start: 0}
    waiting: dict[int, list[MachineState]] = {_missing(start) if bound else 0: [start]}
    done: set[MachineState] = set()
    level = min(waiting)
    while True:
        while not waiting.get(level):
            level += 1
        state = waiting[level].pop()
        if state in done:
            continue
        done.add(state)
        if state.back == 0:
            return cost[state]
        for following, price in _moves(state, *sizes):
            total = cost[state] + price
            if total < cost.get(following, total + 1):
                cost[following] = total
                estimate = total + _missing(following) if bound else total
                waiting.setdefault(estimate, []).append(following)


def _missing(state: MachineState) -> int:
    """Steps up to the next one to pull back whose tape is neither in the core nor in a slot."""
    held = state.internal | (1 << state.working if state.taped else 0)
    return state.back - held.bit_count()


def _moves(
    state: MachineState, units: int, s_h: int | None, s_i: int | None, s_alone: int | None
) -> Iterator[tuple[MachineState, int]]:
    """Every following state with its cost; all of them within the units."""
    back, working, taped, hidden, internal = state
    yield _settled(back, working + 1, True, hidden, internal), 1
    for k in _members(hidden | internal | START):  # RESTORE: h_k from its slot, from inside I_k, or the start
        if k != working:
            yield MachineState(back, k, False, hidden, internal), 0
    slots = [(hidden & ~(1 << k), internal) for k in _members(hidden)]
    slots += [(hidden, internal & ~(1 << k)) for k in _members(internal)]
    here = 1 << working
    if s_h is not None and not (hidden | START) & here:
        slots.append((hidden | here, internal))
    if s_i is not None and s_alone is not None and taped and not internal & here:
        slots.append((hidden, internal | here))
    for h, i in slots:
        # also after a free: without h_{k-1} a tape I_k can take more
        if _units(h, i, s_h or 0, s_i or 0, s_alone or 0) <= units:
            yield MachineState(back, working, taped, h, i), 0


def _units(hidden: int, internal: int, s_h: int, s_i: int, s_alone: int) -> int:
    """What the slots take."""
    shared = internal & (hidden | internal | START) << 1
    return s_h * hidden.bit_count() + s_i * shared.bit_count() + s_alone * (internal & ~shared).bit_count()


def _settled(back: int, working: int, taped: bool, hidden: int, internal: int) -> MachineState:
    """After every pull back that is possible, without what is of no use any more."""
    while back and (internal >> back & 1 or (taped and working == back)):
        back -= 1
    if working >= back:  # no step is left to be run from here
        working, taped = 0, False
    below = (1 << back) - 1
    return MachineState(back, working, taped, hidden & below, internal & below)


def _members(mask: int) -> Iterator[int]:
    """The bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
