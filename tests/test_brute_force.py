"""The dense Jacobian, on neurons whose Jacobian is known, and a wrong one that it must reject."""

from dataclasses import replace

import numpy as np
import pytest

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SMOOTH_SPIKES, Surrogate
from refsnn.oracles.brute_force import neuron_jacobian

STEP = 1e-30


@pytest.mark.parametrize("leak", [0.0, 0.5, 1.0])
def test_a_linear_neuron_has_a_toeplitz_jacobian(leak):
    neuron = SpikingNeuron(leak=leak, surrogate=Surrogate("constant", height=0.7))
    lag = np.subtract.outer(np.arange(6), np.arange(6))
    expected = 0.7 * np.where(lag >= 0, leak ** np.maximum(lag, 0.0), 0.0)
    found = neuron_jacobian(neuron, np.random.default_rng(0).normal(size=(6, 2)))
    np.testing.assert_allclose(found, np.repeat(expected[:, :, None], 2, axis=2), rtol=1e-15)


def smooth_jacobian(neuron: SpikingNeuron, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Charged potentials and ds_u/dI_t of the same neuron with a smooth spike, by complex step."""
    surrogate, columns = neuron.surrogate, []
    for t in range(len(current)):
        kicked = current + 1j * STEP * (np.arange(len(current)) == t)[:, None]
        v, spikes, charged = np.full(current.shape[1], neuron.reset_value + 0j), [], []
        for step in kicked:
            h = neuron.leak * v + step
            s = SMOOTH_SPIKES[surrogate.shape](h - neuron.threshold, surrogate.slope, surrogate.height, 1.0)
            v = h - neuron.threshold * (s.real if neuron.detach_reset else s)
            spikes.append(s.imag / STEP)
            charged.append(h.real)
        columns.append(spikes)
    return np.array(charged), np.swapaxes(columns, 0, 1)


@pytest.mark.parametrize("detached", [True, False])
def test_a_smooth_neuron_by_complex_step(detached):
    neuron = SpikingNeuron(leak=0.8, detach_reset=detached)
    charged, truth = smooth_jacobian(neuron, np.random.default_rng(1).normal(0.6, 0.5, (5, 3)))
    np.testing.assert_allclose(neuron_jacobian(neuron, charged), truth, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "wrong", [{"detach_reset": False}, {"leak": 0.81}, {"reset": "hard"}, {"threshold": 1.01}]
)
def test_a_wrong_neuron_is_rejected(wrong):
    neuron = SpikingNeuron(leak=0.8)
    charged, truth = smooth_jacobian(neuron, np.random.default_rng(1).normal(0.6, 0.5, (5, 3)))
    found = neuron_jacobian(replace(neuron, **wrong), charged)
    assert np.abs(found - truth).max() > 1e-3 * np.abs(truth).max()


def test_bad_input():
    with pytest.raises(TypeError, match=r"^charged: expected dtype float64"):
        neuron_jacobian(SpikingNeuron(), np.zeros((3, 1), np.float32))
    with pytest.raises(ValueError, match=r"^charged: expected shape"):
        neuron_jacobian(SpikingNeuron(), np.zeros(3))
