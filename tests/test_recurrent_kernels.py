"""The recurrent kernels are twins: same names, same numbers, the same spikes exactly."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spiking_cases import SMALLEST_SCALE

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import BACKENDS, recurrent_kernels, recurrent_spiking_kernels

RELATIVE = {np.float64: 1e-12, np.float32: 2e-5}
TWINS = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
NEURONS = (
    SpikingNeuron(0.9, detach_reset=False, surrogate=Surrogate("triangle", 1.0, 0.3)),
    SpikingNeuron(0.7, threshold=0.6, fires=">", surrogate=Surrogate("fast_sigmoid", 2.0, 0.5)),
)


def public_signatures(module):
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize("module", ["recurrent", "recurrent_spiking"])
def test_twins_by_name(backend, module):
    plain = public_signatures(importlib.import_module(f"refsnn.kernels.plain.{module}"))
    assert len(plain) == (2 if module == "recurrent_spiking" else 10)
    assert public_signatures(importlib.import_module(f"refsnn.kernels.{backend}.{module}")) == plain


@pytest.mark.parametrize("find", [recurrent_kernels, recurrent_spiking_kernels])
def test_unknown_backends(find):
    assert [find(name).__name__.split(".")[2] for name in BACKENDS[:2]] == ["plain", "cpu"]
    with pytest.raises(ValueError, match=r"^backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'"):
        find("gpu")


def close(found, expected, dtype, what):
    assert found.dtype == expected.dtype == dtype, what
    assert np.abs(expected).max() > 0, what
    error = np.abs(found - expected).max() / max(np.abs(expected).max(), SMALLEST_SCALE)
    assert error <= RELATIVE[dtype], f"{what}: off by {error:.1e}"


def smooth(kernels, seed, batch, n, outputs, dtype):
    """All that the smooth kernels write; each reads what the one before it left."""
    rng = np.random.default_rng(seed)

    def drawn(*shape):
        return (0.5 * rng.standard_normal(shape)).astype(dtype)  # gates that do not saturate in float32

    def filled(*shape):
        return np.full(shape, np.nan, dtype)

    found = {}
    hidden, drive = filled(batch, n), filled(batch, n)
    kernels.tanh_forward(drawn(batch, n), drawn(batch, n), drawn(n), hidden)
    kernels.tanh_backward(hidden, drawn(batch, n), drive)
    found |= {"tanh": hidden, "tanh drive": drive}

    gates, cell, hidden, before = filled(batch, 4 * n), filled(batch, n), filled(batch, n), drawn(batch, n)
    kernels.lstm_gates(drawn(batch, 4 * n), drawn(batch, 4 * n), drawn(4 * n), before, gates, cell)
    kernels.lstm_hidden(gates, cell, hidden)
    cell_adjoint, drive = drawn(batch, n), filled(batch, 4 * n)
    kernels.lstm_backward(gates, cell, before, drawn(batch, n), cell_adjoint, drive)
    found |= {"lstm gates": gates, "lstm cell": cell, "lstm hidden": hidden}
    found |= {"lstm past": cell_adjoint, "lstm drive": drive}

    gates, hidden, before, adjoint = filled(batch, 4 * n), filled(batch, n), drawn(batch, n), drawn(batch, n)
    kernels.gru_gates(drawn(batch, 3 * n), drawn(batch, 3 * n), drawn(3 * n), drawn(3 * n), gates)
    kernels.gru_hidden(gates, before, hidden)
    drive, recurrent = filled(batch, 3 * n), filled(batch, 3 * n)
    kernels.gru_backward(gates, before, adjoint, drive, recurrent)
    found |= {"gru gates": gates, "gru hidden": hidden, "gru past": adjoint}
    found |= {"gru drive": drive, "gru recurrent": recurrent}

    errors, weights = filled(batch, outputs), rng.uniform(0.5, 2, batch).astype(dtype)
    loss = kernels.squared_error(drawn(batch, outputs), drawn(batch, outputs), weights, errors)
    found |= {"squared": errors.copy(), "squared loss": np.array(loss, dtype)}
    labels = rng.integers(0, outputs, batch)
    loss = kernels.cross_entropy(4 * drawn(batch, outputs), labels, weights, errors)
    return found | {"entropy": errors, "entropy loss": np.array(loss, dtype)}


@pytest.mark.parametrize("backend", TWINS)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 7), st.integers(2, 4),
    st.sampled_from([np.float64, np.float32]),
)  # fmt: skip
@settings(max_examples=25)
def test_smooth_kernels_are_plain(backend, seed, batch, n, outputs, dtype):
    expected = smooth(recurrent_kernels("plain"), seed, batch, n, outputs, dtype)
    found = smooth(recurrent_kernels(backend), seed, batch, n, outputs, dtype)
    for name, value in expected.items():
        close(found[name], value, dtype, name)


def spiking(kernels, neuron, seed, sizes, dtype, pieces, static=False):
    """A run of several steps, in one call or several, then one step back."""
    rng, (steps, batch, inputs, n, outputs) = np.random.default_rng(seed), sizes

    def drawn(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(dtype)

    x = drawn(1 if static else steps, batch, inputs)
    into, back, bias = drawn(n, inputs), drawn(n, n, scale=0.7), drawn(n, scale=0.3)
    out, out_bias, leak = drawn(outputs, n), drawn(outputs), dtype(0.8)
    v, o = drawn(batch, n), drawn(batch, outputs)
    scratch = np.full(4 * batch * n + n * max(n, inputs, outputs) + outputs, np.nan, dtype)
    forward = [np.ascontiguousarray(into.T), np.ascontiguousarray(back.T), bias]
    forward += [np.ascontiguousarray(out.T), out_bias, leak]
    both = neuron.equations, neuron.constants(dtype)
    spikes = 0
    for first, last in pieces:
        before = v.copy()
        kernels.spiking_forward(*both, x, first, last, *forward, v, o, scratch)
        spikes += int((v >= neuron.threshold).sum())
    found = {"v": v.copy(), "o": o.copy()}
    gv, go, errors = drawn(batch, n), drawn(batch, outputs), drawn(batch, outputs)
    gradients = [drawn(*shape) for shape in ((n, inputs), (n, n), (n,), (outputs, n), (outputs,))]
    by_inputs = np.full((batch, inputs), np.nan, dtype)
    at = x[0 if static else pieces[-1][1] - 1]
    kernels.spiking_backward(
        *both, at, before, v, errors, into, back, out, leak, gv, go, *gradients, by_inputs, scratch
    )
    found |= {"gv": gv, "go": go, "inputs": by_inputs}
    return found | {f"gradient {k}": value for k, value in enumerate(gradients)}, spikes


@pytest.mark.parametrize("backend", TWINS)
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("static", [False, True])
def test_spiking_kernels_are_plain(backend, neuron, dtype, static):
    """Potentials bit for bit, so that the spikes are the same; adjoints but for the order of sums."""
    fired = 0
    for seed, sizes in enumerate([(5, 2, 3, 7, 2), (3, 1, 1, 4, 1), (1, 3, 2, 5, 3)]):
        steps = sizes[0]
        singles = [(k, k) for k in range(1, steps + 1)]
        expected, spikes = spiking(
            recurrent_spiking_kernels("plain"), neuron, seed, sizes, dtype, singles, static
        )
        found, _ = spiking(recurrent_spiking_kernels(backend), neuron, seed, sizes, dtype, singles, static)
        fired += spikes
        for name, value in expected.items():
            if name in ("v", "o"):
                np.testing.assert_array_equal(found[name], value, err_msg=name)
            else:
                close(found[name], value, dtype, name)
    assert fired > 10


@pytest.mark.parametrize("backend", ["plain", *TWINS])
def test_several_steps_in_one_call(backend):
    """Bit for bit what single steps give."""
    kernels, sizes = recurrent_spiking_kernels(backend), (6, 2, 3, 7, 2)
    singles = [(k, k) for k in range(1, 7)]
    expected, spikes = spiking(kernels, NEURONS[0], 3, sizes, np.float64, singles)
    assert spikes > 5
    found, _ = spiking(kernels, NEURONS[0], 3, sizes, np.float64, [(1, 2), (3, 5), (6, 6)])
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_input_adjoints_that_are_not_wanted():
    """Without rows nothing is written, and the rest is the same."""
    rng = np.random.default_rng(0)
    neuron, weights = NEURONS[0], (rng.normal(size=(4, 2)), rng.normal(size=(4, 4)), rng.normal(size=(3, 4)))
    results = []
    for rows in (0, 2):
        rng = np.random.default_rng(1)
        x, before, after, errors = (rng.normal(0.8, 0.4, (2, size)) for size in (2, 4, 4, 3))
        adjoints = rng.normal(size=(2, 4)), rng.normal(size=(2, 3))
        gradients = [np.zeros(shape) for shape in ((4, 2), (4, 4), 4, (3, 4), 3)]
        recurrent_spiking_kernels("cpu").spiking_backward(
            neuron.equations, neuron.constants(float), x, before, after, errors, *weights,
            np.float64(0.9), *adjoints, *gradients, np.zeros((rows, 2)), np.zeros(100),
        )  # fmt: skip
        results.append([*adjoints, *gradients])
    for one, other in zip(*results, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backend", ["plain", *TWINS])
def test_large_logits(backend):
    """The exponential of their largest would overflow; the loss of a hopeless sample is a difference."""
    errors = np.full((2, 3), np.nan)
    outputs = np.array([[2000.0, 0.0, -2000.0], [0.0, 900.0, 0.0]])
    loss = recurrent_kernels(backend).cross_entropy(outputs, np.array([2, 1]), np.array([1.0, 1.0]), errors)
    assert loss == 2000.0
    np.testing.assert_array_equal(errors, [[0.5, 0, -0.5], [0, 0, 0]])


@pytest.mark.parametrize("backend", ["plain", "cpu"])  # a simulated device would take minutes
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_the_loss_of_many_samples_keeps_its_digits(backend, loss):
    """In float32 a running total would be off by 1e-3 after a million numbers."""
    rng = np.random.default_rng(0)
    outputs, weights = rng.standard_normal((131072, 10)), rng.uniform(0.5, 1.5, 131072)
    targets = rng.standard_normal((131072, 10)) if loss == "squared_error" else rng.integers(10, size=131072)
    found = {}
    for dtype in (np.float32, np.float64):
        typed = targets.astype(dtype) if loss == "squared_error" else targets
        errors = np.empty((131072, 10), dtype)
        kernel = getattr(recurrent_kernels(backend), loss)
        found[dtype] = kernel(outputs.astype(dtype), typed, weights.astype(dtype), errors)
        assert type(found[dtype]) is float
        assert np.isfinite(errors).all()
    assert found[np.float64] > 0.5
    assert found[np.float32] == np.float32(found[np.float32])  # summed in the dtype of the outputs
    assert found[np.float32] == pytest.approx(found[np.float64], rel=1e-6)
