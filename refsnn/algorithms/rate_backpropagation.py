"""Rate-based backpropagation (Yu et al., NeurIPS 2024).  Gives up the time resolution of the error.

The T steps are simulated forward without a tape; each neuron keeps two averages, its rate and its "rate
Jacobian" (Eqs. 8, 9):

    e = mean_t s_t,     g = mean_t psi_t rho_t,     rho_1 = 1,  rho_{t+1} = 1 + f_t rho_t,

where f_t = dh_{t+1}/dh_t.  Then one spatial pass through the averaged network gives every gradient
(Eqs. 3, 6, 7), with d^L = (1/T) dl/do at the readout:

    dW^l = d^l (e^{l-1})^T,     d^{l-1} = g^{l-1} * (W^l)^T d^l.

In one sentence: it is the exact chain rule for perturbations of each layer's current that are constant
in time.  The factor 1/T is the paper's and its code's; T times the result is what approximates BPTT
(`scale="bptt"`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.layerwise import layerwise_gradient
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.algorithms.timekeeping import Rates
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from refsnn.models.sequences import as_sequence, linear
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_stack import DenseSpikingStack, Inputs

MODES = ("multi_step", "single_step")
SCALES = ("paper", "bptt")


@dataclass(frozen=True)
class RateRecord:
    """All that the forward simulation leaves behind; its size does not depend on T.

    Attributes
    ----------
    rates : dict of str to ndarray
        e of each layer, (B, n_l): `input` (the time mean of the input), `layer.1`, ...
    slopes : dict of str to ndarray
        g of each spiking layer, (B, n_l): the diagonal of the rate Jacobian.
    outputs : ndarray, (B, classes)
        The readout averaged over time.
    margin : float or None
        Smallest distance of a charged potential to the threshold; None without a spiking layer.
    """

    rates: dict[str, np.ndarray]
    slopes: dict[str, np.ndarray]
    outputs: np.ndarray
    margin: float | None

    @property
    def nbytes(self) -> int:
        """Bytes of rates and slopes."""
        return sum(array.nbytes for array in (*self.rates.values(), *self.slopes.values()))


def rate_backpropagation(
    model: DenseSpikingStack | SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    mode: str = "multi_step",
    scale: str = "paper",
    step_statistics: str = "mean",
    input_rate: str = "mean",
    backend: str = "cpu",
) -> GradientResult:
    """Gradient by one backward pass over rates.

    Parameters
    ----------
    model : DenseSpikingStack or SpikingGraph
        The network; a graph in the multi-step mode only.
    parameters : dict of str to ndarray
        As `model.parameter_shapes()` says.
    inputs : ndarray, (T, B, n_0), or StaticInput
        Network input.  A static image is the same at every step ("direct encoding"), never sampled.
    targets : ndarray
        Labels (B,) or real targets (B, classes), by the model's loss.
    mode : {"multi_step", "single_step"}
        T loop inside each layer, or outside the network; without normalisation the same gradient.
    scale : {"paper", "bptt"}
        With the paper's 1/T on the gradient, or without it.
    step_statistics : {"mean", "last", "exact"}
        What the rate pass makes of normalisation by statistics of each step (BN-S): their averages, the last
        step's as the official code does, or the paper's formula taken literally, in memory O(T).
    input_rate : {"mean", "last"}
        What the rate pass sees of the input: its time mean, or the last frame as the official code does in
        its single-step mode.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.

    Returns
    -------
    GradientResult
        The loss is not scaled; `bytes_kept` counts rates and slopes.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.models.contract import StaticInput
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> arguments = stack.initialise(rng, gain=3.0), StaticInput(rng.random((2, 4)), steps=5), [0, 2]
    >>> rate = rate_backpropagation(stack, *arguments, scale="bptt")
    >>> from refsnn.algorithms.bptt import bptt
    >>> whole = bptt(stack, *arguments)  # one hidden layer, static input: the two are equal
    >>> bool(np.allclose(rate.gradients["layer.1.weight"], whole.gradients["layer.1.weight"], rtol=1e-12))
    True
    """
    checks.choice("mode", mode, MODES)
    checks.choice("scale", scale, SCALES)
    if isinstance(model, SpikingGraph):
        return _on_a_graph(
            model,
            parameters,
            inputs,
            targets,
            mode,
            scale,
            spiking_kernels(backend),
            step_statistics,
            input_rate,
        )
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    simulate = simulate_multi_step if mode == "multi_step" else simulate_single_step
    record = simulate(model, parameters, inputs, spiking_kernels(backend))

    loss_function, loss_gradient = LOSSES[model.loss_function]
    readout_adjoint = loss_gradient(record.outputs, targets)
    if scale == "paper":
        readout_adjoint /= len(inputs)
    return GradientResult(
        loss=float(loss_function(record.outputs, targets)),
        gradients=rate_backward(model, parameters, record.rates, record.slopes, readout_adjoint),
        diagnostics=Diagnostics(
            steps_executed=len(inputs),
            bytes_kept=record.nbytes,
            outputs=record.outputs,
            spike_rates={name: float(record.rates[name].mean()) for name in record.slopes},
            margin=record.margin,
        ),
    )


def _on_a_graph(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    mode: str,
    scale: str,
    kernels: ModuleType,
    step_statistics: str,
    input_rate: str,
) -> GradientResult:
    """Either mode on any graph: one coefficient, the average, in a layer-wise pass."""
    return layerwise_gradient(
        graph,
        parameters,
        inputs,
        targets,
        lambda steps, dtype: Rates(steps, dtype, kernels, graph.edges, step_statistics, input_rate),
        scale=1 / len(inputs) if scale == "paper" else 1.0,
        block=1 if mode == "single_step" else None,
    )


def simulate_multi_step(
    model: DenseSpikingStack, parameters: Parameters, inputs: Inputs, kernels: ModuleType
) -> RateRecord:
    """Algorithm 1, activation based: each layer runs through all T steps before the next one starts.

    Parameters
    ----------
    model : DenseSpikingStack
        The network.
    parameters, inputs
        Checked by `model.check`.
    kernels : module
        One of the backends, see `refsnn.kernels.spiking_kernels`.

    Returns
    -------
    RateRecord
        Averages over time.
    """
    sequence = as_sequence(inputs)
    steps = sequence.shape[0]
    rates, slopes, margins = {"input": sequence.mean(axis=0)}, {}, []
    for index in model.hidden:
        name = f"layer.{index}"
        current = linear(sequence, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
        neurons = _RunningNeurons(model, current.shape[1:], current.dtype)
        sequence = neurons.run(current, kernels)
        rates[name], slopes[name] = neurons.spike_sum / steps, neurons.slope_sum / steps
        margins.append(float(neurons.margin.min()))
    top = list(rates.values())[-1]
    return RateRecord(rates, slopes, model.mean_readout(parameters, top), min(margins, default=None))


def simulate_single_step(
    model: DenseSpikingStack, parameters: Parameters, inputs: Inputs, kernels: ModuleType
) -> RateRecord:
    """Algorithm 1, time based: the whole network does one step after the other, in memory O(1) in T.

    Parameters
    ----------
    model : DenseSpikingStack
        The network.
    parameters, inputs
        Checked by `model.check`.
    kernels : module
        One of the backends, see `refsnn.kernels.spiking_kernels`.

    Returns
    -------
    RateRecord
        Averages over time.
    """
    steps, (batch, _) = len(inputs), inputs[0].shape
    dtype = parameters["readout.bias"].dtype
    neurons = {
        f"layer.{index}": _RunningNeurons(model, (batch, model.widths[index]), dtype)
        for index in model.hidden
    }
    input_sum = np.zeros((batch, model.widths[0]), dtype)
    output_sum = np.zeros((batch, model.widths[-1]), dtype)
    for t in range(steps):
        spikes = np.ascontiguousarray(inputs[t])[None]
        input_sum += spikes[0]
        for name, layer in neurons.items():
            current = linear(spikes, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
            spikes = layer.run(current, kernels)
        output_sum += spikes[0] @ parameters["readout.weight"].T + parameters["readout.bias"]
    rates = {"input": input_sum / steps} | {name: layer.spike_sum / steps for name, layer in neurons.items()}
    slopes = {name: layer.slope_sum / steps for name, layer in neurons.items()}
    margins = [float(layer.margin.min()) for layer in neurons.values()]
    return RateRecord(rates, slopes, output_sum / steps, min(margins, default=None))


def rate_backward(
    model: DenseSpikingStack,
    parameters: Parameters,
    rates: Mapping[str, np.ndarray],
    slopes: Mapping[str, np.ndarray],
    readout_adjoint: np.ndarray,
) -> Parameters:
    """One pass down the averaged network (Eqs. 3 and 7).

    Parameters
    ----------
    model : DenseSpikingStack
        The network.
    parameters : dict of str to ndarray
        Weights are used, values of biases are not.
    rates, slopes : dict of str to ndarray
        e and g of a `RateRecord`.
    readout_adjoint : ndarray, (B, classes)
        dL/dc^L.

    Returns
    -------
    dict of str to ndarray
        Gradients keyed like the parameters.
    """
    adjoint = readout_adjoint
    gradients = {}
    for name, below in reversed(list(zip([*slopes, "readout"], rates, strict=True))):
        gradients[f"{name}.weight"] = adjoint.T @ rates[below]
        gradients[f"{name}.bias"] = adjoint.sum(axis=0)
        if below != "input":
            adjoint = slopes[below] * (adjoint @ parameters[f"{name}.weight"])
    return {name: gradients[name] for name in parameters}


class _RunningNeurons:
    """One layer's state and sums between calls of the rate kernel."""

    def __init__(self, model: DenseSpikingStack, shape: tuple[int, ...], dtype: Any) -> None:
        self.neuron = model.neuron
        self.potential = np.full(shape, self.neuron.reset_value, dtype)
        self.trace = np.ones(shape, dtype)
        self.slope_sum = np.zeros(shape, dtype)
        self.spike_sum = np.zeros(shape, dtype)
        self.margin = np.full(shape, np.inf, dtype)

    def run(self, current: np.ndarray, kernels: ModuleType) -> np.ndarray:
        """Advance by the steps of `current`, (T, B, n); the spikes are written over it."""
        flat = current.reshape(current.shape[0], -1)
        state = (self.potential, self.trace, self.slope_sum, self.spike_sum, self.margin)
        kernels.rate_forward(self.neuron, flat, *(array.reshape(-1) for array in state), flat)
        return current
