"""Another implementation counts the same: checkpoint_schedules, of the adjoint community."""

from __future__ import annotations

import random

import pytest

from refsnn.schedules.binomial import hidden_cost, internal_cost
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.policies import HiddenStates
from refsnn.schedules.simulation import simulate

package = pytest.importorskip(
    "checkpoint_schedules", reason="the package to compare with is not installed; it is in the extra `test`"
)


def forward_steps(schedule) -> int:
    return sum(action.n1 - action.n0 for action in schedule if isinstance(action, package.Forward))


def cases(longest: int, number: int) -> list[tuple[int, int]]:
    """All small ones, and some larger ones drawn with a fixed seed."""
    draw = random.Random(0)
    small = [(t, m) for t in range(1, 16) for m in range(1, 9)]
    return small + [(draw.randint(16, longest), draw.randint(1, 50)) for _ in range(number)]


@pytest.mark.parametrize("trajectory", ["maximum", "revolve"])
def test_multistage(trajectory):
    for t, m in cases(1000, 60):
        # it wants at most as many snapshots as are of use
        slots = min(m, max(t - 1, 1))
        schedule = package.MultistageCheckpointSchedule(t, slots, 0, trajectory=trajectory)
        assert forward_steps(schedule) == hidden_cost(t, slots) == hidden_cost(t, m), (t, m)


def test_revolve_and_our_operations():
    for t, m in cases(120, 20):
        assert forward_steps(package.Revolve(t, m)) == hidden_cost(t, m), (t, m)
        assert simulate(PolicySchedule(HiddenStates(), t, m - 1)).cost == hidden_cost(t, m)


def test_its_mixed_schedule_is_another_machine():
    """Tapes of one unit that no step can start from: between HSM and ISM, and not MSM."""
    for t, slots in ((t, slots) for t in range(3, 40, 4) for slots in (1, 2, 3, 5)):
        if slots > t - 2:
            continue
        theirs = forward_steps(package.MixedCheckpointSchedule(t, slots))
        assert internal_cost(t, slots + 1) <= theirs < hidden_cost(t, slots), (t, slots)


def extra_cost(backward: float) -> int:
    """HRevolve for 60 steps, 3 slots in memory, 3 on a disk; to write or read there takes 5 steps."""
    forward = moved = 0
    for action in package.HRevolve(60, 3, 3, 1, backward, 5, 5):
        if isinstance(action, package.Forward):
            forward += action.n1 - action.n0
            moved += action.write_ics and action.storage == package.StorageType.DISK
        elif isinstance(action, (package.Copy, package.Move)):
            moved += action.from_storage == package.StorageType.DISK
    return forward - 60 + 5 * moved


def test_its_hrevolve_depends_on_what_it_should_not():
    """Version 1.0.4 hands the prices of a step forward and of one back over in the wrong order.

    The optimum is 190 whatever a step back costs, for each is taken once.
    """
    assert {backward: extra_cost(backward) for backward in (1, 2, 0.1)} == {1: 190, 2: 194, 0.1: 497}
