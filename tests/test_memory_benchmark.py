"""The memory benchmark complains where an aim is missed, and its workload measures what it says."""

import pytest

from validation import memory_benchmark, memory_workload
from validation.memory_workload import CELLS, Cell, Record, measure


def record(**changed):
    """A line that keeps every aim: 5 % of the bytes, a fifth more time where the steps predict a third."""
    line = {
        "cell": "LSTM", "strategy": "msm", "share": 0.05, "steps": 1000, "cost": 2000, "planned": 5000,
        "scratch": 0, "table": 0, "traced": 5000, "resident": 5000, "seconds": 1.2, "plain_seconds": 1.0,
        "forward": 1.0, "backward": 2.0,
    }  # fmt: skip
    return Record(**line | changed)


PLAIN = record(strategy="all_tapes", share=None, cost=1000, planned=100_000, traced=100_000, seconds=1.0)


def test_nothing_to_complain_of():
    assert memory_benchmark.complaints([PLAIN, record()]) == []


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"traced": 5600}, "traced 5600 bytes, planned 5000"),
        ({"seconds": 1.37}, "0.370 more time, predicted 0.333"),
        ({"traced": 5500, "planned": 5500}, "0.9450 saved within 0.34 more time"),
        ({"table": 500}, "0.9450 saved within 0.34 more time"),
    ],
)
def test_each_aim_can_be_missed(changed, complaint):
    assert any(complaint in problem for problem in memory_benchmark.complaints([PLAIN, record(**changed)]))


def test_a_line_measures_its_plan(monkeypatch):
    monkeypatch.setitem(CELLS, "LIF", Cell(CELLS["LIF"].make, (4, 64, 3), 64))
    whole, frugal = measure("LIF", "all_tapes", None, 400, 1), measure("LIF", "ism", 0.1, 400, 1)
    assert whole.cost == 400 < frugal.cost
    assert frugal.planned < 0.1 * whole.planned
    for line in (whole, frugal):
        assert 0.95 * line.planned <= line.traced <= 1.1 * line.planned + 100_000
        assert min(line.seconds, line.plain_seconds, line.forward, line.backward) > 0
    assert memory_workload.resident() > 0
