"""Which states of a long sequence to keep: least costs, optimal splits, and programs that may be illegal.

A program is not asked for, since many are equally good: one is given, and it is asked whether it is legal
and what it costs.  All answers are whole numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.schedules import binomial
from refsnn.schedules.baselines import Bisection, Periodic
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.online import OnlineSchedule
from refsnn.schedules.operations import ADVANCE, BACK, POP_H, POP_I, PUSH_H, PUSH_I, RESTORE, TAPE, Schedule
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed, revolve
from refsnn.schedules.simulation import IllegalSchedule, simulate
from refsnn.schedules.spilled_states import SpilledStates
from refsnn.vectors.case import Case, Kind, Leaf, Leaves, Problem, Solution
from refsnn.vectors.kinds.checkpoint_schedules.by_hand import by_hand
from refsnn.vectors.kinds.checkpoint_schedules.mistakes import COSTS, MACHINE, MISTAKES, REPEATED, SPLIT

LEAVES = (
    Leaf("costs", "(T, e + 1)", "C(t, e): row t - 1, column e", f"{COSTS}, refsnn/schedules/mixed.py", 0.0),
    Leaf("repetitions", "(T, e + 1)", "r", f"{REPEATED}, refsnn/schedules/binomial.py", 0.0),
    Leaf("splits/first", "(T, e + 1)", "the first optimal y; 0 where nothing is pushed", SPLIT, 0.0),
    Leaf("splits/last", "(T, e + 1)", "the last optimal y", SPLIT, 0.0),
    Leaf("legal", "()", "1, or 0", MACHINE, 0.0),
    Leaf("first_illegal", "()", "its number from 0; that of rows for a bad end; -1 for none", MACHINE, 0.0),
    Leaf("cost", "()", "forward steps, with or without tape", MACHINE, 0.0),
    Leaf("executions", "(T,)", "how often each step is run", MACHINE, 0.0),
    Leaf("peak_units", "()", "most units of memory in use", MACHINE, 0.0),
    Leaf("peak_disk_slots", "()", "most slots of the disk in use", MACHINE, 0.0),
    Leaf("restores", "()", "how many RESTOREs, from memory, the disk or the start", MACHINE, 0.0),
    Leaf("pushes", "()", "how many PUSH_H and PUSH_I", MACHINE, 0.0),
)  # fmt: skip
INPUTS = {
    "question": "'tables': least costs and optimal splits; 'program': whether it is legal, and what it costs",
    "strategy": "what is pushed, of tables: 'states' (HSM), 'tapes' (ISM) or 'mixed' (MSM)",
    "steps": "T; tables have rows for t = 1 .. T",
    "units": "free units e beyond the start and the working core; tables have columns for 0 .. e",
    "hidden_units": "what a pushed state h_k takes",
    "internal_units": "what a pushed tape I_k takes",
    "shares_input": "whether a pushed tape leaves out its input h_{k-1}, which must be held elsewhere then",
    "disk_slots": "slots of the disk, for states alone",
    "inputs/rows": "(n, 5): kind, step, last, address, level; kinds 0 .. 7 are ADVANCE, TAPE, PUSH_H, POP_H, "
    "PUSH_I, POP_I, RESTORE, BACK as in refsnn/schedules/operations.py",
}


@dataclass(frozen=True)
class GivenRows:
    """A program as it stands in a case, as a schedule.

    Attributes
    ----------
    rows : ndarray of int64, (n, 5)
        All operations.
    steps, units, hidden_units, internal_units, shares_input, disk_slots
        As of any schedule.

    Examples
    --------
    >>> sizes = dict(steps=1, units=0, hidden_units=1, internal_units=1, shares_input=True, disk_slots=0)
    >>> simulate(GivenRows(np.array([[TAPE, 1, 1, -1, 0], [BACK, 1, 1, -1, 0]]), **sizes)).cost
    1
    """

    rows: np.ndarray
    steps: int
    units: int
    hidden_units: int
    internal_units: int
    shares_input: bool
    disk_slots: int

    def chunks(self) -> Iterator[np.ndarray]:
        """All rows at once."""
        yield self.rows


def solve(problem: Problem, backend: str) -> Solution:
    """By the closed forms and tables, or by following a program.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Whole numbers do not depend on it.

    Returns
    -------
    Solution
    """
    given = problem.hyperparameters
    if given["question"] == "program":
        return Solution(_followed(problem))
    steps, units, size = given["steps"], given["units"], given["hidden_units"]
    if given["strategy"] == "mixed":
        tables = mixed_tables(
            steps, units, size, given["internal_units"], shares_input=given["shares_input"], method="full"
        )
        return Solution(
            {"costs": _filled(steps, units, lambda t, e: tables.followed_cost(t, e))},
        )
    forms = (binomial.hidden_cost, binomial.hidden_repetitions, binomial.hidden_splits)
    if given["strategy"] == "tapes":
        size = given["internal_units"]
        forms = (binomial.internal_cost, binomial.internal_repetitions, binomial.internal_splits)
    cost, repetitions, splits = forms
    shortest = 1 if given["strategy"] == "tapes" else 2

    def split(t: int, e: int, which: int) -> int:
        return splits(t, e // size + 1)[which] if t >= shortest else 0

    return Solution(
        {
            "costs": _filled(steps, units, lambda t, e: cost(t, e // size + 1)),
            "repetitions": _filled(steps, units, lambda t, e: repetitions(t, e // size + 1)),
            "splits/first": _filled(steps, units, lambda t, e: split(t, e, 0)),
            "splits/last": _filled(steps, units, lambda t, e: split(t, e, 1)),
        }
    )


def _filled(steps: int, units: int, entry: Any) -> np.ndarray:
    return np.array([[entry(t, e) for e in range(units + 1)] for t in range(1, steps + 1)], np.int64)


def _followed(problem: Problem) -> Leaves:
    given = {
        name: value for name, value in problem.hyperparameters.items() if name not in ("question", "strategy")
    }
    rows = problem.inputs["rows"]
    try:
        counts = simulate(GivenRows(rows, **given))
    except IllegalSchedule as error:
        where = re.search(r"\d+", str(error))  # "operation 3, ..." or "the end, after 12 operations"
        assert where is not None
        return {"legal": np.asarray(0), "first_illegal": np.asarray(int(where.group()))}
    pushes = counts.hidden_pushes + counts.internal_pushes + counts.disk_pushes
    found = {
        "legal": 1,
        "first_illegal": -1,
        "cost": counts.cost,
        "peak_units": counts.peak_units,
        "peak_disk_slots": counts.peak_disk_slots,
        "restores": counts.restores + counts.disk_restores,
        "pushes": pushes,
    }
    return {name: np.asarray(value) for name, value in found.items()} | {"executions": counts.executions}


def cases(large: bool) -> Iterator[Case]:
    """Tables of all strategies, good programs of all schedules, and bad ones.

    Parameters
    ----------
    large : bool
        Longer ones in addition.

    Yields
    ------
    Case
    """
    small = "all programs were searched"
    yield _tables("tables/states-small", small, "states", 7, 3)
    yield _tables("tables/tapes-small", small, "tapes", 7, 3)
    yield _tables("tables/mixed-small", small, "mixed", 7, 3, internal_units=2)
    yield _tables("tables/states", "Revolve, in closed form", "states", 40, 8)
    yield _tables("tables/tapes", "tapes alone", "tapes", 40, 8)
    yield _tables("tables/states-of-2", "a state takes two units", "states", 25, 7, hidden_units=2)
    yield _tables("tables/tapes-of-3", "a tape takes three units", "tapes", 25, 10, internal_units=3)
    mixed = "states and tapes"
    yield _tables("tables/mixed", mixed, "mixed", 24, 12, internal_units=4)
    yield _tables("tables/mixed-of-2", mixed, "mixed", 18, 9, hidden_units=2, internal_units=3)
    whole = "each pushed tape brings its input"
    yield _tables("tables/mixed-unshared", whole, "mixed", 24, 12, internal_units=5, shares_input=False)
    yield _tables("tables/one-step", "T = 1", "states", 1, 2)
    yield _tables("tables/long", "hundreds of steps", "states", 250, 4)
    if large:
        yield _tables("tables/states-long", "long", "states", 300, 20)
        yield _tables("tables/mixed-long", "long", "mixed", 120, 24, internal_units=4)
    tables = mixed_tables(30, units=10, hidden_units=1, internal_units=4)
    programs: dict[str, Schedule] = {
        "states": PolicySchedule(HiddenStates(), 12, 2),
        "revolve": PolicySchedule(revolve(), 30, 4),
        "states-of-2": PolicySchedule(HiddenStates(hidden_units=2), 12, 5),
        "tapes": PolicySchedule(InternalStates(), 12, 2),
        "mixed": PolicySchedule(Mixed(tables), 30, 10),
        "periodic": PolicySchedule(Periodic(every=4), 16, 10),
        "halves": PolicySchedule(Bisection(), 16, 4),
        "online": OnlineSchedule(25, 4),
        "disk": SpilledStates(20, 2, 3),
        "nothing-kept": PolicySchedule(HiddenStates(), 6, 0),
        "one-step": PolicySchedule(HiddenStates(), 1, 1),
        "long": PolicySchedule(revolve(), 200, 4),
    }
    for name, schedule in programs.items():
        yield _program(f"programs/{name}", "a legal one: what does it cost?", schedule)
    if large:
        yield _program("programs/longer", "long", PolicySchedule(revolve(), 2000, 8))
    yield from _illegal()


def _illegal() -> Iterator[Case]:
    """One fault each."""
    run = [[TAPE, 2, 2, -1, 0], [BACK, 2, 2, -1, 0], [RESTORE, 0, 0, -1, 0], [TAPE, 1, 1, -1, 0]]
    good = [[ADVANCE, 1, 1, -1, 0], *run, [BACK, 1, 1, -1, 0]]
    push = [PUSH_H, 1, 1, 0, 0]
    tapes = [[TAPE, 1, 1, -1, 0], [PUSH_I, 1, 1, 0, 0], [TAPE, 2, 2, -1, 0], [PUSH_I, 2, 2, 2, 0]]
    taken = [[TAPE, 1, 1, -1, 0], [PUSH_I, 1, 1, 0, 0], [TAPE, 2, 2, -1, 0], [PUSH_I, 2, 2, 1, 0]]
    popped = [[TAPE, 3, 3, -1, 0], [BACK, 3, 3, -1, 0], [POP_I, 1, 1, 0, 0], [POP_I, 2, 2, 2, 0]]
    lost = [*tapes, *popped, [BACK, 2, 2, -1, 0]]
    restored = [[ADVANCE, 1, 2, -1, 0], [TAPE, 3, 3, -1, 0], [RESTORE, 0, 0, -1, 0], [BACK, 3, 3, -1, 0]]
    overrun = [*good[:5], [ADVANCE, 2, 2, -1, 0], [BACK, 1, 1, -1, 0]]
    faults: dict[str, tuple[int, Sequence[Sequence[int]], str]] = {
        "copy-left": (2, [good[0], push, *good[1:]], "a copy is not freed at the end"),
        "too-short": (2, good[:-1], "step 1 is not pulled back"),
        "wrong-order": (2, [[TAPE, 1, 1, -1, 0], [BACK, 1, 1, -1, 0], *good], "step 1 before step 2"),
        "no-tape": (2, [good[0], [ADVANCE, 2, 2, -1, 0], *good[2:]], "step 2 left no tape"),
        "tape-overrun": (2, overrun, "the next run takes its place"),
        "tape-gone": (3, restored, "the tape does not outlive another working state"),
        "not-there": (2, [[ADVANCE, 1, 2, -1, 0], [TAPE, 2, 2, -1, 0]], "the working state is h_2, not h_1"),
        "too-far": (2, [[ADVANCE, 1, 3, -1, 0]], "there is no step 3"),
        "no-room": (2, [good[0], [PUSH_H, 1, 1, 4, 0], *good[1:]], "units 0 to 3 are there"),
        "taken": (3, [*taken, *popped], "a tape takes two units, the second of which is taken"),
        "empty": (2, [*good[:3], [RESTORE, 1, 1, 0, 0], *good[4:]], "nothing was pushed there"),
        "input-gone": (3, lost, "the tape of step 2 leaves out h_1, which was inside of that of step 1"),
        "other-copy": (2, [good[0], push, *good[1:3], [POP_H, 2, 2, 0, 0], *good[3:]], "it is h_1"),
    }  # fmt: skip
    for name, (steps, rows, purpose) in faults.items():
        given = GivenRows(np.array(rows, np.int64), steps, 4, 1, 2, True, 0)
        yield _program(f"illegal/{name}", purpose, given)
    onto_disk = [[TAPE, 1, 1, -1, 0], [PUSH_I, 1, 1, 0, 1], [BACK, 1, 1, -1, 0]]
    given = GivenRows(np.array(onto_disk, np.int64), 1, 4, 1, 2, True, 2)
    yield _program("illegal/tape-on-disk", "the disk is for states", given)


def _tables(name: str, purpose: str, strategy: str, steps: int, units: int, **sizes: Any) -> Case:
    given: dict[str, Any] = {"hidden_units": 1, "internal_units": 1, "shares_input": True} | sizes
    given = {"question": "tables", "strategy": strategy, "steps": steps, "units": units} | given
    flag = "one-step" if steps == 1 else "long" if steps >= 200 else "ties"
    return Case(name, purpose, (flag,), Problem(given, {}))


def _program(name: str, purpose: str, schedule: Schedule) -> Case:
    given = {
        field: getattr(schedule, field)
        for field in ("steps", "units", "hidden_units", "internal_units", "shares_input", "disk_slots")
    }
    rows = np.concatenate([chunk.copy() for chunk in schedule.chunks()])
    holds = {"one-step": schedule.steps == 1, "long": schedule.steps >= 200}
    flags = tuple(flag for flag, it_does in holds.items() if it_does)
    return Case(name, purpose, flags, Problem({"question": "program"} | given, {"rows": rows}))


CHECKPOINT_SCHEDULES = Kind(
    name="checkpoint_schedules",
    summary="Which states of a long sequence to keep: least costs, optimal splits, programs.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="literal dynamic programs, exhaustive search, a machine of sets",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
    agreement=0.0,
)
