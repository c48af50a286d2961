"""The compiled machine at full size: chunks, growth, memory and time."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from refsnn.schedules import frames
from refsnn.schedules.baselines import StoreAll, StoreHidden, chen
from refsnn.schedules.binomial import hidden_cost, internal_cost
from refsnn.schedules.frames import PolicySchedule, rows_in_words
from refsnn.schedules.operations import ADVANCE, TAPE, operations
from refsnn.schedules.policies import HiddenStates, InternalStates, revolve
from refsnn.schedules.simulation import simulate


def forward_steps(schedule: PolicySchedule) -> int:
    return sum(
        int((chunk[:, 2] - chunk[:, 1] + 1)[(chunk[:, 0] == ADVANCE) | (chunk[:, 0] == TAPE)].sum())
        for chunk in schedule.chunks()
    )


def test_a_schedule_in_print():
    assert [str(operation) for operation in operations(PolicySchedule(HiddenStates(), 4, 1))] == [
        "ADVANCE 1", "PUSH_H 1 @0", "ADVANCE 2..3", "TAPE 4", "BACK 4", "RESTORE 1 @0", "ADVANCE 2", "TAPE 3",
        "BACK 3", "RESTORE 1 @0", "TAPE 2", "BACK 2", "POP_H 1 @0", "RESTORE 0", "TAPE 1", "BACK 1",
    ]  # fmt: skip


@pytest.mark.parametrize("chunk", [4, 5, 6, 7, 64])
def test_chunks_of_any_size_hold_the_same_rows(chunk, monkeypatch):
    for policy, units in ((HiddenStates(), 3), (InternalStates(tie="max"), 2), (StoreAll(1, 2), 200)):
        schedule = PolicySchedule(policy, 60, units)
        words = np.array(list(rows_in_words(policy, 60, units)))
        monkeypatch.setattr(frames, "CHUNK", chunk)
        chunks = [rows.copy() for rows in schedule.chunks()]
        assert max(map(len, chunks)) <= chunk
        assert np.array_equal(np.concatenate(chunks), words)


def test_two_iterations_do_not_meet():
    schedule = PolicySchedule(HiddenStates(), 5000, 7)
    pairs = zip(schedule.chunks(), schedule.chunks(), strict=True)
    assert all(np.array_equal(first, second) for first, second in pairs)


def test_a_million_steps():
    """Under a second of processor time, for the rows and for the simulation each; exact costs."""
    steps, slots = 10**6, 1412
    for policy, cost in (
        (HiddenStates(), hidden_cost(steps, slots)),
        (revolve(), hidden_cost(steps, slots)),
        (InternalStates(), internal_cost(steps, slots)),
        (InternalStates(tie="max"), internal_cost(steps, slots)),
    ):
        schedule = PolicySchedule(policy, steps, slots - 1)
        forward_steps(PolicySchedule(policy, 2, 1))  # compiled by now
        started = time.process_time()
        assert forward_steps(schedule) == cost
        assert time.process_time() - started < 1
        counts = simulate(schedule)
        assert (counts.cost, counts.tapes, counts.peak_units) == (cost, steps, slots - 1)
    assert cost <= 2 * steps


def test_memory_does_not_grow_with_the_length():
    def peak(policy, steps: int, units: int) -> int:
        tracemalloc.start()
        try:
            for _ in PolicySchedule(policy, steps, units).chunks():
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(HiddenStates(), 10, 2)
    # the least of three: what another thread of the process allocates meanwhile is traced too
    short, long = (min(peak(HiddenStates(), steps, 50) for _ in range(3)) for steps in (10**4, 10**6))
    assert long < 1.1 * short
    # control: a stack with a frame for each step is seen
    assert peak(StoreHidden(), 10**5, 10**5) > 5 * short


def test_deep_stacks_and_huge_numbers():
    assert forward_steps(PolicySchedule(StoreAll(), 10**5, 10**5)) == 10**5
    assert simulate(PolicySchedule(chen(10**5, 3, 7), 10**5, 10**30)).cost == chen(10**5).cost(10**5, 0)
    # only the first chunk of a schedule too long to be run
    for policy in (HiddenStates(), InternalStates()):
        for units in (0, 1, 2, 5, 10**6):
            schedule = PolicySchedule(policy, 2**40, units)
            words = rows_in_words(policy, 2**40, units)
            first = next(schedule.chunks())
            assert [tuple(row) for row in first.tolist()] == [tuple(next(words)) for _ in first]
