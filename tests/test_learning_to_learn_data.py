"""Families of functions, episodes and baselines against loops."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import Family, Sines, TwoLayerNetworks, baselines, draw_episodes

# ---- families ---------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@given(
    seed=st.integers(0, 2**32 - 1),
    hidden=st.integers(1, 12),
    weight_range=st.floats(0.1, 5),
    input_range=st.floats(0.1, 5),
)
def test_networks_compute_what_their_weights_say(seed, hidden, weight_range, input_range):
    family = TwoLayerNetworks(hidden, weight_range, input_range)
    points, targets = family.draw(np.random.default_rng(seed), 3, 4)
    rng = np.random.default_rng(seed)
    networks = rng.uniform(-weight_range, weight_range, (3, hidden, 4))
    np.testing.assert_array_equal(points, rng.uniform(-input_range, input_range, (4, 3, 2)))
    for task in range(3):
        for example in range(4):
            x, y = points[example, task]
            total = 0.0
            for first, second, bias, outgoing in networks[task]:
                total += outgoing * sigmoid(first * x + second * y + bias)
            assert targets[example, task] == pytest.approx(sigmoid(total), rel=1e-12)


@given(seed=st.integers(0, 2**32 - 1), low=st.floats(0, 1), spread=st.floats(0.1, 4))
def test_sines_compute_what_their_numbers_say(seed, low, spread):
    family = Sines((low, low + spread), (-1.0, 2.0), input_range=3.0)
    points, targets = family.draw(np.random.default_rng(seed), 3, 4)
    rng = np.random.default_rng(seed)
    amplitude, phase = rng.uniform(low, low + spread, 3), rng.uniform(-1.0, 2.0, 3)
    np.testing.assert_array_equal(points, rng.uniform(-3, 3, (4, 3, 1)))
    for task in range(3):
        for example in range(4):
            expected = amplitude[task] * math.sin(points[example, task, 0] + phase[task])
            assert targets[example, task] == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("family", [TwoLayerNetworks(), TwoLayerNetworks(4, 3.0, 2.0), Sines()])
def test_points_and_targets_keep_their_ranges_and_fill_them(family):
    assert isinstance(family, Family)
    points, targets = family.draw(np.random.default_rng(1), 500, 40)
    assert points.shape == (40, 500, family.dimensions)
    for values, (low, high) in ((points, family.point_range), (targets, family.target_range)):
        assert low <= values.min() < values.max() <= high
    low, high = family.point_range
    for coordinate in np.moveaxis(points, 2, 0):
        counts = np.histogram(coordinate, 10, (low, high))[0] / coordinate.size
        np.testing.assert_allclose(counts, 0.1, atol=0.01)
    assert targets.max(axis=0).std() > 0.01  # tasks differ


def test_the_default_networks_are_nearly_linear():
    """Their known errors: a constant 0.041, each task's mean 0.0016, each task's plane 0.000012."""
    found = baselines(*TwoLayerNetworks().draw(np.random.default_rng(2), 5000, 100))
    assert found.family_constant == pytest.approx(0.0412, abs=0.002)
    assert found.task_mean == pytest.approx(0.0016, abs=0.0001)
    assert found.task_linear == pytest.approx(1.2e-5, abs=1e-6)
    wider = baselines(*TwoLayerNetworks(10, 2.0, 3.0).draw(np.random.default_rng(2), 500, 100))
    assert wider.task_linear > 100 * found.task_linear


# ---- episodes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A family whose draw is given: two inputs in [0, 2], targets in [-1, 3]."""

    dimensions: int = 2
    point_range: tuple[float, float] = (0.0, 2.0)
    target_range: tuple[float, float] = (-1.0, 3.0)

    def draw(self, rng, tasks, examples):
        mine = np.random.default_rng(11)
        return mine.uniform(0, 2, (examples, tasks, 2)), mine.uniform(-1, 3, (examples, tasks))


@pytest.mark.parametrize("time_step", [1.0, 0.5])
def test_inputs_code_the_point_and_the_target_before(time_step):
    examples, tasks, steps, neurons, width, highest = 4, 3, 5000, 6, 1.5, 0.2
    episodes = draw_episodes(
        np.random.default_rng(3), Known(), tasks, examples, steps, neurons, width, highest, time_step
    )
    points, targets = Known().draw(None, tasks, examples)
    np.testing.assert_array_equal(episodes.points, points)
    np.testing.assert_array_equal(episodes.targets, targets)
    assert episodes.inputs.steps == examples * steps
    assert episodes.inputs.width == 3 * neurons
    # a spike is 1 / time_step, so that its mean is the rate
    found = episodes.inputs.as_array().reshape(examples, steps, tasks, 3 * neurons).mean(axis=1)
    checked = 0
    for example in range(examples):
        for task in range(tasks):
            previous = 0.0 if example == 0 else targets[example - 1, task]
            coded = [*points[example, task], previous]
            for value, (low, high), group in zip(coded, [(0, 2), (0, 2), (-1, 3)], range(3), strict=True):
                spacing = (high - low) / (neurons - 1)
                for neuron in range(neurons):
                    centre = low + neuron * spacing
                    rate = highest * math.exp(-((centre - value) ** 2) / (2 * (width * spacing) ** 2))
                    spread = math.sqrt(rate * (1 - rate * time_step) / time_step / steps)
                    cell = found[example, task, group * neurons + neuron]
                    assert abs(cell - rate) < 5.5 * spread + 1e-3 / steps
                    checked += rate > 0.01
    assert checked > 100


def test_the_size_of_the_paper():
    episodes = draw_episodes(np.random.default_rng(4), TwoLayerNetworks(), tasks=2)
    assert (episodes.inputs.steps, episodes.inputs.batch, episodes.inputs.width) == (10_000, 2, 300)
    assert episodes.steps_per_example == 20
    sines = draw_episodes(np.random.default_rng(4), Sines(), tasks=2, examples=3, neurons=5)
    assert sines.inputs.width == 10
    # one spacing wide, a value makes about sqrt(2 pi) 0.2 spikes a ms
    assert len(episodes.inputs.values) / 20_000 / 3 == pytest.approx(0.2 * math.sqrt(2 * math.pi), rel=0.05)


def test_a_seed_gives_the_same_episodes_in_both_dtypes():
    def draw(seed, dtype):
        return draw_episodes(np.random.default_rng(seed), TwoLayerNetworks(), 3, 4, neurons=10, dtype=dtype)

    wide, narrow, other = draw(5, np.float64), draw(5, np.float32), draw(6, np.float64)
    assert {narrow.inputs.values.dtype, narrow.points.dtype, narrow.targets.dtype} == {np.dtype(np.float32)}
    assert wide.targets.dtype == np.float64
    np.testing.assert_array_equal(wide.inputs.as_array(), narrow.inputs.as_array())
    np.testing.assert_array_equal(wide.targets.astype(np.float32), narrow.targets)
    assert (wide.targets != other.targets).all()


# ---- baselines --------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), dimensions=st.integers(1, 3), examples=st.integers(5, 20))
def test_baselines_are_those_of_the_loops(seed, dimensions, examples):
    rng = np.random.default_rng(seed)
    tasks = 4
    points, targets = rng.normal(size=(examples, tasks, dimensions)), rng.normal(size=(examples, tasks))
    targets += 3 * points[:, :, 0] + rng.normal(size=tasks)
    found = baselines(points, targets)
    constant = sum(targets.ravel().tolist()) / targets.size
    errors = np.zeros(3)
    for task in range(tasks):
        mean = sum(targets[:, task].tolist()) / examples
        columns = np.column_stack([np.ones(examples), points[:, task]])
        plane = np.linalg.solve(columns.T @ columns, columns.T @ targets[:, task])  # normal equations
        for example in range(examples):
            target = targets[example, task]
            errors += [
                (target - constant) ** 2,
                (target - mean) ** 2,
                (target - columns[example] @ plane) ** 2,
            ]
    errors /= examples * tasks
    np.testing.assert_allclose(
        [found.family_constant, found.task_mean, found.task_linear], errors, rtol=1e-6, atol=1e-9
    )
    assert found.task_linear < found.task_mean < found.family_constant


def test_short_episodes_are_fitted_exactly():
    rng = np.random.default_rng(7)
    assert baselines(rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5))).task_linear < 1e-20
    assert baselines(rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5))).task_mean > 0.1


# ---- refusals ---------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
FAMILY = TwoLayerNetworks()


@dataclass(frozen=True)
class Crooked(Known):
    """A family that gives one point too few."""

    def draw(self, rng, tasks, examples):
        points, targets = super().draw(rng, tasks, examples)
        return points[1:], targets


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: TwoLayerNetworks(0), ValueError, "hidden: expected"),
        (lambda: TwoLayerNetworks(2.5), TypeError, "hidden: expected"),
        (lambda: TwoLayerNetworks(weight_range=0), ValueError, "weight_range: expected"),
        (lambda: TwoLayerNetworks(input_range=-1.0), ValueError, "input_range: expected"),
        (lambda: Sines(5.0), TypeError, "amplitude_range: expected a pair"),
        (lambda: Sines((-0.1, 1.0)), ValueError, r"amplitude_range\[0\]: expected"),
        (lambda: Sines((1.0, 1.0)), ValueError, r"amplitude_range\[1\]: expected"),
        (lambda: Sines(phase_range=(1.0, 0.0)), ValueError, r"phase_range\[1\]: expected"),
        (lambda: Sines(input_range=np.inf), ValueError, "input_range: expected"),
        (lambda: draw_episodes(0, FAMILY), TypeError, "rng: expected"),
        (lambda: draw_episodes(RNG, "sines"), TypeError, "family: expected a Family"),
        (lambda: draw_episodes(RNG, Sines), TypeError, "family: expected a Family"),
        (lambda: draw_episodes(RNG, FAMILY, 0), ValueError, "tasks: expected"),
        (lambda: draw_episodes(RNG, FAMILY, 2, 1.5), TypeError, "examples: expected"),
        (lambda: draw_episodes(RNG, FAMILY, 2, 2, 0), ValueError, "steps_per_example: expected"),
        (lambda: draw_episodes(RNG, FAMILY, 2, 2, neurons=1), ValueError, "neurons: expected"),
        (lambda: draw_episodes(RNG, FAMILY, 2, 2, width=0.0), ValueError, "width: expected"),
        (lambda: draw_episodes(RNG, FAMILY, 2, 2, width="1"), TypeError, "width: expected"),
        (lambda: draw_episodes(RNG, FAMILY, 2, 2, highest_rate=1.5), ValueError, "highest_rate: expected"),
        (
            lambda: draw_episodes(RNG, FAMILY, 2, 2, highest_rate=0.2, time_step=10.0),
            ValueError,
            r"highest_rate: expected .* \[0, 0.1\]",
        ),
        (lambda: draw_episodes(RNG, FAMILY, 2, 2, time_step=0.0), ValueError, "time_step: expected"),
        (lambda: draw_episodes(RNG, FAMILY, 2, 2, dtype=int), TypeError, "dtype: expected"),
        (lambda: draw_episodes(RNG, Crooked(), 2, 2), ValueError, "points of the family: expected shape"),
        (lambda: baselines(np.zeros((2, 3)), np.zeros((2, 3))), ValueError, "points: expected shape"),
        (lambda: baselines(np.zeros((2, 3, 1)), np.zeros((3, 2))), ValueError, "targets: expected shape"),
        (lambda: baselines(np.zeros((2, 3, 1), int), np.zeros((2, 3))), TypeError, "points: expected"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
