"""4.1.duality: an exponential filter on the error, run backwards, is the same filter on the input, run forwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import spiking_kernels
from validation.claims.ottt.rates import traces
from validation.claims.rate_backpropagation.equalities import EXACT, SMOOTH, random_neuron
from validation.ledger import Measured, claim, require
from validation.nets import worst_error


def correlation(errors: np.ndarray, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """sum_t p[t] z[t]^T."""
    return {"weight": np.einsum("to,ti->oi", errors, inputs)}


def backward_filter(errors: np.ndarray, leak: float) -> np.ndarray:
    """p[t] = g[t] + leak p[t+1]."""
    return traces(errors[::-1], leak)[::-1]


def lagging(inputs: np.ndarray, leak: float) -> np.ndarray:
    """The trace without the current input: that of the step before, decayed."""
    return traces(inputs, leak) - inputs


@claim(
    "ottt/4.1.duality",
    r"If $p[t]=g[t]+\lambda\,p[t+1]$ then $\sum_tp[t]\,z[t]^\top=\sum_tg[t]\,\hat z[t]^\top$ with "
    r"$\hat z[t]=\lambda\hat z[t-1]+z[t]$: the leak of the error, run backwards, is a trace of the input, run forwards. So it is with "
    r"$p$ the adjoint of a layer of spiking neurons with detached reset, $g=\psi\odot\partial L/\partial s$ and $z$ the spikes from below.",
    source="Xiao 2022, Eqs. 3-4; specification, section 4.1",
    metric=r"largest relative error of the weight gradient, random sequences and layers of neurons, compiled and plain backward pass",
    relation="<=",
    bound=EXACT,
    control=r"a trace that does not hold the current input; and the adjoint of neurons whose reset is not detached",
)
def duality(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for leak in (0.0, 0.5, 1.0, float(rng.uniform(0, 1)), float(rng.uniform(0, 1))):
        errors, inputs = rng.standard_normal((20, 6)), rng.standard_normal((20, 9))
        truth = correlation(backward_filter(errors, leak), inputs)
        values.append(worst_error(correlation(errors, traces(inputs, leak)), truth))
        controls.append(worst_error(correlation(errors, lagging(inputs, leak)), truth))

        base = random_neuron(rng, SpikingNeuron(), SMOOTH)
        neuron = replace(base, leak=max(leak, 0.1))  # without a leak no reset is felt, detached or not
        spikes = (rng.random((20, 9)) < 0.4).astype(float)
        through_time, live, instantaneous = neuron_adjoints(rng, neuron, spikes)
        traced = correlation(instantaneous, traces(spikes, neuron.leak))
        values += [worst_error(traced, correlation(adjoint, spikes)) for adjoint in through_time]
        controls.append(worst_error(traced, correlation(live, spikes)))
    return Measured(max(values), min(controls))


def neuron_adjoints(
    rng: np.random.Generator, neuron: SpikingNeuron, spikes: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """dL/dI of a layer above `spikes` with reset detached (both backends) and live, and g, each (T, 12)."""
    current = spikes @ rng.normal(0.15, 0.3, (12, 9)).T * neuron.threshold
    charged, fired, potential = np.empty_like(current), np.empty_like(current), np.zeros(12)
    spiking_kernels("cpu").forward(neuron, current, potential, charged, fired)
    require(0.05 < fired.mean() < 0.95, f"the rate is {fired.mean():.2f}")
    from_above = rng.standard_normal(fired.shape)

    def adjoint(neuron: SpikingNeuron, backend: str) -> np.ndarray:
        found = np.empty_like(charged)
        spiking_kernels(backend).backward(neuron, charged, from_above, np.zeros(12), found, 0)
        return found

    surrogate = neuron.surrogate
    slope = neuron.equations.surrogate(charged - neuron.threshold, surrogate.slope, surrogate.height, 1.0)
    detached = [adjoint(replace(neuron, detach_reset=True), backend) for backend in ("cpu", "plain")]
    return detached, adjoint(replace(neuron, detach_reset=False), "cpu"), slope * from_above
