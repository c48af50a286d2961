"""The compiled relaxation of networks with images is the model's step in a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refsnn.algorithms.relaxation import relax, settle
from refsnn.kernels import relaxation_kernels
from refsnn.kernels.cpu import blocks
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convolution import Convolution

SEEDS = st.integers(0, 2**32 - 1)
# each is compiled once for a kind of number: all kinds of units, with few of them
REAL = [(PrototypicalNetwork, "hardsigm", {}), (EnergyBasedNetwork, "sigm", {"output": "linear"})]
ANALYTIC = [(PrototypicalNetwork, "tanh", {"nudge_placement": "inside"})]


def network(rng, families, poolings=("max", "average", "none"), **options):
    """A random network with images: 0 to 2 dense layers over 1 to 3 convolutions."""
    dense, count = int(rng.integers(3)), int(rng.integers(1, 4))
    kernels = []
    for _ in range(count):
        kernel = int(rng.integers(1, 4))
        padding, window = int(rng.integers(kernel)), int(rng.integers(1, 4 if count < 3 else 3))
        kernels.append(Convolution(kernel, padding, str(rng.choice(poolings)), window, crop=True))
    family, activation, more = families[rng.integers(len(families))]
    readout = 3 if dense == 0 or rng.integers(2) else None
    options = {
        "activation": activation,
        "tied": bool(rng.integers(2)),
        "step_size": float(rng.uniform(0.3, 1)),
        "readout": readout,
        "loss_function": str(rng.choice(["mean_squared_error", "cross_entropy"])),
        **more,
        **options,
    }
    if dense == 0 and options["loss_function"] == "mean_squared_error" and rng.integers(2):
        options["readout"] = None  # targets are images
    widths = [int(width) for width in rng.integers(1, 6, size=dense + count + 1)]
    widths[0] += 1  # the softmax of one output is 1, whatever it is
    size = tuple(int(side) for side in rng.integers(33, 37, size=2))
    return family(widths, convolutions=kernels, image=size, **options)


def problem(rng, model, dtype=np.float64):
    """Parameters, inputs, a state with zeros in it, and targets."""
    batch = int(rng.integers(1, 4))
    parameters = model.initialise(rng, dtype, scale=2.0)
    state = {
        name: np.maximum(rng.uniform(-0.4, 0.9, array.shape), 0).astype(dtype)
        for name, array in model.initial_state(parameters, batch).items()
    }
    inputs = rng.uniform(size=(batch, *model.shapes[-1])).astype(dtype)
    targets = rng.uniform(0.1, 1, size=(batch, *model.target_shape))
    if model.loss_function == "cross_entropy":
        targets /= targets.sum(axis=1, keepdims=True)
    return parameters, inputs, state, targets.astype(dtype)


def both(model, case, steps, nudge, **options):
    """The loop over the model's step, and the compiled one; free where nudge is None."""
    parameters, inputs, state, targets = case
    before = {name: array.copy() for name, array in state.items()}
    phase = (None, 0.0) if nudge is None else (targets, nudge)
    drive = model.static_drive(parameters, inputs)
    runs = [
        settle(model, parameters, inputs, state, steps, *phase, drive, backend=backend, **options)
        for backend in ("plain", "cpu")
    ]
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])  # the caller's state stays as it was
    return runs


def tame(plain, start):
    """It moved; and it did not run away, or come near a pole of tanh, where rounding errors multiply."""
    moved = max(np.abs(array - start[name]).max() for name, array in plain.state.items())
    return moved > 0.05 and max(np.abs(array).max() for array in plain.state.values()) < 3


def assert_same(plain, compiled, start, error):
    """Layer by layer, kept states too, after a relaxation that has gone somewhere."""
    assert compiled.steps_taken == plain.steps_taken
    assert len(compiled.kept) == len(plain.kept)
    np.testing.assert_allclose(compiled.residual, plain.residual, rtol=0, atol=4 * error)
    assert tame(plain, start)
    for name, expected in plain.state.items():
        np.testing.assert_allclose(compiled.state[name], expected, rtol=0, atol=error)
        for one, other in zip(compiled.kept, plain.kept, strict=True):
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=error)


@given(seed=SEEDS)
@settings(max_examples=60)
def test_cpu_is_plain(seed):
    rng = np.random.default_rng(seed)
    model = network(rng, REAL)
    case = problem(rng, model)
    nudge = None if rng.integers(3) == 0 else float(rng.uniform(-1, 1))
    plain, compiled = both(model, case, int(rng.integers(1, 8)), nudge, keep_last=int(rng.integers(4)))
    assume(tame(plain, case[2]))
    assert_same(plain, compiled, case[2], 1e-12)


@given(seed=SEEDS)
def test_cpu_is_plain_in_float32(seed):
    rng = np.random.default_rng(seed)
    model = network(rng, REAL[:1])
    case = problem(rng, model, np.float32)
    plain, compiled = both(model, case, int(rng.integers(1, 6)), 0.5, keep_last=1)
    assert {array.dtype.name for array in compiled.state.values()} == {"float32"}
    assume(tame(plain, case[2]))
    assert_same(plain, compiled, case[2], 2e-5)


@given(seed=SEEDS)
def test_cpu_is_plain_with_complex_nudges(seed):
    rng = np.random.default_rng(seed)
    model = network(rng, ANALYTIC, ("average", "none"))
    case = problem(rng, model)
    nudge = 0.1 * complex(*rng.normal(size=2))  # tanh has poles a little further off
    plain, compiled = both(model, case, int(rng.integers(2, 6)), nudge, keep_last=2)
    assert np.abs(plain.state["layer.0"].imag).max() > 1e-6
    assume(tame(plain, case[2]))
    assert_same(plain, compiled, case[2], 1e-12)


def test_a_complex_step_is_the_derivative_of_the_compiled_relaxation():
    rng = np.random.default_rng(3)
    model = network(rng, ANALYTIC, ("average",), tied=False)
    parameters, inputs, _, targets = problem(rng, model)

    def end(nudge):
        return relax(model, parameters, inputs, steps=7, targets=targets, nudge=nudge).state

    slope, step = end(1e-30j), 1e-4
    above, below = end(step), end(-step)
    for name, array in slope.items():
        quotient = (above[name] - below[name]) / (2 * step)
        assert np.abs(quotient).max() > 1e-6
        np.testing.assert_allclose(array.imag / 1e-30, quotient, rtol=1e-5, atol=1e-7)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_all_samples_stop_with_the_last_of_them(seed):
    rng = np.random.default_rng(seed)
    model = network(rng, REAL[:1], ("average", "none"), step_size=0.7)
    parameters, inputs, state, targets = problem(rng, model)
    parameters = {name: 0.2 * array for name, array in parameters.items()}
    inputs, targets = (np.concatenate([array, array]) for array in (inputs, targets))
    settled = settle(
        model, parameters, inputs, {name: np.concatenate([array] * 2) for name, array in state.items()},
        300, None, 0.0, model.static_drive(parameters, inputs), backend="plain",
    ).state  # fmt: skip
    # half of the batch starts where it will stay
    start = {name: np.concatenate([array, settled[name][len(array) :]]) for name, array in state.items()}
    case = parameters, inputs, start, targets
    plain, compiled = both(model, case, 300, None, tolerance=1e-4, keep_last=3)
    assert 1 < plain.steps_taken < 100
    assert len(plain.kept) == 3
    assume(tame(plain, start))
    assert_same(plain, compiled, start, 1e-12)


# ---------------------------------------------------------------- where maxima are equal


def one_step(kernel, pre, post, convolution):
    """s^0 and s^1 after a step of a linear network of two images whose drive is 0."""
    size = pre.shape[-2:]
    model = PrototypicalNetwork(
        (len(kernel), kernel.shape[1], 1),
        activation="hardsigm",
        convolutions=[convolution, Convolution(1, pooling="none")],
        image=size,
    )
    parameters = {name: np.zeros(shape) for name, shape in model.parameter_shapes().items()}
    parameters["coupling.0.1.weight"] = kernel
    state, inputs = {"layer.0": post[None], "layer.1": pre[None]}, np.zeros((1, 1, *size))
    plain, compiled = (
        relax(model, parameters, inputs, state=state, steps=1, backend=backend).state
        for backend in ("plain", "cpu")
    )
    for name, array in plain.items():
        np.testing.assert_array_equal(compiled[name], array)
    return compiled["layer.0"][0], compiled["layer.1"][0]


def test_the_first_of_equal_maxima_is_taken_where_all_is_zero():
    kernel, post = np.ones((1, 1, 1, 1)), np.array([[[0.25, 0.5], [0.75, 1.0]]])
    above, below = one_step(kernel, np.zeros((1, 4, 6)), np.zeros((1, 2, 3)), Convolution(1, 0, "max", 2))
    assert not above.any()
    assert not below.any()
    _, below = one_step(kernel, np.zeros((1, 4, 4)), post, Convolution(1, 0, "max", 2))
    expected = np.zeros((1, 4, 4))
    expected[0, ::2, ::2] = post[0]
    np.testing.assert_array_equal(below, expected)


def test_the_first_of_equal_maxima_is_taken_in_constant_maps():
    """3 x 3 kernels of halves on constant images: all patches are equal, and every sum is exact."""
    kernel = np.full((2, 1, 3, 3), 0.0625)
    kernel[1, 0, 1, 2] = 0.5  # two channels that do not share their kernels
    pre, post = np.full((1, 8, 8), 0.5), np.zeros((2, 2, 2))
    post[0, 0, 0], post[1, 1, 1] = 0.5, 0.25
    above, below = one_step(kernel, pre, post, Convolution(3, 0, "max", 3))
    np.testing.assert_array_equal(above[0], np.full((2, 2), 0.28125))
    expected = np.zeros((1, 8, 8))
    expected[0, :3, :3] += 0.5 * kernel[0, 0]
    expected[0, 3:6, 3:6] += 0.25 * kernel[1, 0]
    np.testing.assert_array_equal(below, expected)


def test_rows_come_before_columns_where_maxima_are_equal():
    pre = np.zeros((1, 4, 4))
    pre[0, :2, :2] = [[0.0, 0.5], [0.5, 0.0]]  # the second entry and the third: the second
    pre[0, 2:, 2:] = [[0.25, 0.0], [0.5, 0.5]]  # the third and the fourth: the third
    above, below = one_step(np.ones((1, 1, 1, 1)), pre, np.ones((1, 2, 2)), Convolution(1, 0, "max", 2))
    np.testing.assert_array_equal(above, [[[0.5, 0.0], [0.0, 0.5]]])
    np.testing.assert_array_equal(np.argwhere(below[0]), [[0, 1], [0, 2], [2, 0], [3, 2]])


@given(seed=SEEDS)
def test_maxima_of_saturated_images_are_those_of_the_specification(seed):
    """Weights and states in whole sixteenths: every sum is exact, ties are many, and results equal."""
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-4, 5, (3, 2, 2, 2)) / 16
    pre, post = rng.integers(0, 2, (2, 7, 7)) / 1.0, rng.integers(0, 2, (3, 3, 3)) / 1.0
    above, below = one_step(kernel, pre, post, Convolution(2, 0, "max", 2))
    assert above.any()
    assert below.any()


# ---------------------------------------------------------------- threads, and what is refused


def test_threads_do_not_change_a_bit(monkeypatch):
    rng = np.random.default_rng(5)
    model = PrototypicalNetwork(
        (3, 4, 2, 1),
        activation="hardsigm",
        convolutions=[Convolution(3, 1), Convolution(3, 1)],
        image=(16, 16),
        step_size=0.6,
    )
    parameters = model.initialise(rng)
    inputs, targets = rng.uniform(size=(7, 1, 16, 16)), rng.uniform(size=(7, 3))
    used, pool = [], blocks._pool
    monkeypatch.setattr(blocks, "_pool", lambda threads: used.append(threads) or pool(threads))
    monkeypatch.setattr(blocks, "_ELEMENTS_WORTH_A_THREAD", 1)
    ends = []
    for threads in (1, 2, 3, 7):
        monkeypatch.setattr(blocks.numba, "get_num_threads", lambda threads=threads: threads)
        for tolerance in (None, 1e-3):
            used.clear()
            run = relax(
                model, parameters, inputs, steps=200 if tolerance else 6, targets=targets, nudge=0.5,
                tolerance=tolerance, keep_last=2,
            )  # fmt: skip
            assert set(used) == ({threads} if threads > 1 else set())
            ends.append((tolerance, run))
    for tolerance, run in ends:
        first = next(other for same, other in ends if same == tolerance)
        assert run.steps_taken == first.steps_taken
        for name in model.layers:
            assert run.state[name].any()
            for one, other in zip(run.kept, first.kept, strict=True):
                assert one[name].tobytes() == other[name].tobytes()


def test_layers_of_many_kinds_are_refused():
    model = PrototypicalNetwork(
        (2, 2, 2, 1), activation="hardsigm", convolutions=[Convolution(1, pooling="none")] * 3, image=(2, 2)
    )
    parameters, inputs = model.initialise(np.random.default_rng(0)), np.ones((1, 1, 2, 2))
    problem = model.relaxing(parameters, model.static_drive(parameters, inputs), 1, np.float64)
    mixed = problem._replace(units=(*problem.units[:2], EnergyBasedNetwork((1, 1)).unit(0)))
    state = tuple(model.initial_state(parameters, 1).values())
    with pytest.raises(ValueError, match="units: expected one kind of unit"):
        relaxation_kernels("cpu").relax(mixed, state, 1, None, -1.0, None)
