"""One spiking layer: against the recursion with affine spikes, and its two ways with memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.spiking_layer import spiking_layer_backward, spiking_layer_forward

NEURONS = [
    SpikingNeuron(leak=0.9, surrogate=Surrogate("arctan", 3.0, 1.0)),
    SpikingNeuron(leak=0.7, detach_reset=False, fires=">", surrogate=Surrogate("sigmoid", 3.0, 0.8)),
    SpikingNeuron(leak=0.8, reset="hard", reset_value=-0.2, surrogate=Surrogate("triangle", 0.7, 0.6)),
    SpikingNeuron(leak=0.8, reset="hard", reset_value=-0.2, detach_reset=False),
]
SIZES = [(5, 3), (3, 5), (4, 4)]  # (M, N): dL/dx goes over dL/dI only in the last
T, B = 9, 2


def case(neuron: SpikingNeuron, sizes: tuple[int, int], seed: int) -> tuple[np.ndarray, ...]:
    """weight, bias, inputs, spike adjoint; every neuron alive."""
    rows, columns = sizes
    rng = np.random.default_rng([seed, rows, columns])
    for _ in range(100):
        weight = rng.standard_normal((rows, columns)) * 1.5 / np.sqrt(columns)
        bias, inputs = rng.normal(0.3, 0.1, rows), rng.standard_normal((T, B, columns))
        spikes, _ = spiking_layer_forward(neuron, weight, bias, inputs, "plain")
        if 0.1 < spikes.mean() < 0.7:
            return weight, bias, inputs, rng.standard_normal((T, B, rows))
    raise AssertionError("no draw fired")


def affine_run(
    neuron: SpikingNeuron, weight: Any, bias: Any, inputs: Any, nominal: list | None = None
) -> tuple[np.ndarray, list]:
    """The layer step by step; with `nominal`, affine spikes around it: its derivative is the surrogate's."""
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(np.float64)
    charge, fire, reset, _, surrogate = neuron.equations
    potential, spikes, record = reset_value, [], []
    for t in range(len(inputs)):
        current = inputs[t] @ np.swapaxes(weight, -1, -2) + bias[..., None, :]
        charged = charge(potential, current, leak, reset_value, one)
        if nominal is None:
            before, fired = charged, fire(charged, threshold, one)
        else:
            before, fired = nominal[t]
        spike = fired + surrogate(before - threshold, slope, height, one) * (charged - before)
        potential = reset(charged, spike if attached else fired, threshold, reset_value, one)
        spikes.append(spike)
        record.append((charged, fired))
    return np.stack(spikes), record


def complex_gradient(
    neuron: SpikingNeuron, arrays: dict[str, np.ndarray], adjoint: np.ndarray, name: str
) -> Any:
    """d sum(adjoint * spikes) / d arrays[name], an imaginary step an entry."""
    _, nominal = affine_run(neuron, **arrays)
    gradient = np.empty_like(arrays[name])
    for index in np.ndindex(gradient.shape):
        moved = arrays[name].astype(complex)
        moved[index] += 1e-30j
        spikes, _ = affine_run(neuron, **arrays | {name: moved}, nominal=nominal)
        gradient[index] = np.sum(adjoint * spikes).imag / 1e-30
    return gradient


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("neuron", NEURONS)
def test_spikes_and_gradients_are_those_of_the_oracle(neuron, sizes, backend):
    weight, bias, inputs, adjoint = case(neuron, sizes, 0)
    arrays = {"weight": weight, "bias": bias, "inputs": inputs}
    spikes, charged = spiking_layer_forward(neuron, weight, bias, inputs, backend)
    expected, record = affine_run(neuron, **arrays)
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_allclose(charged, np.stack([entry[0] for entry in record]), rtol=1e-13, atol=1e-14)

    gradients = spiking_layer_backward(neuron, weight, bias, inputs, charged, adjoint, backend)
    for name in arrays:
        truth = complex_gradient(neuron, arrays, adjoint, name)
        scale = np.abs(truth).max()
        assert scale > 0.1, name
        np.testing.assert_allclose(getattr(gradients, name), truth, rtol=0, atol=1e-13 * scale, err_msg=name)


@pytest.mark.parametrize("sizes", SIZES)
def test_using_up_the_potential_changes_no_bit(sizes):
    neuron = NEURONS[1]
    weight, bias, inputs, adjoint = case(neuron, sizes, 1)
    _, charged = spiking_layer_forward(neuron, weight, bias, inputs)
    kept = charged.copy()
    careful = spiking_layer_backward(neuron, weight, bias, inputs, charged, adjoint)
    np.testing.assert_array_equal(charged, kept)
    greedy = spiking_layer_backward(neuron, weight, bias, inputs, charged, adjoint, overwrite_charged=True)
    assert np.any(charged != kept)
    assert np.shares_memory(greedy.inputs, charged) == (sizes[0] == sizes[1])
    for ours, theirs in zip(greedy, careful, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("window", [1, 4])
def test_a_window_cuts_the_potential_and_nothing_else(window):
    neuron = NEURONS[0]
    weight, bias, inputs, adjoint = case(neuron, (4, 4), 2)
    _, charged = spiking_layer_forward(neuron, weight, bias, inputs)
    whole = spiking_layer_backward(neuron, weight, bias, inputs, charged, adjoint)
    cut = spiking_layer_backward(neuron, weight, bias, inputs, charged, adjoint, window=window)
    # with the reset detached dv/dh = 1: dL/dI_t = sum over t' of leak^(t'-t) psi_t' adjoint_t'
    psi = neuron.equations.surrogate(charged - 1.0, 3.0, 1.0, 1.0)
    current_adjoint = np.zeros_like(charged)
    for t in range(T):
        last = T - (T - 1 - t) // window * window  # the window that t is in ends here
        for later in range(t, last):
            current_adjoint[t] += 0.9 ** (later - t) * psi[later] * adjoint[later]
    np.testing.assert_allclose(cut.inputs, current_adjoint @ weight, rtol=1e-12, atol=1e-14)
    assert np.abs(cut.inputs - whole.inputs).max() > 1e-3


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_float32_stays_float32_and_absent_things_stay_absent(backend):
    neuron = NEURONS[0]
    weight, _, inputs, adjoint = (array.astype(np.float32) for array in case(neuron, (4, 4), 3))
    spikes, charged = spiking_layer_forward(neuron, weight, None, inputs, backend)
    assert spikes.any()
    gradients = spiking_layer_backward(
        neuron, weight, None, inputs, charged, adjoint, backend, with_inputs=False
    )
    assert spikes.dtype == charged.dtype == gradients.weight.dtype == np.float32
    assert gradients.bias is None
    assert gradients.inputs is None


def test_views_are_read_as_what_they_are():
    neuron = NEURONS[0]
    weight, bias, inputs, adjoint = case(neuron, (4, 4), 4)
    _, charged = spiking_layer_forward(neuron, weight, bias, inputs)
    plain = spiking_layer_backward(neuron, weight, bias, inputs, charged, adjoint)

    def strided(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, array], axis=-1)[..., : array.shape[-1]]  # no view of it is (T, B N)

    again = spiking_layer_backward(
        neuron,
        strided(weight),
        bias,
        strided(inputs),
        strided(charged),
        strided(adjoint),
        overwrite_charged=True,
    )
    for ours, theirs in zip(again, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.ones(3)}, r"weight: expected shape \(M, N\), got \(3,\)"),
        ({"bias": np.ones(3)}, r"bias: expected shape \(4,\), got \(3,\)"),
        ({"inputs": np.ones((T, B, 3))}, r"inputs: expected shape \(T, B, 4\), got \(9, 2, 3\)"),
        ({"charged": np.ones((T, 1, 4))}, r"charged: expected shape \(9, 2, 4\), got \(9, 1, 4\)"),
        ({"spike_adjoint": np.ones((1, B, 4))}, r"spike_adjoint: expected shape \(9, 2, 4\)"),
        ({"spike_adjoint": np.ones((T, B, 4), np.float32)}, "spike_adjoint: expected dtype float64"),
        ({"window": -1}, "window: expected an integer of at least 0, got -1"),
        ({"backend": "gpu"}, "backend: expected one of"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    neuron = NEURONS[0]
    weight, bias, inputs, adjoint = case(neuron, (4, 4), 5)
    _, charged = spiking_layer_forward(neuron, weight, bias, inputs)
    arguments = {
        "weight": weight, "bias": bias, "inputs": inputs, "charged": charged, "spike_adjoint": adjoint,
    }  # fmt: skip
    with pytest.raises((TypeError, ValueError), match=message):
        spiking_layer_backward(neuron, **arguments | change)
