"""Schedules that ask for what is not there are refused by name, and none of them gives a wrong gradient."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoint_cases import POLICIES, Rows, bits, schedule_of
from hypothesis import given
from hypothesis import strategies as st
from recurrent_cases import ALL, problem

from refsnn.algorithms.checkpoint_executor import Executor, IllegalOperation
from refsnn.algorithms.checkpoint_places import Places
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.schedules.online import OnlineSchedule
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    POP_H,
    POP_I,
    PUSH_H,
    PUSH_I,
    RESTORE,
    TAPE,
    Operation,
)
from refsnn.schedules.simulation import IllegalSchedule, simulate
from refsnn.schedules.two_level import TransferCosts, TwoLevelSchedule


def op(kind, step, address=-1, last=None, level=0):
    return Operation(kind, step, step if last is None else last, address, level)


RUN3 = [op(ADVANCE, 1, last=2), op(TAPE, 3), op(BACK, 3)]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([op(ADVANCE, 2, last=3)], "ADVANCE 2 needs the working state 1"),
        ([op(ADVANCE, 3, last=2)], "ADVANCE 3..2 is no operation on steps 1..3"),
        ([op(ADVANCE, 1, last=4)], "ADVANCE 1..4 is no operation on steps 1..3"),
        ([op(ADVANCE, 0, last=1)], "ADVANCE 0..1 is no operation"),
        ([op(TAPE, 2)], "TAPE 2 needs the working state 1"),
        ([op(TAPE, 1), op(TAPE, 1)], "TAPE 1 needs the working state 0"),
        ([op(TAPE, 1, last=2)], "is no operation"),
        ([op(BACK, 3)], "BACK 3 needs step 3 to be next, its tape and the state before it"),
        ([*RUN3, op(BACK, 3)], "BACK 3 needs step 2 to be next"),
        ([*RUN3, op(BACK, 2)], "BACK 2 needs step 2 to be next, its tape"),
        ([op(TAPE, 1), op(BACK, 1)], "BACK 1 needs step 3 to be next"),
        ([op(ADVANCE, 1, last=2), op(ADVANCE, 3), op(BACK, 3)], "BACK 3 needs .* its tape"),
        ([op(PUSH_H, 1, 0)], "PUSH_H 1 needs the state 1 in the core"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, -1)], "PUSH_H 1 needs 1 free units at -1 of the 2 of level 0"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 2)], "PUSH_H 1 needs 1 free units at 2"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 0), op(ADVANCE, 2), op(PUSH_H, 2, 0)], "PUSH_H 2 needs 1 free units"),
        ([op(TAPE, 1), op(PUSH_I, 1, 0), op(TAPE, 2), op(PUSH_H, 2, 1)], "PUSH_H 2 needs 1 free units at 1"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 0, level=1)], "PUSH_H 1 needs 1 free units at 0 of the 0 of level 1"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 0, level=2)], "levels 0 and 1"),
        ([op(ADVANCE, 1), op(PUSH_I, 1, 0)], "PUSH_I 1 needs the tape 1 in the core"),
        ([op(TAPE, 1), op(PUSH_I, 1, 1)], "PUSH_I 1 needs 2 free units at 1"),
        ([op(TAPE, 1), op(PUSH_I, 1, 0, level=1)], "PUSH_I 1 needs the tape 1 .* memory only"),
        ([*RUN3, op(PUSH_I, 3, 0)], "PUSH_I 3 needs the tape 3 in the core"),
        ([op(TAPE, 1), op(PUSH_I, 1, 0), op(RESTORE, 0), op(PUSH_I, 1, 0)], "PUSH_I 1 needs the tape 1"),
        ([op(POP_H, 1, 0)], "POP_H 1 needs the state 1 at 0"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 0), op(POP_H, 1, 1)], "POP_H 1 needs the state 1 at 1"),
        ([op(TAPE, 1), op(PUSH_I, 1, 0), op(POP_H, 1, 0)], "POP_H 1 needs the state 1 at 0"),
        ([op(POP_I, 1, 0)], "POP_I 1 needs the tape 1 at 0"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 0), op(POP_I, 1, 0)], "POP_I 1 needs the tape 1 at 0"),
        ([op(RESTORE, 1, 0)], "RESTORE 1 needs the state 1 at 0"),
        ([op(ADVANCE, 1), op(RESTORE, 1)], "RESTORE 1 needs the state 1 at -1"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 0), op(RESTORE, 1, 1)], "RESTORE 1 needs the state 1 at 1"),
        ([op(ADVANCE, 1), op(PUSH_H, 1, 0), op(POP_H, 1, 0), op(RESTORE, 1, 0)], "RESTORE 1 needs"),
        ([op(9, 1)], "expected operations 0 to 7, got 9"),
        ([op(-1, 1)], "expected operations 0 to 7, got -1"),
        ([], "expected 3 steps to be pulled back, got 0"),
        (RUN3, "expected 3 steps to be pulled back, got 1"),
        (
            [op(ADVANCE, 1), op(PUSH_H, 1, 0), op(ADVANCE, 2), op(TAPE, 3), op(BACK, 3), op(RESTORE, 1, 0),
             op(TAPE, 2), op(BACK, 2), op(RESTORE, 0), op(TAPE, 1), op(BACK, 1)],
            "all copies to be freed at the end, 1 units of memory and 0 slots",
        ),
        (
            [op(ADVANCE, 1), op(TAPE, 2), op(PUSH_I, 2, 0), op(TAPE, 3), op(BACK, 3), op(RESTORE, 0),
             op(POP_I, 2, 0)],
            "POP_I 2 needs the state 1 anywhere; held are the states .* and the tapes .2. in memory",
        ),
    ],
)  # fmt: skip
def test_illegal_schedules_are_refused_by_name(rows, complaint):
    schedule = Rows(rows, steps=3, units=2, internal_units=2)
    with pytest.raises(IllegalOperation, match=complaint):
        memory_efficient_bptt(*problem(ALL["tanh"], steps=3), schedule=schedule)


LEGAL = {
    "a state straight after its tape": [
        op(TAPE, 1), op(PUSH_H, 1, 0), op(TAPE, 2), op(PUSH_H, 2, 3), op(TAPE, 3), op(BACK, 3),
        op(RESTORE, 1, 0), op(TAPE, 2), op(BACK, 2), op(POP_H, 2, 3), op(POP_H, 1, 0), op(RESTORE, 0),
        op(TAPE, 1), op(BACK, 1),
    ],
    "the input of the tape in the core": [
        op(TAPE, 1), op(TAPE, 2), op(PUSH_H, 1, 2), op(TAPE, 3), op(BACK, 3), op(RESTORE, 1, 2), op(TAPE, 2),
        op(BACK, 2), op(POP_H, 1, 2), op(RESTORE, 0), op(TAPE, 1), op(BACK, 1),
    ],
    "the state that is there already": [
        op(ADVANCE, 1, last=2), op(PUSH_H, 2, 1), op(RESTORE, 2, 1), op(TAPE, 3), op(PUSH_H, 3, 0),
        op(RESTORE, 3, 0), op(BACK, 3), op(RESTORE, 0), op(POP_H, 3, 0), op(POP_H, 2, 1), op(RESTORE, 0),
        op(TAPE, 1), op(RESTORE, 0), op(ADVANCE, 1), op(TAPE, 2), op(BACK, 2), op(RESTORE, 0), op(TAPE, 1),
        op(BACK, 1),
    ],
    "one state in two places": [
        op(ADVANCE, 1), op(PUSH_H, 1, 0), op(PUSH_H, 1, 3), op(POP_H, 1, 0), op(ADVANCE, 2), op(TAPE, 3),
        op(BACK, 3), op(RESTORE, 1, 3), op(TAPE, 2), op(BACK, 2), op(POP_H, 1, 3), op(RESTORE, 0),
        op(TAPE, 1), op(BACK, 1),
    ],
    "states out of tapes": [
        op(TAPE, 1), op(PUSH_I, 1, 2), op(TAPE, 2), op(PUSH_I, 2, 0), op(TAPE, 3), op(RESTORE, 1, 2),
        op(RESTORE, 2, 0), op(TAPE, 3), op(BACK, 3), op(POP_I, 2, 0), op(BACK, 2), op(POP_I, 1, 2),
        op(BACK, 1),
    ],
}  # fmt: skip


@pytest.mark.parametrize("shares_input", [True, False])
@pytest.mark.parametrize("rows", LEGAL.values(), ids=LEGAL)
@pytest.mark.parametrize("name", ["tanh", "lstm", "attached"])
def test_legal_schedules_that_no_policy_makes(rows, name, shares_input):
    schedule = Rows(rows, steps=3, units=4, internal_units=2, shares_input=shares_input)
    arguments, expected = problem(ALL[name], steps=3), simulate(schedule)
    result = memory_efficient_bptt(*arguments, schedule=schedule)
    assert bits(result) == bits(memory_efficient_bptt(*arguments, strategy="all_tapes"))
    assert (result.counts.cost, result.counts.peak_units) == (expected.cost, expected.peak_units)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(-1, 12), st.integers(1, 4)), max_size=30))
def test_places_know_what_is_free(units, wishes):
    """Against a set of the units that are taken; what does not fit frees what is in its way."""
    places, held = Places(units), {}
    for step, (address, size) in enumerate(wishes):
        wanted = set(range(address, address + size))
        taken = set().union(*(range(one, one + length) for one, length in held.items()))
        free = min(wanted) >= 0 and max(wanted) < units and not wanted & taken
        assert places.has_room(address, size) == free
        if free:
            places.put(address, size, (PUSH_H, step))
            held[address] = size
            assert places.at(address) == (PUSH_H, step)
            assert places.address_of((PUSH_H, step)) == address
        elif address in held:
            places.free(address)
            del held[address]
            assert places.at(address) is None
        assert places.used == sum(held.values()) <= places.peak <= units


def test_a_disk_that_is_not_there_and_rows_that_are_none():
    network, parameters, inputs, targets = problem(ALL["tanh"], steps=3)
    core = network.working_core(*network.check(parameters, inputs, targets))
    core.start(None)
    schedule = Rows(RUN3, steps=3, units=0, disk_slots=2)
    with pytest.raises(IllegalOperation, match=r"it uses the disk, but no slots were made there"):
        Executor(core, schedule, MemorySlots(0, 1)).run()
    schedule = Rows(RUN3, steps=3, units=0)
    schedule.chunks = lambda: iter([np.zeros((2, 4), np.int64)])
    with pytest.raises(IllegalOperation, match=r"int64 rows of 5, got int64 of shape \(2, 4\)"):
        Executor(core, schedule, MemorySlots(0, 1)).run()


def test_units_too_small_for_what_goes_there():
    """Nothing is written over the next unit."""
    network, parameters, inputs, targets = problem(ALL["lstm"], steps=5)
    core = network.working_core(*network.check(parameters, inputs, targets))
    core.start(None)
    schedule = schedule_of("hsm", 5, 2)
    with pytest.raises(IllegalOperation, match=r"PUSH_H 1 needs \d+ bytes, more than its 1 units of 8"):
        Executor(core, schedule, MemorySlots(2, 8)).run()


def changed(rows: list[Operation], data) -> list[Operation]:
    """One thing different: a row left out, doubled, moved, or with another number in it."""
    rows, index = list(rows), data.draw(st.integers(0, len(rows) - 1))
    how = data.draw(st.sampled_from(["drop", "double", "swap", "change"]))
    if how == "drop":
        del rows[index]
    elif how == "double":
        rows.insert(data.draw(st.integers(0, len(rows))), rows[index])
    elif how == "swap":
        other = data.draw(st.integers(0, len(rows) - 1))
        rows[index], rows[other] = rows[other], rows[index]
    else:
        column = data.draw(st.sampled_from(["kind", "step", "last", "address", "level"]))
        value = getattr(rows[index], column) + data.draw(st.sampled_from([-2, -1, 1, 2]))
        rows[index] = rows[index]._replace(**{column: value})
        if column == "step" and rows[index].kind != ADVANCE:
            rows[index] = rows[index]._replace(last=value)
    return rows


@given(st.data(), st.integers(2, 9), st.integers(0, 5), st.sampled_from([*POLICIES, "two levels", "online"]))
def test_a_schedule_gone_wrong_is_refused_or_harmless(data, steps, units, policy):
    """What the simulator takes, the executor takes; what it takes beyond that gives the right bits."""
    if policy == "two levels":
        schedule = TwoLevelSchedule(steps, 1 + units // 2, 2, TransferCosts(disk_write=0.5, disk_read=0.5))
    elif policy == "online":
        schedule = OnlineSchedule(steps, 1 + units)
    else:
        schedule = schedule_of(policy, steps, units)
    rows = Rows.of(schedule)
    for _ in range(data.draw(st.integers(1, 2))):
        rows.rows = changed(rows.rows, data)
    arguments = problem(ALL["lstm"], steps=steps, batch=1)
    try:
        simulate(rows)
        legal = True
    except IllegalSchedule:
        legal = False
    try:
        result = memory_efficient_bptt(*arguments, schedule=rows)
    except IllegalOperation:
        assert not legal
    else:
        reference = memory_efficient_bptt(*arguments, strategy="all_tapes")
        assert bits(result) == bits(reference)
        assert result.counts.peak_units <= rows.units
