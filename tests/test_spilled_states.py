"""HSM with the states that are touched least on a disk."""

import numpy as np
import pytest

from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.models.recurrent.gru import GatedRecurrentUnit
from refsnn.schedules.binomial import hidden_cost
from refsnn.schedules.operations import BACK, DISK, PUSH_H, operations
from refsnn.schedules.simulation import simulate
from refsnn.schedules.spilled_states import SpilledStates


@pytest.mark.parametrize(("memory", "disk"), [(0, 0), (0, 4), (4, 0), (3, 5), (1, 1)])
def test_legal_and_as_cheap_as_with_all_in_memory(memory, disk):
    for steps in (1, 2, 3, 10, 37, 400):
        schedule = SpilledStates(steps, memory, disk)
        counts = simulate(schedule)
        assert counts.cost == schedule.cost == hidden_cost(steps, memory + disk + 1)
        assert counts.peak_units <= memory
        assert counts.peak_disk_slots <= disk
        if steps == 400:
            assert (counts.peak_units, counts.peak_disk_slots) == (memory, disk)


def test_the_disk_is_touched_less_than_memory_in_the_same_slots():
    counts = simulate(SpilledStates(2000, 10, 10))
    pushes = counts.hidden_pushes, counts.disk_pushes
    assert 0 < pushes[1] < pushes[0]
    assert 0 < counts.disk_restores < counts.restores


def test_rows_of_chunks_do_not_keep_old_levels():
    schedule = SpilledStates(3000, 4, 3)
    assert (
        sum(1 for operation in operations(schedule) if operation.kind == BACK and operation.level == DISK)
        == 0
    )
    levels = {operation.address for operation in operations(schedule) if operation.kind == PUSH_H}
    assert levels == {0, 1, 2, 3}


def test_the_gradient_has_the_same_bits(tmp_path):
    network, rng = GatedRecurrentUnit((3, 6, 2)), np.random.default_rng(0)
    arguments = network, network.initialise(rng), rng.standard_normal((200, 2, 3)), [0, 1]
    spilled = memory_efficient_bptt(*arguments, schedule=SpilledStates(200, 2, 6), spill_folder=tmp_path)
    whole = memory_efficient_bptt(*arguments, strategy="all_tapes")
    assert all(np.array_equal(spilled.gradients[name], whole.gradients[name]) for name in whole.gradients)
    counts = simulate(SpilledStates(200, 2, 6))
    assert spilled.counts.bytes_written == counts.disk_pushes * 2 * 6 * 8
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="spill_folder: expected none with a schedule that keeps all in mem"):
        memory_efficient_bptt(*arguments, strategy="all_tapes", spill_folder=tmp_path)


def test_bad_input():
    with pytest.raises(ValueError, match="disk_slots: expected an integer of at least 0, got -1"):
        SpilledStates(10, 1, -1)
    with pytest.raises(TypeError, match="steps: expected an integer"):
        SpilledStates(1.5, 1, 1)
