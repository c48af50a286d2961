"""Operators without time: loops and SciPy, adjoints, derivatives by complex step, ties, dtypes, the door."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d

from refsnn.kernels import BACKENDS
from refsnn.models.operators import convolution
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.operator import LinearOperator
from refsnn.models.operators.pooling import AdaptiveAveragePool, AveragePool, MaxPool
from refsnn.models.operators.reshaping import Flatten, LearnableScale, Scale, Upsample
from refsnn.models.operators.standardisation import standardised, standardised_jvp, standardised_vjp
from refsnn.models.spiking_graph import Node, Population, SpikingGraph

SEEDS = st.integers(0, 2**32 - 1)
STEP = 1e-30


def convolution_case(rng):
    """Any convolution that fits images that are no squares."""
    groups, kernel = (int(n) for n in rng.integers(1, 4, size=2))
    channels, outs = (groups * int(n) for n in rng.integers(1, 3, size=2))
    padding = int(rng.integers(kernel))
    size = rng.integers(max(1, kernel - 2 * padding), 7, size=2)
    # of a fan-in of 2 only +- gain is left, and a derivative that cancels to nothing
    standardise = bool(rng.integers(2)) and channels // groups * kernel**2 > 2
    operator = Convolution2d(
        outs, kernel, int(rng.integers(1, 4)), padding, groups, bool(rng.integers(2)), standardise
    )
    return operator, (channels, *(int(side) for side in size))


def linear_case(kind, rng):
    """An operator and the shape that it reads."""
    image = tuple(int(n) for n in rng.integers(2, 7, size=3))
    if kind is Convolution2d:
        return convolution_case(rng)
    if kind is Dense:
        return Dense(3, bool(rng.integers(2)), bool(rng.integers(2))), (5,)
    if kind is AveragePool:
        window = int(rng.integers(1, 3))
        return AveragePool(window, int(rng.integers(1, 4)), int(rng.integers(window))), image
    if kind is AdaptiveAveragePool:
        return AdaptiveAveragePool(int(rng.integers(1, 9))), image
    if kind is Scale:
        return Scale(float(rng.normal())), image
    if kind is Upsample:
        return Upsample(int(rng.integers(1, 4))), image
    return kind(), image


LINEAR = (Convolution2d, Dense, AveragePool, AdaptiveAveragePool, Flatten, Scale, LearnableScale, Upsample)


@dataclasses.dataclass
class Drawn:
    """An operator with weights, inputs, and what arrives."""

    operator: LinearOperator
    shape: tuple[int, ...]
    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    adjoint: np.ndarray
    rng: np.random.Generator


def draw(kind, seed, dtype=np.float64, batch=3):
    rng = np.random.default_rng(seed)
    operator, shape = linear_case(kind, rng)
    weights = {name: rng.normal(size=s).astype(dtype) for name, s in operator.parameter_shapes(shape).items()}
    inputs = rng.normal(size=(batch, *shape)).astype(dtype)
    adjoint = rng.normal(size=(batch, *operator.output_shape(shape))).astype(dtype)
    return Drawn(operator, shape, weights, inputs, adjoint, rng)


def forward(operator, weights, inputs):
    return operator.forward(operator.prepared(weights), inputs)


# ---------------------------------------------------------------- what linear operators promise


@pytest.mark.parametrize("kind", LINEAR)
@given(seed=SEEDS)
def test_transpose_is_the_adjoint(kind, seed):
    d = draw(kind, seed)
    prepared = d.operator.prepared(d.weights)
    outputs = d.operator.linear(prepared, d.inputs)
    back = d.operator.transpose(prepared, d.adjoint, d.shape)
    assert outputs.shape == d.adjoint.shape
    assert back.shape == d.inputs.shape
    assert np.abs(outputs).max() > 1e-6
    size = np.linalg.norm(outputs) * np.linalg.norm(d.adjoint)
    assert abs((outputs * d.adjoint).sum() - (d.inputs * back).sum()) <= 1e-13 * size


@pytest.mark.parametrize("kind", LINEAR)
@given(seed=SEEDS)
def test_forward_is_linear_and_the_bias(kind, seed):
    d = draw(kind, seed)
    prepared = d.operator.prepared(d.weights)
    bias = d.operator.bias(prepared)
    expected = d.operator.linear(prepared, d.inputs) + (0 if bias is None else bias)
    np.testing.assert_allclose(d.operator.forward(prepared, d.inputs), expected, rtol=0, atol=1e-13)
    assert (bias is None) == ("bias" not in d.weights)


@pytest.mark.parametrize("kind", LINEAR)
@given(seed=SEEDS)
def test_products_and_tangents_are_derivatives(kind, seed):
    """Entry by entry of every parameter, by complex step of the forward map."""
    d = draw(kind, seed)
    prepared = d.operator.prepared(d.weights)
    gradients = d.operator.products(prepared, d.adjoint, d.inputs, d.adjoint)
    assert gradients.keys() == d.weights.keys()
    for name, weight in d.weights.items():
        expected = np.empty_like(weight)
        size = 0.0
        for entry in np.ndindex(weight.shape):
            moved = weight.astype(complex)
            moved[entry] += 1j * STEP
            outputs = forward(d.operator, {**d.weights, name: moved}, d.inputs)
            slope = outputs.imag / STEP
            expected[entry] = (slope * d.adjoint).sum()
            size = max(size, np.linalg.norm(slope) * np.linalg.norm(d.adjoint))
        assert size > 0
        np.testing.assert_allclose(gradients[name], expected, rtol=0, atol=1e-13 * size, err_msg=name)
    for leading in ((), (2,), (2, 3)):
        tangents = {name: d.rng.normal(size=(*leading, *w.shape)) for name, w in d.weights.items()}
        found = d.operator.tangent(prepared, tangents, d.inputs)
        if not d.weights:
            assert not found.any()
            continue
        assert found.shape == (*leading, *d.adjoint.shape)
        for index in np.ndindex(leading):
            moved = {name: w + 1j * STEP * tangents[name][index] for name, w in d.weights.items()}
            expected = forward(d.operator, moved, d.inputs).imag / STEP
            np.testing.assert_allclose(found[index], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", LINEAR)
@given(seed=SEEDS)
def test_complex_numbers_go_through_and_nothing_is_conjugated(kind, seed):
    d = draw(kind, seed)
    prepared = d.operator.prepared(d.weights)
    other, arriving = d.rng.normal(size=d.inputs.shape), d.rng.normal(size=d.adjoint.shape)
    np.testing.assert_allclose(
        d.operator.linear(prepared, d.inputs + 1j * other),
        d.operator.linear(prepared, d.inputs) + 1j * d.operator.linear(prepared, other),
        rtol=0, atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(
        d.operator.transpose(prepared, d.adjoint + 1j * arriving, d.shape),
        d.operator.transpose(prepared, d.adjoint, d.shape)
        + 1j * d.operator.transpose(prepared, arriving, d.shape),
        rtol=0, atol=1e-12,
    )  # fmt: skip
    found = d.operator.products(prepared, d.adjoint + 1j * arriving, d.inputs, d.adjoint + 1j * arriving)
    for name, gradient in d.operator.products(prepared, arriving, d.inputs, arriving).items():
        np.testing.assert_allclose(found[name].imag, gradient, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", LINEAR)
@given(seed=SEEDS)
def test_float32_stays_float32(kind, seed):
    d = draw(kind, seed, np.float32)
    prepared = d.operator.prepared(d.weights)
    results = {
        "forward": d.operator.forward(prepared, d.inputs),
        "linear": d.operator.linear(prepared, d.inputs),
        "transpose": d.operator.transpose(prepared, d.adjoint, d.shape),
        "tangent": d.operator.tangent(prepared, d.weights, d.inputs),
        **d.operator.products(prepared, d.adjoint, d.inputs, d.adjoint),
    }
    for name, result in results.items():
        assert result.dtype == np.float32, name


@pytest.mark.parametrize("kind", LINEAR)
def test_nothing_that_is_read_is_written(kind):
    d = draw(kind, 3)
    prepared = d.operator.prepared(d.weights)
    for array in (d.inputs, d.adjoint, *prepared.values()):
        array.flags.writeable = False
    d.operator.forward(prepared, d.inputs)
    d.operator.transpose(prepared, d.adjoint, d.shape)
    d.operator.products(prepared, d.adjoint, d.inputs, d.adjoint)


# ---------------------------------------------------------------- convolution


@given(seed=SEEDS)
def test_convolution_is_scipy_s(seed):
    d = draw(Convolution2d, seed)
    op, padding = d.operator, d.operator.padding
    used = standardised(d.weights["weight"], d.weights["gain"]) if op.standardise else d.weights["weight"]
    padded = np.pad(d.inputs, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    expected = np.zeros(d.adjoint.shape)
    ins, outs = used.shape[1], op.channels // op.groups
    for n, o in np.ndindex(expected.shape[:2]):
        for c in range(ins):
            image = padded[n, o // outs * ins + c]
            expected[n, o] += correlate2d(image, used[o, c], "valid")[:: op.stride, :: op.stride]
        if op.with_bias:
            expected[n, o] += d.weights["bias"][o]
    np.testing.assert_allclose(forward(op, d.weights, d.inputs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "plain"])
@given(seed=SEEDS)
def test_backends_agree(backend, seed):
    if backend == "cuda":
        seed = seed % 3  # the simulator is slow
    d = draw(Convolution2d, seed, batch=1 if backend == "cuda" else 3)
    plain, other = (dataclasses.replace(d.operator, backend=name) for name in ("plain", backend))
    prepared = plain.prepared(d.weights)
    for name, arguments in {
        "forward": (prepared, d.inputs),
        "transpose": (prepared, d.adjoint, d.shape),
        "tangent": (prepared, d.weights, d.inputs),
    }.items():
        np.testing.assert_array_equal(
            getattr(other, name)(*arguments), getattr(plain, name)(*arguments), name
        )
    expected = plain.products(prepared, d.adjoint, d.inputs, d.adjoint)
    for name, gradient in other.products(prepared, d.adjoint, d.inputs, d.adjoint).items():
        np.testing.assert_array_equal(gradient, expected[name], name)


@pytest.mark.parametrize("at_once", [1, 9, 50])
@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_of_samples_change_nothing(at_once, stride, monkeypatch):
    """7 samples of 9 or 4 places at a time that never come out even."""
    rng = np.random.default_rng(5)
    operator = Convolution2d(4, 3, stride, 1, groups=2)
    weights = {name: rng.normal(size=s) for name, s in operator.parameter_shapes((2, 3, 3)).items()}
    prepared = operator.prepared(weights)
    inputs = rng.normal(size=(7, 2, 3, 3))
    adjoint = rng.normal(size=(7, *operator.output_shape((2, 3, 3))))

    def everything():
        return (
            operator.forward(prepared, inputs),
            operator.transpose(prepared, adjoint, (2, 3, 3)),
            *operator.products(prepared, adjoint, inputs, adjoint).values(),
        )

    expected = everything()
    monkeypatch.setattr(convolution, "_COLUMNS_AT_ONCE", at_once)
    for found, array in zip(everything(), expected, strict=True):
        np.testing.assert_allclose(found, array, rtol=0, atol=1e-13)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_patches_of_a_batch_never_exist_together(stride):
    """Peak memory is results and the patches of one block, not those of 32 samples (4.7 MB with stride 1)."""
    rng = np.random.default_rng(0)
    operator = Convolution2d(8, 3, stride, 1, with_bias=False)
    prepared = operator.prepared({"weight": rng.normal(size=(8, 8, 3, 3))})
    inputs = rng.normal(size=(32, 8, 16, 16))
    adjoint = rng.normal(size=(32, *operator.output_shape((8, 16, 16))))
    block = 8 * 9 * 256 * inputs.itemsize
    for name, arguments, result in (
        ("linear", (prepared, inputs), adjoint.nbytes),
        ("transpose", (prepared, adjoint, (8, 16, 16)), inputs.nbytes),
        ("products", (prepared, adjoint, inputs, adjoint), prepared["weight"].nbytes),
    ):
        getattr(operator, name)(*arguments)  # compiles
        tracemalloc.start()
        getattr(operator, name)(*arguments)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert block < peak < result + 2 * block, name


def test_the_bias_gradient_is_that_of_the_total_and_the_weight_s_that_of_the_trace():
    """In OTTT inputs are traces, in temporal modes the total is weighted: they are arguments of their own."""
    d = draw(Convolution2d, 0)
    operator = dataclasses.replace(d.operator, with_bias=True, standardise=False)
    weights = {"weight": d.weights["weight"], "bias": np.zeros(operator.channels)}
    total = d.rng.normal(size=(1, *d.adjoint.shape[1:]))
    prepared = operator.prepared(weights)
    one = operator.products(prepared, d.adjoint, d.inputs, total)
    two = operator.products(prepared, d.adjoint, 2 * d.inputs, total)
    np.testing.assert_allclose(two["weight"], 2 * one["weight"], rtol=1e-13)
    np.testing.assert_array_equal(two["bias"], one["bias"])
    np.testing.assert_allclose(one["bias"], total.sum(axis=(0, 2, 3)), rtol=1e-14)


def test_fan_in_and_fan_out():
    assert Convolution2d(64, 3, padding=1).fan((16, 8, 8)) == (144, 576)
    assert Convolution2d(64, 3, groups=4).fan((16, 8, 8)) == (36, 576)
    assert AveragePool(2).fan((16, 8, 8)) == (0, 0)


# ---------------------------------------------------------------- standardised weights


@given(seed=SEEDS)
def test_standardisation_and_its_derivatives(seed):
    rng = np.random.default_rng(seed)
    shape = [(3, 4), (2, 3, 2, 2), (4, 2)][seed % 3]
    weight, gain = rng.normal(size=shape), rng.normal(size=shape[0])
    used = standardised(weight, gain)
    for unit, row in enumerate(weight.reshape(len(weight), -1)):
        expected = gain[unit] * (row - row.mean()) / np.sqrt(row.size * row.var(ddof=1) + 1e-4)
        np.testing.assert_allclose(used[unit].ravel(), expected, rtol=1e-12)

    adjoint = rng.normal(size=shape)
    by_weight, by_gain = standardised_vjp(weight, gain, adjoint)
    for array, found, at in ((weight, by_weight, 0), (gain, by_gain, 1)):
        for entry in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[entry] += 1j * STEP
            pair = [weight, gain]
            pair[at] = moved
            expected = (adjoint * standardised(*pair).imag).sum() / STEP
            np.testing.assert_allclose(found[entry], expected, rtol=1e-11, atol=1e-12)

    tangents = rng.normal(size=(2, *shape)), rng.normal(size=(2, shape[0]))
    moved = standardised_jvp(weight, gain, *tangents)
    for k in range(2):
        expected = standardised(weight + 1j * STEP * tangents[0][k], gain + 1j * STEP * tangents[1][k])
        np.testing.assert_allclose(moved[k], expected.imag / STEP, rtol=1e-11, atol=1e-12)


# ---------------------------------------------------------------- pooling


def test_average_pool_drops_the_rest_and_counts_the_padding():
    image = np.arange(15.0).reshape(1, 1, 3, 5)
    np.testing.assert_array_equal(AveragePool(2).linear({}, image), [[[[3.0, 5.0]]]])
    padded = AveragePool(3, 2, 1).linear({}, np.ones((1, 1, 4, 4)))  # the stem pool of NF-ResNet
    np.testing.assert_allclose(padded[0, 0], np.array([[4, 6], [6, 9]]) / 9, rtol=1e-15)
    assert AveragePool(2).stride == 2


@given(seed=SEEDS)
def test_bins_overlap_where_they_do_not_divide(seed):
    rng = np.random.default_rng(seed)
    height, width, bins = (int(n) for n in rng.integers(1, 9, size=3))
    image = rng.normal(size=(2, 3, height, width))
    found = AdaptiveAveragePool(bins).linear({}, image)
    for i, j in np.ndindex(bins, bins):
        rows = slice(int(np.floor(i * height / bins)), int(np.ceil((i + 1) * height / bins)))
        columns = slice(int(np.floor(j * width / bins)), int(np.ceil((j + 1) * width / bins)))
        expected = image[:, :, rows, columns].mean(axis=(2, 3))
        np.testing.assert_allclose(found[:, :, i, j], expected, rtol=0, atol=1e-14)


def test_overlapping_bins_send_more_to_what_they_share():
    back = AdaptiveAveragePool(2).transpose({}, np.ones((1, 1, 2, 2)), (1, 3, 3))
    np.testing.assert_allclose(back[0, 0], np.outer([1, 2, 1], [1, 2, 1]) / 4, rtol=1e-15)


TIED = np.array([[2.0, 2, 0], [2, 1, 0], [0, 0, 0]]).reshape(1, 1, 3, 3)


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ties(backend, dtype):
    adjoint = np.array([[[[6, 12], [24, 48]]]], dtype)
    pools = {ties: MaxPool(2, 1, ties=ties, backend=backend) for ties in ("first", "split")}
    expected = {
        "first": [[6, 12, 0], [24, 48, 0], [0, 0, 0]],
        # windows: three 2s, one 2, one 2, one 1
        "split": [[2, 2 + 12, 0], [2 + 24, 48, 0], [0, 0, 0]],
    }
    for ties, pool in pools.items():
        outputs, record = pool.forward(TIED.astype(dtype))
        np.testing.assert_array_equal(outputs[0, 0], [[2, 2], [2, 1]])
        back = pool.transpose(record, adjoint, (1, 3, 3))
        assert outputs.dtype == back.dtype == dtype
        np.testing.assert_allclose(back[0, 0], expected[ties], rtol=1e-6, err_msg=ties)
    zeros, record = pools["first"].forward(np.zeros((1, 1, 3, 3), dtype))
    assert record.ravel().tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("ties", ["first", "split"])
@given(seed=SEEDS)
def test_max_pool_is_linear_at_its_record(ties, seed):
    rng = np.random.default_rng(seed)
    window = int(rng.integers(1, 4))
    pool = MaxPool(window, int(rng.integers(1, 4)), int(rng.integers(window)), ties)
    inputs = rng.integers(-6, 0, size=(2, 2, *rng.integers(3, 7, size=2))) / 4  # below the padding of others
    outputs, record = pool.forward(inputs)
    np.testing.assert_allclose(pool.linear(record, inputs), outputs, rtol=1e-15)
    tangent, adjoint = rng.normal(size=inputs.shape), rng.normal(size=outputs.shape)
    moved, back = pool.linear(record, tangent), pool.transpose(record, adjoint, inputs.shape[1:])
    assert abs((moved * adjoint).sum() - (tangent * back).sum()) <= 1e-13 * np.abs(adjoint).sum()
    np.testing.assert_allclose(back.sum(), adjoint.sum(), atol=1e-12)  # all that arrives is sent on
    stepped, same = pool.forward(inputs + 1j * STEP * tangent)
    np.testing.assert_array_equal(same, record)
    np.testing.assert_allclose(stepped.imag / STEP, moved, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(stepped.real, outputs)
    # without ties the derivative is that of the maximum itself
    apart = rng.permutation(inputs.size).reshape(inputs.shape).astype(float)
    outputs, record = pool.forward(apart)
    numerical = (pool.forward(apart + 1e-3 * tangent)[0] - outputs) / 1e-3
    np.testing.assert_allclose(pool.linear(record, tangent), numerical, rtol=0, atol=1e-9)


def test_complex64_is_not_promoted():
    outputs, _ = MaxPool(2).forward(np.ones((1, 1, 2, 2), np.complex64))
    assert outputs.dtype == np.complex64
    assert AdaptiveAveragePool(1).linear({}, np.ones((1, 1, 2, 2), np.complex64)).dtype == np.complex64


# ---------------------------------------------------------------- reshaping


def test_reshaping_by_hand():
    image = np.arange(8.0).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(Flatten().linear({}, image)[0], np.arange(8))
    np.testing.assert_array_equal(Upsample(2).linear({}, image)[0, 1, :, 0], [4, 4, 6, 6])
    np.testing.assert_array_equal(Upsample(2).transpose({}, np.ones((1, 1, 4, 2)), (1, 2, 1)), [[[[4], [4]]]])
    np.testing.assert_array_equal(Scale(2.5).forward({}, image), 2.5 * image)
    gradients = LearnableScale().products({"scale": np.zeros(1)}, image, image, image)
    np.testing.assert_array_equal(gradients["scale"], [(image**2).sum()])


# ---------------------------------------------------------------- the door


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Convolution2d(0, 3), ValueError, "channels: expected an integer of at least 1"),
        (lambda: Convolution2d(2, 3.0), TypeError, "kernel: expected an integer, got float"),
        (lambda: Convolution2d(2, 3, 0), ValueError, "stride: expected an integer of at least 1"),
        (lambda: Convolution2d(2, 3, 1, 3), ValueError, "padding: expected less than the kernel size 3"),
        (lambda: Convolution2d(2, 3, 1, -1), ValueError, "padding: expected an integer of at least 0"),
        (lambda: Convolution2d(3, 3, groups=2), ValueError, "groups: expected a divisor of channels=3"),
        (lambda: Convolution2d(2, 3, with_bias=1), TypeError, "with_bias: expected a bool"),
        (lambda: Convolution2d(2, 3, standardise=None), TypeError, "standardise: expected a bool"),
        (lambda: Convolution2d(2, 3, backend="gpu"), ValueError, "backend: expected one of 'plain'"),
        (lambda: AveragePool(0), ValueError, "window: expected an integer of at least 1"),
        (lambda: AveragePool(2, 0), ValueError, "stride: expected"),
        (lambda: MaxPool(2, 2, 2), ValueError, "padding: expected less than the window 2, got 2"),
        (lambda: MaxPool(2, ties="last"), ValueError, "ties: expected one of 'first', 'split', got 'last'"),
        (lambda: AveragePool(2, backend="tpu"), ValueError, "backend"),
        (lambda: AdaptiveAveragePool(0), ValueError, "bins: expected"),
        (lambda: Scale(np.nan), ValueError, "factor: expected a finite number"),
        (lambda: Scale("2"), TypeError, "factor: expected a real number"),
        (lambda: Upsample(True), TypeError, "factor: expected an integer"),
    ],
)  # fmt: skip
def test_hyper_parameters_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("operator", "shape", "message"),
    [
        (Convolution2d(2, 3), (9,), r"kernel: expected images \(C, H, W\) under a convolution, got \(9,\)"),
        (Convolution2d(2, 3), (1, 2, 5), r"kernel: expected at most the padded image \(2, 5\), got 3"),
        (Convolution2d(2, 3, groups=2), (3, 4, 4), "groups: expected a divisor of the 3 channels"),
        (Convolution2d(2, 1, standardise=True), (1, 4, 4), "standardise: expected a fan-in of at least 2"),
        (AveragePool(3), (1, 2, 4), r"window: expected at most the padded image \(2, 4\), got 3"),
        (MaxPool(2), (8,), r"window: expected images \(C, H, W\) under pooling"),
        (AdaptiveAveragePool(2), (8,), "bins: expected images"),
        (Upsample(2), (8,), "factor: expected images"),
    ],
)  # fmt: skip
def test_shapes_are_checked_and_a_graph_says_where(operator, shape, message):
    with pytest.raises(ValueError, match=message):
        operator.output_shape(shape)
    with pytest.raises(ValueError, match=rf"nodes\[0\] \('it'\): {message}"):
        SpikingGraph((Node("it", ("input",), operator),), shape)


def test_a_graph_of_them():
    """VGG in small: shapes and parameters of every operator where it stands."""
    graph = SpikingGraph(
        (
            Node("1.current", ("input",), Convolution2d(4, 3, padding=1, standardise=True), "1"),
            Node("1", ("1.current",), Population()),
            Node("1.scaled", ("1",), Scale(2.74)),
            Node("1.pooled", ("1.scaled",), AveragePool(2)),
            Node("gain", ("1.pooled",), LearnableScale()),
            Node("mean", ("gain",), AdaptiveAveragePool(1)),
            Node("flat", ("mean",), Flatten()),
            Node("readout", ("flat",), Dense(3)),
        ),
        (2, 7, 6),
    )
    assert graph.shapes["1.pooled"] == (4, 3, 3)
    assert graph.parameter_shapes() == {
        "1.weight": (4, 2, 3, 3), "1.gain": (4,), "1.bias": (4,), "gain.scale": (1,),
        "readout.weight": (3, 4), "readout.bias": (3,),
    }  # fmt: skip
