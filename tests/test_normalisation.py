"""Batch normalisation: in time, in evaluation, in the rate pass and of modes; derivatives by complex step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.models.operators.normalisation import (
    BatchNormalisation,
    normalised,
    normalised_vjp,
    scaled,
    scaled_vjp,
    statistics,
    updated_running,
)
from refsnn.models.operators.rate_normalisation import (
    exact_rate,
    exact_rate_vjp,
    normalised_modes,
    normalised_modes_vjp,
    rate_statistics,
    rate_vjp,
    scaled_modes_vjp,
)

SEEDS = st.integers(0, 2**32 - 1)
STEP = 1e-30
EPSILON = 1e-2  # large enough that a misplaced one shows


def currents(seed, steps=None, dtype=np.float64):
    """Currents of a dense or a convolutional layer, with channels of different mean and variance."""
    rng = np.random.default_rng(seed)
    channels, samples = (int(n) for n in rng.integers(2, 5, size=2))
    space = ((), (2, 3), (1, 1))[seed % 3]
    like = (channels, *(1,) * len(space))
    shape = (samples, channels, *space) if steps is None else (steps, samples, channels, *space)
    values = rng.normal(size=shape) * rng.uniform(0.3, 2, like) + rng.normal(size=like)
    gain, bias = rng.normal(size=(2, channels)) + 0.5
    return rng, values.astype(dtype), gain.astype(dtype), bias.astype(dtype)


def on_channels(array):
    """(N, C, ...) with the channels' axis last, and all others in one."""
    return np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


def complex_step(function, array):
    """Gradient of a scalar function, entry by entry."""
    gradient = np.empty(array.shape)
    for entry in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[entry] += 1j * STEP
        gradient[entry] = function(moved).imag / STEP
    return gradient


def assert_close(found, expected, name=""):
    size = np.abs(expected).max()
    assert found.shape == expected.shape, name
    assert size > 1e-6, f"{name} is dead"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1, size), err_msg=name)


# ---------------------------------------------------------------- in time


@given(seed=SEEDS)
def test_normalised_is_the_definition(seed):
    _, current, gain, bias = currents(seed)
    outputs, record = BatchNormalisation(epsilon=EPSILON).forward({"gamma": gain, "beta": bias}, current)
    for c in range(current.shape[1]):
        entries = current[:, c]
        expected = gain[c] * (entries - entries.mean()) / np.sqrt(entries.var() + EPSILON) + bias[c]
        np.testing.assert_allclose(outputs[:, c], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(record.variance[c], entries.var(), rtol=1e-12)
    assert outputs.shape == current.shape


@given(seed=SEEDS)
def test_training_gradients_by_complex_step(seed):
    rng, current, gain, bias = currents(seed)
    operator, adjoint = BatchNormalisation(epsilon=EPSILON), rng.normal(size=current.shape)

    def loss(current=current, gain=gain, bias=bias):
        return (adjoint * operator.forward({"gamma": gain, "beta": bias}, current)[0]).sum()

    weights = {"gamma": gain, "beta": bias}
    by_current, gradients = operator.vjp(weights, operator.forward(weights, current)[1], adjoint)
    assert_close(by_current, complex_step(lambda moved: loss(current=moved), current), "current")
    assert_close(gradients["gamma"], complex_step(lambda moved: loss(gain=moved), gain), "gamma")
    assert_close(gradients["beta"], complex_step(lambda moved: loss(bias=moved), bias), "beta")


@given(seed=SEEDS)
def test_joint_statistics_are_those_of_all_steps(seed):
    """BN-M is the same function with steps and samples in one axis; step by step it is another."""
    _, current, gain, bias = currents(seed, steps=3)
    weights, operator = {"gamma": gain, "beta": bias}, BatchNormalisation()
    together = current.reshape(-1, *current.shape[2:])
    joint, record = operator.forward(weights, together)
    np.testing.assert_allclose(record.mean, current.reshape(-1, *current.shape[2:]).mean(
        axis=(0, *range(2, together.ndim))), rtol=1e-12)  # fmt: skip
    alone = np.concatenate([operator.forward(weights, step)[0] for step in current])
    assert np.abs(joint - alone).max() > 1e-3


@given(seed=SEEDS)
def test_evaluation_by_complex_step(seed):
    rng, current, gain, bias = currents(seed)
    operator, adjoint = BatchNormalisation(epsilon=EPSILON), rng.normal(size=current.shape)
    running = {"mean": rng.normal(size=len(gain)), "variance": rng.uniform(0.5, 2, len(gain))}

    def loss(current=current, gain=gain, bias=bias):
        return (adjoint * operator.evaluate({"gamma": gain, "beta": bias}, running, current)[0]).sum()

    weights = {"gamma": gain, "beta": bias}
    outputs, record = operator.evaluate(weights, running, current)
    expected = gain * (on_channels(current) - running["mean"]) / np.sqrt(running["variance"] + EPSILON) + bias
    np.testing.assert_allclose(on_channels(outputs), expected, rtol=0, atol=1e-12)
    by_current, gradients = operator.evaluate_vjp(weights, record, adjoint)
    assert_close(by_current, complex_step(lambda moved: loss(current=moved), current), "current")
    assert_close(gradients["gamma"], complex_step(lambda moved: loss(gain=moved), gain), "gamma")
    assert_close(gradients["beta"], complex_step(lambda moved: loss(bias=moved), bias), "beta")


@given(seed=SEEDS)
def test_the_same_map_takes_tangents(seed):
    rng, current, _, _ = currents(seed)
    mean, variance = statistics(current)
    normal = normalised(current, mean, variance + EPSILON)
    tangent = rng.normal(size=current.shape)
    moved = current + 1j * STEP * tangent
    mean, moved_variance = statistics(moved)
    expected = normalised(moved, mean, moved_variance + EPSILON).imag / STEP
    assert_close(normalised_vjp(tangent, normal, variance + EPSILON), expected)


def test_running_statistics_are_unbiased_and_start_at_0_and_1():
    _, current, _, _ = currents(4)
    operator = BatchNormalisation(momentum=0.25)
    start = operator.initial_running(current.shape[1:], current.dtype)
    np.testing.assert_array_equal(start["mean"], 0)
    np.testing.assert_array_equal(start["variance"], 1)
    shapes = operator.parameter_shapes(current.shape[1:])
    weights = {"gamma": np.ones(shapes["gamma"]), "beta": np.zeros(shapes["beta"])}
    once = operator.updated(start, operator.forward(weights, current)[1])
    twice = operator.updated(once, operator.forward(weights, 2 * current)[1])
    flat = on_channels(current)
    np.testing.assert_allclose(once["mean"], 0.25 * flat.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(once["variance"], 0.75 + 0.25 * flat.var(axis=0, ddof=1), rtol=1e-13)
    np.testing.assert_allclose(
        twice["variance"], 0.75 * once["variance"] + flat.var(axis=0, ddof=1), rtol=1e-13
    )
    assert once is not start
    np.testing.assert_array_equal(start["mean"], 0)


def test_one_entry_has_no_variance():
    operator = BatchNormalisation()
    weights = {"gamma": np.ones(3), "beta": np.zeros(3)}
    for alone in (np.ones((1, 3)), np.ones((1, 3, 1, 1))):
        with pytest.raises(ValueError, match=r"inputs: expected at least 2 entries a channel .* got shape"):
            operator.forward(weights, alone)
        operator.evaluate(weights, operator.initial_running((3,), alone.dtype), alone)
    operator.forward(weights, np.ones((1, 3, 1, 2)))
    running = operator.initial_running((3,), np.dtype(float))
    with pytest.raises(ValueError, match="entries: expected an integer of at least 2, got 1"):
        updated_running(running, np.ones(3), np.ones(3), 1, 0.1)


# ---------------------------------------------------------------- the rate pass


@pytest.mark.parametrize("option", ["joint", "mean", "last"])
@pytest.mark.parametrize("seed", range(6))
def test_rate_statistics(option, seed):
    _, current, _, _ = currents(seed, steps=4)
    steps = [on_channels(step) for step in current]
    together = np.concatenate(steps)
    expected = {
        "joint": (together.mean(axis=0), together.var(axis=0) + EPSILON),
        "mean": (
            np.mean([step.mean(axis=0) for step in steps], axis=0),
            1 / np.mean([1 / (step.var(axis=0) + EPSILON) for step in steps], axis=0),
        ),
        "last": (steps[-1].mean(axis=0), steps[-1].var(axis=0) + 2 * EPSILON),
    }[option]
    blocks = current.reshape(1, -1, *current.shape[2:]) if option == "joint" else current
    means, variances = (np.array(arrays) for arrays in zip(*(statistics(b) for b in blocks), strict=True))
    found = rate_statistics(option, means, variances, EPSILON)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def value_replaced(average, mean, spread, nominal):
    """c^ with each statistic at its recorded value, moving as that of c moves from `nominal`."""
    moved_mean, moved_variance = statistics(average)
    nominal_mean, nominal_variance = statistics(nominal)
    return normalised(average, mean + moved_mean - nominal_mean, spread + moved_variance - nominal_variance)


@pytest.mark.parametrize("option", ["joint", "mean", "last"])
@given(seed=SEEDS)
def test_rate_gradients_by_value_replacement(option, seed):
    rng, current, gain, bias = currents(seed, steps=3)
    average = current.mean(axis=0) + 0.1 * rng.normal(
        size=current.shape[1:]
    )  # as behind a max pool: c is not E[I]
    blocks = current.reshape(1, -1, *current.shape[2:]) if option == "joint" else current
    means, variances = (np.array(arrays) for arrays in zip(*(statistics(b) for b in blocks), strict=True))
    mean, spread = rate_statistics(option, means, variances, EPSILON)
    normal, adjoint = normalised(average, mean, spread), rng.normal(size=average.shape)

    def loss(average_=average, gain=gain, bias=bias):
        return (adjoint * scaled(value_replaced(average_, mean, spread, average), gain, bias)).sum()

    by_normal, by_gain, by_bias = scaled_vjp(adjoint, normal, gain)
    found = rate_vjp(by_normal, average, normal, spread, EPSILON)
    assert_close(found, complex_step(lambda moved: loss(average_=moved), average), "average")
    assert_close(by_gain, complex_step(lambda moved: loss(gain=moved), gain), "gamma")
    assert_close(by_bias, complex_step(lambda moved: loss(bias=moved), bias), "beta")


def test_joint_rate_values_are_the_average_of_the_normalised_currents():
    """And with the variance of c, which is smaller, they are not."""
    _, current, _, _ = currents(5, steps=4)
    together = current.reshape(-1, *current.shape[2:])
    mean, variance = statistics(together)
    mean, spread = rate_statistics("joint", mean[None], variance[None], EPSILON)
    average = current.mean(axis=0)
    expected = normalised(together, mean, spread).reshape(current.shape).mean(axis=0)
    np.testing.assert_allclose(normalised(average, mean, spread), expected, rtol=0, atol=1e-13)
    own = statistics(average)[1]
    assert (own < variance).all()
    assert np.abs(normalised(average, mean, own + EPSILON) - expected).max() > 1e-2


def test_with_one_step_the_rate_pass_is_the_batch_s():
    rng, current, _, _ = currents(6)
    mean, variance = statistics(current)
    adjoint = rng.normal(size=current.shape)
    for option in ("joint", "mean"):
        rate_mean, spread = rate_statistics(option, mean[None], variance[None], EPSILON)
        normal = normalised(current, rate_mean, spread)
        found = rate_vjp(adjoint, current, normal, spread, EPSILON)
        np.testing.assert_allclose(found, normalised_vjp(adjoint, normal, variance + EPSILON), atol=1e-13)


@given(seed=SEEDS)
def test_the_variance_path_is_cut_where_there_was_no_variance(seed):
    """V_r - eps <= 0 in one channel only: its gradient is that of a constant V_r."""
    rng, average, _, _ = currents(seed)
    mean, variance = statistics(average)
    spread = variance + EPSILON
    spread[0] = EPSILON
    normal, adjoint = normalised(average, mean, spread), rng.normal(size=average.shape)
    found = rate_vjp(adjoint, average, normal, spread, EPSILON)

    def loss(moved):
        constant = np.concatenate([[spread[0] - variance[0]], spread[1:] - variance[1:]])
        moved_mean, moved_variance = statistics(moved)
        moved_spread = moved_variance + constant
        moved_spread[0] = spread[0]
        return (adjoint * normalised(moved, moved_mean, moved_spread)).sum()

    assert_close(found, complex_step(loss, average))
    uncut = rate_vjp(adjoint, average, normal, spread, EPSILON / 2)
    assert np.abs(uncut[:, 0] - found[:, 0]).max() > 1e-6
    np.testing.assert_array_equal(uncut[:, 1:], found[:, 1:])


@given(seed=SEEDS)
def test_exact_rate_by_a_shift_of_all_steps(seed):
    rng, current, gain, bias = currents(seed, steps=3)
    adjoint = rng.normal(size=current.shape[1:])

    def normals(current):
        moved = []
        for step in current:
            mean, variance = statistics(step)
            moved.append(normalised(step, mean, variance + EPSILON))
        return np.array(moved)

    def loss(shift=0.0, gain=gain, bias=bias):
        return (adjoint * scaled(exact_rate(normals(current + shift)), gain, bias)).sum()

    spreads = np.array([statistics(step)[1] + EPSILON for step in current])
    by_normal, by_gain, by_bias = scaled_vjp(adjoint, exact_rate(normals(current)), gain)
    found = exact_rate_vjp(by_normal, normals(current), spreads)
    assert_close(found, complex_step(lambda moved: loss(shift=moved), np.zeros(adjoint.shape)), "average")
    assert_close(by_gain, complex_step(lambda moved: loss(gain=moved), gain), "gamma")
    assert_close(by_bias, complex_step(lambda moved: loss(bias=moved), bias), "beta")


# ---------------------------------------------------------------- temporal modes


@pytest.mark.parametrize("kept", [1, 2, 5])
@given(seed=SEEDS)
def test_modes_are_projections_of_the_joint_normalisation(kept, seed):
    """An error of K modes, spread over time, pulled back jointly by complex step, and projected again."""
    steps = 5
    rng, current, gain, bias = currents(seed, steps=steps)
    basis = np.linalg.qr(rng.normal(size=(steps, steps)))[0][:kept]
    constants, operator = basis.sum(axis=1), BatchNormalisation(epsilon=EPSILON)
    adjoint = rng.normal(size=(kept, *current.shape[1:]))
    over_time = np.tensordot(basis, adjoint, (0, 0)).reshape(-1, *current.shape[2:])
    together = current.reshape(-1, *current.shape[2:])

    def loss(current=together, gain=gain, bias=bias):
        return (over_time * operator.forward({"gamma": gain, "beta": bias}, current)[0]).sum()

    _, record = operator.forward({"gamma": gain, "beta": bias}, together)
    project = lambda series: np.tensordot(basis, series.reshape(current.shape), (1, 0))  # noqa: E731
    normal_modes = normalised_modes(project(together), constants, record.mean, record.spread)
    assert_close(normal_modes, project(record.normal), "modes")

    by_normal, by_gain, by_bias = scaled_modes_vjp(adjoint, normal_modes, constants, gain)
    found = normalised_modes_vjp(by_normal, normal_modes, constants, record.spread, steps)
    by_current = complex_step(lambda moved: loss(current=moved), together)
    assert_close(found, project(by_current), "current")
    assert_close(by_gain, complex_step(lambda moved: loss(gain=moved), gain), "gamma")
    assert_close(by_bias, complex_step(lambda moved: loss(bias=moved), bias), "beta")


def test_one_constant_mode_is_the_joint_rate_pass():
    rng, current, _, _ = currents(7, steps=4)
    together = current.reshape(-1, *current.shape[2:])
    mean, variance = statistics(together)
    spread, average = variance + EPSILON, current.mean(axis=0)
    adjoint, root = rng.normal(size=average.shape), 2.0  # sqrt(T)
    normal = normalised(average, mean, spread)
    rate = rate_vjp(adjoint, average, normal, spread, EPSILON)
    mode = normalised_modes_vjp(adjoint[None], root * normal[None], np.array([root]), spread, 4)
    np.testing.assert_allclose(mode[0], rate, rtol=0, atol=1e-13)


# ---------------------------------------------------------------- dtypes and the door


def test_float32_stays_float32():
    rng, current, gain, bias = currents(5, steps=3, dtype=np.float32)
    operator, weights = BatchNormalisation(), {"gamma": gain, "beta": bias}
    together = current.reshape(-1, *current.shape[2:])
    adjoint = rng.normal(size=together.shape).astype(np.float32)
    outputs, record = operator.forward(weights, together)
    running = operator.updated(operator.initial_running(current.shape[2:], current.dtype), record)
    evaluated, evaluation = operator.evaluate(weights, running, together)
    back, gradients = operator.vjp(weights, record, adjoint)
    means, variances = (np.array(a) for a in zip(*(statistics(step) for step in current), strict=True))
    rates = [rate_statistics(option, means, variances, 1e-5) for option in ("mean", "last")]
    normals = record.normal.reshape(current.shape)
    modes = normals[:2], np.ones(2, np.float32)
    results = [
        outputs, *record, *running.values(), evaluated, back, *gradients.values(), *rates[0], *rates[1],
        operator.evaluate_vjp(weights, evaluation, adjoint)[0],
        rate_vjp(current[0], current[1], normals[0], record.spread, 1e-5),
        exact_rate_vjp(current[0], normals, variances + np.float32(1e-5)),
        normalised_modes(*modes, record.mean, record.spread),
        normalised_modes_vjp(normals[:2], *modes, record.spread, 3),
        *scaled_modes_vjp(normals[:2], *modes, gain),
    ]  # fmt: skip
    assert [str(result.dtype) for result in results] == ["float32"] * len(results)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BatchNormalisation(momentum=1.5), ValueError, r"momentum: expected .* \[0, 1\]"),
        (lambda: BatchNormalisation(epsilon=0), ValueError, r"epsilon: expected a finite number in \(0"),
        (lambda: BatchNormalisation(epsilon="small"), TypeError, "epsilon: expected a real number"),
        (lambda: BatchNormalisation().output_shape((2, 3)), ValueError, r"inputs: expected \(n,\) or"),
        (lambda: rate_statistics("first", *np.ones((2, 1, 3)), 1e-5), ValueError, "option: expected one of"),
        (lambda: rate_statistics("joint", *np.ones((2, 2, 3)), 1e-5), ValueError, "means: expected one mean"),
    ],
)  # fmt: skip
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
