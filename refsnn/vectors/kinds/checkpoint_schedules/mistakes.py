"""What goes wrong in implementations of checkpointing: counting, splits, and what a machine allows."""

from __future__ import annotations

from collections.abc import Callable

from refsnn.vectors.case import Mistake, Problem
from refsnn.vectors.kinds.recurrent_network.mistakes import switch

COSTS = "C(t, e) = min(t + C(t-1, e), y + C(y, e) + C(t-y, e-s_h), y + C(y-1, e) + C(t-y, e-s_I))"
REPEATED = "r least with t <= b(m+r, r), or b(m+r, r) - 1 for tapes; m = e // s + 1"
SPLIT = "y that reaches C(t, e), refsnn/schedules/binomial.py"
MACHINE = "the machine of refsnn/schedules/operations.py, its conditions in refsnn/schedules/simulation.py"


def _tables(*strategies: str) -> Callable[[Problem], bool]:
    return lambda problem: problem.hyperparameters.get("strategy") in strategies


def _program(problem: Problem) -> bool:
    return problem.hyperparameters["question"] == "program"


def _of_unit_states(problem: Problem) -> bool:
    return _tables("mixed")(problem) and problem.hyperparameters["hidden_units"] == 1


_EVERY = _tables("states", "tapes", "mixed")
_PURE = _tables("states", "tapes")
MISTAKES = (
    Mistake(
        "start-counted",
        "the start, or the working core, is counted among the free units",
        COSTS,
        switch("start-counted", _PURE),
    ),
    Mistake("core-for-free", "one copy too many: m is e // s + 2", COSTS, switch("core-for-free", _PURE)),
    Mistake("rounded-up", "e / s copies are rounded up", COSTS, switch("rounded-up", _PURE)),
    Mistake(
        "tapes-not-counted",
        "the runs that leave a tape are not counted as forward steps",
        COSTS,
        switch("tapes-not-counted", _EVERY),
    ),
    Mistake(
        "first-sweep-not-counted",
        "the first sweep, up to the last step, is not counted",
        COSTS,
        switch("first-sweep-not-counted", _EVERY),
    ),
    Mistake("one-step-short", "rows are counted from t = 0", COSTS, switch("one-step-short", _EVERY)),
    Mistake("ties", "first and last optimal split are exchanged", SPLIT, switch("ties", _PURE)),
    Mistake(
        "first-alone",
        "of several optimal splits the first is given for the last",
        SPLIT,
        switch("first-alone", _PURE),
    ),
    Mistake(
        "runs-for-repetitions",
        "repetitions count the first run too",
        REPEATED,
        switch("runs-for-repetitions", _PURE),
    ),
    Mistake(
        "other-sharing",
        "tapes with their input are taken for tapes without, or the reverse (shares_input)",
        COSTS,
        switch("other-sharing", _of_unit_states),
    ),
    Mistake("states-alone", "tapes are never pushed", COSTS, switch("states-alone", _tables("mixed"))),
    Mistake("tapes-alone", "states are never pushed", COSTS, switch("tapes-alone", _tables("mixed"))),
    Mistake(
        "tape-takes-1",
        "a tape takes one unit, not internal_units",
        COSTS,
        switch("tape-takes-1", _tables("mixed")),
    ),
    Mistake(
        "advance-is-one", "an ADVANCE over several steps costs 1", MACHINE, switch("advance-is-one", _program)
    ),
    Mistake(
        "last-left-out", "an ADVANCE j..k does not run step k", MACHINE, switch("last-left-out", _program)
    ),
    Mistake(
        "start-is-no-restore",
        "a RESTORE of the start is not counted",
        MACHINE,
        switch("start-is-no-restore", _program),
    ),
    Mistake(
        "peak-of-copies", "the peak counts copies, not units", MACHINE, switch("peak-of-copies", _program)
    ),
    Mistake(
        "copies-left",
        "copies that are left at the end are not complained of",
        MACHINE,
        switch("copies-left", _program),
    ),
    Mistake(
        "input-not-needed",
        "the input of a tape that leaves it out is not asked for",
        MACHINE,
        switch("input-not-needed", _program),
    ),
    Mistake("overwrites", "a copy may be put where another is", MACHINE, switch("overwrites", _program)),
    Mistake("any-order", "steps may be pulled back in any order", MACHINE, switch("any-order", _program)),
    Mistake(
        "tape-stays",
        "an ADVANCE leaves the tape of an earlier step in the core",
        MACHINE,
        switch("tape-stays", _program),
    ),
    Mistake("from-1", "rows are numbered from 1", MACHINE, switch("from-1", _program)),
)
