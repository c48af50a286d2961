"""Checkpointing without closed forms and compiled loops, with a switch for each mistake that is often made.

Without switches this is the oracle: costs and splits are those of the literal dynamic programs (for short
sequences also of an exhaustive search over all programs), and programs are followed by a machine of sets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.oracles.checkpoint_tables import (
    PolicyTable,
    hidden_state_table,
    internal_state_table,
    mixed_table,
    unit_table,
)
from refsnn.oracles.schedule_search import least_forward_steps
from refsnn.schedules.operations import NAMES, NOWHERE
from refsnn.vectors.case import Hyperparameters, Leaves, Problem

SEARCHED = 7  # steps up to which all programs are searched, if the units are few
FEW = 3


def by_hand(problem: Problem) -> Leaves:
    """All leaves, with the mistakes that the hyper-parameters ``mistake.*`` name.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    dict of str to ndarray
    """
    given = problem.hyperparameters
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    if given["question"] == "program":
        return _followed(given, problem.inputs["rows"], made)
    return _tabulated(given, made)


def searched(given: Hyperparameters) -> bool:
    """Whether an exhaustive search answers in the time that a case may take.

    Parameters
    ----------
    given : dict
        Hyper-parameters of a table.

    Returns
    -------
    bool
    """
    return given["steps"] <= SEARCHED and given["units"] <= FEW


def _tabulated(given: Hyperparameters, made: set[str]) -> Leaves:
    steps, units = given["steps"], given["units"]
    size = given["hidden_units"] if given["strategy"] == "states" else given["internal_units"]
    if given["strategy"] == "mixed":
        return {"costs": _altered(_mixed(given, made), made)}
    table = (hidden_state_table if given["strategy"] == "states" else internal_state_table)(
        steps, units // size + 2
    )
    first_of = table.hidden if given["strategy"] == "states" else table.internal
    costs, first, last, repetitions = (np.zeros((steps, units + 1), np.int64) for _ in range(4))
    for e in range(units + 1):
        m = _slots(e, size, made)
        for t in range(1, steps + 1):
            costs[t - 1, e] = table.cost[t, m]
            optimal = first_of.get((t, m), (0,))
            first[t - 1, e], last[t - 1, e] = min(optimal), max(optimal)
            repetitions[t - 1, e] = _repetitions(t, m, given["strategy"] == "tapes") + (
                1 if "runs-for-repetitions" in made else 0
            )
    if not made and searched(given):
        costs = _of_all_programs(given)
    if "ties" in made:
        first, last = last, first
    elif "first-alone" in made:
        last = first
    leaves = {"costs": _altered(costs, made), "repetitions": repetitions}
    return leaves | {"splits/first": first, "splits/last": last}


def _slots(units: int, size: int, made: set[str]) -> int:
    """m = e // s + 1."""
    if "start-counted" in made:
        return max(units // size, 1)
    if "core-for-free" in made:
        return units // size + 2
    return (-(-units // size) if "rounded-up" in made else units // size) + 1


def _altered(costs: np.ndarray, made: set[str]) -> np.ndarray:
    length = np.arange(1, len(costs) + 1)[:, None]
    if "tapes-not-counted" in made:
        return costs - length
    if "first-sweep-not-counted" in made:
        return costs - (length - 1)
    if "one-step-short" in made:
        return np.concatenate([0 * costs[:1], costs[:-1]])
    return costs


def _mixed(given: Hyperparameters, made: set[str]) -> np.ndarray:
    """C(t, e), columns e."""
    steps, units = given["steps"], given["units"]
    s_h, s_i, shares = given["hidden_units"], given["internal_units"], given["shares_input"]
    if "other-sharing" in made:
        shares = not shares
    if "states-alone" in made or "tapes-alone" in made:
        s_h, s_i = (s_h, None) if "states-alone" in made else (None, s_i)
        return unit_table(steps, units, s_h, s_i).cost[1:]
    if "tape-takes-1" in made:
        s_i = 1
    if not made and shares and searched(given):
        return _of_all_programs(given)
    if shares:
        return unit_table(steps, units, s_h, s_i).cost[1:]
    return _unshared(steps, units, s_h, s_i).cost[1:]


def _unshared(steps: int, units: int, s_h: int, s_i: int) -> PolicyTable:
    """(7)-(12), whose m is e + 1, in units of a state."""
    assert s_h == 1  # the printed form
    table = mixed_table(steps, units + 1, s_i, s_i)
    return PolicyTable(table.cost[:, 1:])


def _of_all_programs(given: Hyperparameters) -> np.ndarray:
    """C(t, e) by exhaustive search."""
    strategy, s_h, s_i = given["strategy"], given["hidden_units"], given["internal_units"]
    sizes: dict[str, Any] = {"hidden_units": None if strategy == "tapes" else s_h}
    if strategy != "states":
        # a tape that leaves out its input needs that input held: alone it takes both
        sizes |= {"internal_units": s_i, "internal_units_alone": s_i + s_h if strategy == "mixed" else s_i}
    return np.array(
        [
            [least_forward_steps(t, e, **sizes) for e in range(given["units"] + 1)]
            for t in range(1, given["steps"] + 1)
        ]
    )


def _repetitions(t: int, m: int, tapes: bool) -> int:
    """The least r with t <= b(m + r, r), or b(m + r, r) - 1, by Pascal's triangle."""
    if m == 1:
        return t if tapes else t - 1
    row = [1] * (m + 1)  # b(k + r, r) for k = 0 .. m at r = 0
    r = 0
    while row[m] - tapes < t:
        for k in range(1, m + 1):
            row[k] += row[k - 1]
        r += 1
    return r


# ---- programs ---------------------------------------------------------------------------------------------


class _Illegal(Exception):
    """This operation cannot be carried out."""


def _require(condition: bool) -> None:
    if not condition:
        raise _Illegal


class _Machine:
    """The machine of `refsnn.schedules.operations`, in sets and dicts."""

    def __init__(self, given: Hyperparameters, made: set[str]) -> None:
        self.given, self.made, self.next = given, made, given["steps"]
        self.working, self.tape, self.tape_from_slot = 0, -1, False
        self.slots: dict[tuple[int, int], tuple[str, int]] = {}  # (level, address): kind and step
        self.executions = np.zeros(given["steps"], np.int64)
        self.counts = dict.fromkeys(("cost", "restores", "pushes", "peak_units", "peak_disk_slots"), 0)

    def size(self, kind: str, level: int) -> int:
        if level == 1:
            return 1
        return int(self.given["hidden_units" if kind == "h" else "internal_units"])

    def used(self, level: int) -> int:
        """Units of memory, or slots of the disk."""
        kinds = [kind for (where, _), (kind, _) in self.slots.items() if where == level]
        return len(kinds) if "peak-of-copies" in self.made else sum(self.size(k, level) for k in kinds)

    def held(self, step: int) -> bool:
        if "input-not-needed" in self.made or not self.given["shares_input"]:
            return True
        return step == 0 or any(k == step for _, k in self.slots.values())

    def run(self, name: str, k: int, last: int) -> None:
        _require(self.working == k - 1)
        end = max(last - 1, k) if "last-left-out" in self.made else last
        self.executions[k - 1 : end] += 1
        self.counts["cost"] += 1 if "advance-is-one" in self.made else end - k + 1
        self.working = last
        if name == "TAPE":
            self.tape, self.tape_from_slot = k, False
        elif "tape-stays" not in self.made:
            self.tape = -1

    def back(self, k: int) -> None:
        _require(k == self.next or "any-order" in self.made)
        _require(k == self.tape)
        _require(not self.tape_from_slot or self.held(k - 1))
        self.next, self.tape = self.next - 1, -1

    def restore(self, k: int, where: tuple[int, int]) -> None:
        if where == (0, NOWHERE):
            _require(k == 0)
        else:
            _require(self.slots.get(where, ("", -1))[1] == k)
            _require(self.slots[where][0] == "h" or self.held(k - 1))
        if not (where == (0, NOWHERE) and "start-is-no-restore" in self.made):
            self.counts["restores"] += 1
        if self.working != k:
            self.tape = -1
        self.working = k

    def push(self, kind: str, k: int, where: tuple[int, int]) -> None:
        level, address = where
        most = self.given["disk_slots" if level else "units"]
        _require(address >= 0 and address + self.size(kind, level) <= most)
        if kind == "i":
            _require(level == 0 and self.tape == k)
        else:
            _require(self.working == k or (self.tape == k + 1 and not self.tape_from_slot))
        new = set(range(address, address + self.size(kind, level)))
        for (at_level, start), (other, _) in self.slots.items():
            taken = range(start, start + self.size(other, at_level))
            _require(at_level != level or not new & set(taken) or "overwrites" in self.made)
        self.slots[where] = kind, k
        self.counts["pushes"] += 1
        name = "peak_disk_slots" if level else "peak_units"
        self.counts[name] = max(self.counts[name], self.used(level))

    def pop(self, kind: str, k: int, where: tuple[int, int]) -> None:
        _require(self.slots.get(where) == (kind, k))
        del self.slots[where]
        if kind == "i":
            _require(self.held(k - 1))
            self.working, self.tape, self.tape_from_slot = k - 1, k, True

    def do(self, row: list[int]) -> None:
        kind, k, last, address, level = row
        _require(0 <= kind < len(NAMES) and level in (0, 1))
        name, where = NAMES[kind], (level, address)
        least = 0 if name in ("PUSH_H", "POP_H", "RESTORE") else 1
        _require(least <= k <= last <= self.given["steps"] and (name == "ADVANCE" or last == k))
        if name in ("ADVANCE", "TAPE", "BACK"):
            _require(where == (0, NOWHERE))
            self.back(k) if name == "BACK" else self.run(name, k, last)
        elif name == "RESTORE":
            self.restore(k, where)
        else:
            act = self.push if name.startswith("PUSH") else self.pop
            act(name[-1].lower(), k, where)


def _followed(given: Hyperparameters, rows: np.ndarray, made: set[str]) -> Leaves:
    machine, first = _Machine(given, made), -1
    for number, row in enumerate(rows.tolist()):
        try:
            machine.do(row)
        except _Illegal:
            first = number
            break
    if first < 0 and (machine.next > 0 or (machine.slots and "copies-left" not in made)):
        first = len(rows)
    if "from-1" in made and first >= 0:
        first += 1
    leaves = {"legal": np.asarray(int(first < 0)), "first_illegal": np.asarray(first)}
    if first >= 0:
        return leaves
    leaves |= {name: np.asarray(value) for name, value in machine.counts.items()}
    return leaves | {"executions": machine.executions}
