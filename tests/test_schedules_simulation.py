"""The simulator refuses each way of being illegal, by name and number, and passes what is legal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    DISK,
    POP_H,
    POP_I,
    PUSH_H,
    PUSH_I,
    RESTORE,
    TAPE,
    Operation,
    operations,
)
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed
from refsnn.schedules.simulation import IllegalSchedule, simulate


@dataclass
class Written:
    """Operations as they are written down."""

    written: list[Operation]
    steps: int
    units: int = 2
    hidden_units: int = 1
    internal_units: int = 2
    shares_input: bool = True
    disk_slots: int = 0

    def chunks(self) -> Iterator[np.ndarray]:
        if self.written:
            yield np.array(self.written, dtype=np.int64)


def op(kind: int, step: int, address: int = -1, last: int | None = None, level: int = 0) -> Operation:
    return Operation(kind, step, step if last is None else last, address, level)


ONE = [op(TAPE, 1), op(BACK, 1)]
# h_1 in a slot
TWO = [op(ADVANCE, 1), op(PUSH_H, 1, 0), op(TAPE, 2), op(BACK, 2), op(POP_H, 1, 0), op(RESTORE, 0), *ONE]
# I_1 in a slot, the next step from the state inside it
THREE = [
    op(TAPE, 1), op(PUSH_I, 1, 0), op(ADVANCE, 2), op(TAPE, 3), op(BACK, 3),
    op(RESTORE, 1, 0), op(TAPE, 2), op(BACK, 2), op(POP_I, 1, 0), op(BACK, 1),
]  # fmt: skip


def replaced(rows: list[Operation], index: int, *others: Operation) -> list[Operation]:
    return [*rows[:index], *others, *rows[index + 1 :]]


def test_legal_ones():
    assert simulate(Written(ONE, 1)).cost == 1
    counts = simulate(Written(TWO, 2))
    assert (counts.cost, counts.advances, counts.tapes, counts.backs, counts.peak_units) == (3, 1, 2, 2, 1)
    assert (counts.restores, counts.hidden_pushes, counts.internal_pushes) == (1, 1, 0)
    assert counts.executions.tolist() == [2, 1]
    counts = simulate(Written(THREE, 3))
    assert (counts.cost, counts.peak_units, counts.max_repetitions) == (4, 2, 2)
    assert (counts.restores, counts.hidden_pushes, counts.internal_pushes) == (1, 0, 1)


def test_the_disk_counts_apart():
    rows = replaced(TWO, 1, op(PUSH_H, 1, 4, level=DISK))
    rows = replaced(rows, 4, op(RESTORE, 1, 4, level=DISK), op(POP_H, 1, 4, level=DISK))
    counts = simulate(Written(rows, 2, units=0, disk_slots=5))
    assert (counts.peak_units, counts.peak_disk_slots, counts.disk_pushes, counts.disk_restores) == (
        0,
        1,
        1,
        1,
    )
    with pytest.raises(IllegalSchedule, match="operation 1, PUSH_H 1 disk@4: there is no such place"):
        simulate(Written(rows, 2, disk_slots=4))


def test_slots_may_be_overwritten_in_any_order():
    """As an online rule does: the older state goes first, and stores come one step late."""
    rows = [
        op(TAPE, 1), op(TAPE, 2), op(PUSH_H, 1, 0), op(TAPE, 3), op(PUSH_H, 2, 1),
        op(POP_H, 1, 0), op(TAPE, 4), op(PUSH_H, 3, 0), op(BACK, 4),
        op(RESTORE, 2, 1), op(TAPE, 3), op(BACK, 3), op(POP_H, 3, 0), op(POP_H, 2, 1),
        op(RESTORE, 0), op(ADVANCE, 1), op(TAPE, 2), op(BACK, 2), op(RESTORE, 0), *ONE,
    ]  # fmt: skip
    assert simulate(Written(rows, 4)).peak_units == 2
    late = replaced(rows, 2, op(RESTORE, 0), op(PUSH_H, 1, 0))
    with pytest.raises(IllegalSchedule, match="operation 3, PUSH_H 1 @0: this state is not in the core"):
        simulate(Written(late, 4))


@pytest.mark.parametrize(
    ("rows", "steps", "complaint"),
    [
        ([op(9, 1)], 1, "operation 0, operation 9: there is no such operation"),
        ([op(-1, 1)], 1, "operation 0, operation -1: there is no such operation"),
        ([op(TAPE, 0)], 1, r"operation 0, TAPE 0: its step is not one of 1\.\.T"),
        ([op(TAPE, 2)], 1, r"operation 0, TAPE 2: its step is not one of 1\.\.T"),
        ([op(ADVANCE, 1, last=3)], 2, r"operation 0, ADVANCE 1\.\.3: its step is not"),
        ([op(TAPE, 1, last=2)], 2, r"operation 0, TAPE 1\.\.2: its step is not"),
        ([op(TAPE, 1, 0)], 1, "operation 0, TAPE 1 @0: it has no place"),
        ([op(TAPE, 1, level=DISK)], 1, "operation 0, TAPE 1: it has no place"),
        ([op(TAPE, 2)], 2, "operation 0, TAPE 2: it starts from another state than the working one"),
        ([op(ADVANCE, 2)], 2, "operation 0, ADVANCE 2: it starts from another state"),
        ([op(TAPE, 1), *ONE], 1, "operation 1, TAPE 1: it starts from another state"),
        ([op(BACK, 1)], 1, "operation 0, BACK 1: this tape is not in the core, which holds none"),
        ([op(TAPE, 1), op(BACK, 1)], 2, "operation 1, BACK 1: the next step to be pulled back is 2"),
        ([*ONE, op(BACK, 1)], 1, "operation 2, BACK 1: the next step to be pulled back is 0"),
        ([op(TAPE, 1), op(RESTORE, 0), op(BACK, 1)], 1, "operation 2, BACK 1: this tape is not in the core"),
        ([op(ADVANCE, 1), op(BACK, 1)], 1, "operation 1, BACK 1: this tape is not in the core"),
        ([op(TAPE, 1), op(ADVANCE, 2), op(BACK, 2)], 2, "operation 2, BACK 2: this tape is not in the core"),
        (replaced(TWO, 1, op(PUSH_H, 2, 0)), 2, "operation 1, PUSH_H 2 @0: this state is not in the core"),
        (replaced(TWO, 1, op(PUSH_H, 1, 2)), 2, "PUSH_H 1 @2: there is no such place: memory has 2"),
        (replaced(TWO, 1, op(PUSH_H, 1)), 2, "operation 1, PUSH_H 1: there is no such place"),
        (replaced(TWO, 1, op(PUSH_H, 1, 0, level=DISK)), 2, "PUSH_H 1 disk@0: there is no such place"),
        (replaced(TWO, 1, op(PUSH_H, 1, 0, level=2)), 2, "there is no such place"),
        (replaced(THREE, 1, op(PUSH_I, 1, 1)), 3, "operation 1, PUSH_I 1 @1: there is no such place"),
        (replaced(THREE, 1, op(PUSH_I, 2, 0)), 3, "PUSH_I 2 @0: .* which holds that of step 1"),
        (replaced(THREE, 0, op(ADVANCE, 1)), 3, "operation 1, PUSH_I 1 @0: this tape is not in the core"),
        (replaced(THREE, 2, op(ADVANCE, 2), op(PUSH_H, 2, 0)), 3, "operation 3, PUSH_H 2 @0: the place is"),
        (replaced(THREE, 2, op(ADVANCE, 2), op(PUSH_H, 2, 1)), 3, "operation 3, PUSH_H 2 @1: the place is"),
        (replaced(TWO, 4, op(POP_H, 2, 0)), 2, "operation 4, POP_H 2 @0: nothing, or something else"),
        (replaced(TWO, 4, op(POP_H, 1, 1)), 2, "operation 4, POP_H 1 @1: nothing, or something else"),
        (replaced(TWO, 4, op(POP_I, 1, 0)), 2, "operation 4, POP_I 1 @0: nothing, or something else"),
        (replaced(THREE, 8, op(POP_H, 1, 0)), 3, "operation 8, POP_H 1 @0: nothing, or something else"),
        (replaced(TWO, 5, op(RESTORE, 1, 0)), 2, "operation 5, RESTORE 1 @0: nothing, or something else"),
        (replaced(TWO, 5, op(RESTORE, 0, 0)), 2, "operation 5, RESTORE 0 @0: nothing, or something else"),
        (replaced(THREE, 5, op(RESTORE, 1)), 3, "operation 5, RESTORE 1: nothing, or something else"),
        (replaced(THREE, 5, op(RESTORE, 1, 1)), 3, "operation 5, RESTORE 1 @1: nothing, or something else"),
        (TWO[:-2], 2, r"the end, after 6 operations: steps 1\.\.1 are not pulled back"),
        ([], 3, r"the end, after 0 operations: steps 3\.\.1 are not pulled back"),
        (replaced(TWO, 4), 2, "the end, after 7 operations: 1 units of memory and 0 slots of the disk"),
    ],
)  # fmt: skip
def test_illegal_ones(rows, steps, complaint):
    with pytest.raises(IllegalSchedule, match=complaint):
        simulate(Written(rows, steps))


def test_tapes_stay_in_memory():
    rows = replaced(THREE, 1, op(PUSH_I, 1, 0, level=DISK))
    with pytest.raises(IllegalSchedule, match="PUSH_I 1 disk@0: tapes are pushed to memory only"):
        simulate(Written(rows, 3, disk_slots=3))


# the tape of step 2 alone in a slot: its input h_1 is nowhere else
INNER = [
    op(ADVANCE, 1), op(TAPE, 2), op(PUSH_I, 2, 0), op(TAPE, 3), op(BACK, 3), op(POP_I, 2, 0), op(BACK, 2),
    op(RESTORE, 0), *ONE,
]  # fmt: skip


def test_a_tape_without_its_input_needs_it_held():
    assert simulate(Written(INNER, 3, shares_input=False)).cost == 4
    with pytest.raises(
        IllegalSchedule, match="operation 5, POP_I 2 @0: the tape leaves out h_1, which is held"
    ):
        simulate(Written(INNER, 3))
    held = [INNER[0], op(PUSH_H, 1, 2), *INNER[1:7], op(POP_H, 1, 2), *INNER[7:]]
    assert simulate(Written(held, 3, units=3)).cost == 4
    freed = [*held[:7], op(POP_H, 1, 2), held[7], *held[9:]]
    with pytest.raises(IllegalSchedule, match="operation 8, BACK 2: the tape leaves out h_1"):
        simulate(Written(freed, 3, units=3))
    assert simulate(Written(freed, 3, units=3, shares_input=False)).cost == 4
    restored = [*INNER[:3], op(RESTORE, 0), op(RESTORE, 2, 0), *INNER[3:]]
    assert simulate(Written(restored, 3, shares_input=False)).cost == 4
    with pytest.raises(IllegalSchedule, match="operation 4, RESTORE 2 @0: the tape leaves out h_1"):
        simulate(Written(restored, 3))
    # held inside the tape before it
    chain = [
        op(TAPE, 1), op(PUSH_I, 1, 0), op(TAPE, 2), op(PUSH_I, 2, 2), op(TAPE, 3), op(BACK, 3),
        op(POP_I, 2, 2), op(BACK, 2), op(POP_I, 1, 0), op(BACK, 1),
    ]  # fmt: skip
    assert simulate(Written(chain, 3, units=4)).cost == 3


def test_chunks_that_are_none():
    class Floats(Written):
        def chunks(self):
            yield np.zeros((3, 5))

    with pytest.raises(
        IllegalSchedule, match=r"chunk: expected int64 rows of 5, got float64 of shape \(3, 5\)"
    ):
        simulate(Floats([], 1))


POLICIES = (HiddenStates(), InternalStates(), Mixed(mixed_tables(40, 12, 1, 3)))


@given(steps=st.integers(4, 40), units=st.integers(3, 12), which=st.sampled_from(POLICIES), data=st.data())
def test_no_operation_can_be_left_out_of_a_schedule(steps, units, which, data):
    """Each one missing is seen, as something illegal: pops by what is left in the end or in the way."""
    schedule = PolicySchedule(which, steps, units)
    rows = list(operations(schedule))
    sizes = {"hidden_units": which.hidden_units, "internal_units": which.internal_units}
    options = {"units": units, "shares_input": which.shares_input, **sizes}
    assert simulate(Written(rows, steps, **options)).cost == schedule.cost
    index = data.draw(st.integers(0, len(rows) - 1))
    with pytest.raises(IllegalSchedule):
        simulate(Written(replaced(rows, index), steps, **options))


def test_without_its_pops_a_schedule_needs_more_than_it_may():
    schedule = PolicySchedule(HiddenStates(), 12, 2)
    address, rows = 0, []
    where = {}
    for operation in operations(schedule):  # each push to a fresh place
        if operation.kind == PUSH_H:
            where[operation.step] = address
            operation, address = operation._replace(address=address), address + 1
        elif operation.kind == RESTORE and operation.step:
            operation = operation._replace(address=where[operation.step])
        if operation.kind != POP_H:
            rows.append(operation)
    assert address > 2
    with pytest.raises(IllegalSchedule, match=r"PUSH_H .*: there is no such place: memory has 2 units"):
        simulate(Written(rows, 12))
    with pytest.raises(
        IllegalSchedule, match=f"{address} units of memory and 0 slots of the disk are not freed"
    ):
        simulate(Written(rows, 12, units=address))
