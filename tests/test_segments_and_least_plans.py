"""Segments with the short one first, and plans for a given overhead."""

import numpy as np
import pytest

from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt, memory_plan
from refsnn.models.builders.dense import dense_network
from refsnn.models.recurrent.lstm import LongShortTermMemory
from refsnn.schedules.baselines import Periodic, Segments
from refsnn.schedules.frames import PolicySchedule, rows_in_words
from refsnn.schedules.operations import operations
from refsnn.schedules.planning import Sizes, least_plan, plan
from refsnn.schedules.simulation import simulate


@pytest.mark.parametrize(("state", "tape"), [(1, 1), (1, 4), (2, 5), (5, 2)])
def test_segments_are_what_they_say(state, tape):
    """Cost and peak as stated, the same rows from both machines, and never dearer than the short one last."""
    for steps in (1, 2, 3, 7, 12, 29):
        for every in (1, 2, 3, 5, steps, steps + 2):
            policy = Segments(state, tape, every=every)
            units = policy.least_units(steps)
            schedule = PolicySchedule(policy, steps, units)
            counts = simulate(schedule)
            assert (counts.cost, counts.peak_units) == (policy.cost(steps, units), units)
            assert counts.tapes == 2 * steps - min(every, steps) - counts.advances
            assert list(operations(schedule)) == list(rows_in_words(policy, steps, units))
            assert counts.cost <= Periodic(state, tape, every=every).cost(steps, units)


def test_auto_uses_its_budget_where_tables_weigh_more_than_states():
    """Between the square root and all tapes each byte buys steps."""
    costs = [plan(20_000, Sizes(1024, 1024), f"{megabytes} MB").cost for megabytes in (1, 5, 15, 19, 20)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 1.03 * 20_000


def test_least_plans_keep_their_overhead_and_save_bytes():
    for steps in (1, 2, 10, 300, 20_000):
        before = None
        for overhead in (0.0, 0.05, 1 / 3, 1.0, 5.0):
            chosen = least_plan(steps, Sizes(2048, 5120), overhead)
            needed = chosen.peak_bytes + chosen.table_bytes
            assert chosen.overhead() <= overhead + 1e-9
            assert chosen.counts.cost == chosen.cost
            assert before is None or needed <= before
            before = needed
    assert least_plan(20_000, Sizes(2048, 5120), 0.1).saved > 0.25  # segments: 2 T - s = 1.3 T
    assert least_plan(1000, Sizes(2**20, 5 * 2**20), 1 / 3).saved > 0.97


def test_a_plan_by_overhead_is_carried_out():
    network, rng = LongShortTermMemory((3, 8, 2)), np.random.default_rng(0)
    arguments = network, network.initialise(rng), rng.standard_normal((60, 2, 3)), [0, 1]
    chosen = memory_plan(*arguments, overhead=0.3)
    result = memory_efficient_bptt(*arguments, schedule=chosen)
    assert result.counts.cost == chosen.cost <= 60 * (1 + 0.3 * 3)
    with pytest.raises(ValueError, match="overhead: expected it alone"):
        memory_plan(*arguments, overhead=0.3, budget="1 MB")


def test_hooks_that_are_none_are_refused_for_graphs_too():
    graph, rng = dense_network((3, 8, 2)), np.random.default_rng(0)
    arguments = graph, graph.initialise(rng, gain=3.0), rng.random((6, 2, 3)), [0, 1]
    with pytest.raises(TypeError, match="hooks: expected a Hooks"):
        memory_efficient_bptt(*arguments, strategy="nothing", hooks=3)
