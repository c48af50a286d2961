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

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.layerwise import Normalised, Pass, blocks, check_leaks, flat, layerwise_gradient
from refsnn.algorithms.result import GradientResult
from refsnn.equations.official_trace import OfficialTraceNeuron
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.edges import ALL_EDGES, Edges
from refsnn.models.operators.normalisation import BatchNormalisation, normalised, scaled_vjp
from refsnn.models.operators.operator import Weights
from refsnn.models.operators.rate_normalisation import exact_rate_vjp, rate_statistics, rate_vjp
from refsnn.models.spiking_graph import INPUT, Population, SpikingGraph, check_graph
from refsnn.models.workspace import Workspace, empty_in

MODES = ("multi_step", "single_step")
SCALES = ("paper", "bptt")
STEP_STATISTICS = ("mean", "last", "exact")


def rate_backpropagation(
    model: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    mode: str = "multi_step",
    scale: str = "paper",
    step_statistics: str = "mean",
    input_rate: str = "mean",
    trace_factor: str = "exact",
    backend: str = "cpu",
    workspace: Workspace | None = None,
) -> GradientResult:
    """Gradient by one backward pass over rates.

    Parameters
    ----------
    model : SpikingGraph
        The network.
    parameters : dict of str to ndarray
        As `model.parameter_shapes()` says.
    inputs : ndarray, (T, B, n_0), or StaticInput
        Network input.  A static image is the same at every step ("direct encoding"), never sampled.
    targets : ndarray
        Labels (B,) or real targets (B, classes), by the model's loss.
    mode : {"multi_step", "single_step"}
        T loop inside each layer, or outside the network ("activation based", "time based" in Algorithm 1).
        The same gradient; the second keeps no array of length T, and cannot normalise over the sequence.
    scale : {"paper", "bptt"}
        With the paper's 1/T on the gradient, or without it.
    step_statistics : {"mean", "last", "exact"}
        What the rate pass makes of normalisation by statistics of each step (BN-S): their averages, the last
        step's as the official code does, or the paper's formula taken literally, in memory O(T).
    input_rate : {"mean", "last"}
        What the rate pass sees of the input: its time mean, or the last frame as the official code does in
        its single-step mode.
    trace_factor : {"exact", "official"}
        f_t = dh_{t+1}/dh_t, or what stands for it in the official code; see
        `refsnn.equations.official_trace`.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.
    workspace : Workspace, optional
        Memory for large arrays, kept from call to call; the result is the same.

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
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
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
    kernels = spiking_kernels(backend)
    return layerwise_gradient(
        model,
        parameters,
        inputs,
        targets,
        lambda steps, dtype: Rates(
            steps, dtype, kernels, model.edges, scale, step_statistics, input_rate, trace_factor
        ),
        block=1 if mode == "single_step" else None,
        empty=empty_in(workspace),
    )


@dataclass(frozen=True)
class RateRecord:
    """All that the forward simulation leaves behind; its size does not depend on T.

    Attributes
    ----------
    rates : dict of str to ndarray
        e of the input (its time mean, under "input") and of each population, (B, ...).
    slopes : dict of str to ndarray
        g of each population, (B, ...): the diagonal of the rate Jacobian.
    """

    rates: dict[str, np.ndarray]
    slopes: dict[str, np.ndarray]


def simulate(
    model: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    *,
    mode: str = "multi_step",
    backend: str = "cpu",
) -> RateRecord:
    """The forward simulation of Algorithm 1: rates and rate Jacobians.

    Parameters
    ----------
    model, parameters, inputs, mode, backend
        As in `rate_backpropagation`.

    Returns
    -------
    RateRecord

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> record = simulate(stack, stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)))
    >>> sorted(record.rates), record.slopes["layer.1"].shape
    (['input', 'layer.1'], (2, 8))
    """
    block = 1 if checks.choice("mode", mode, MODES) == "single_step" else None
    parameters, inputs = check_graph(model).check_inputs(parameters, inputs)
    steps, dtype = len(inputs), next(iter(parameters.values())).dtype
    rates = Rates(steps, dtype, spiking_kernels(backend), model.edges)
    run = Pass(model, parameters, rates)
    for piece in blocks(model, inputs, block):
        run.up(piece)
    return RateRecord(
        {name: run.value(name)[0] for name in (INPUT, *rates.running)},
        {name: neurons.slopes / dtype.type(steps) for name, neurons in rates.running.items()},
    )


class Rates:
    """One average: rate-based backpropagation.

    A coefficient is a mean over time, so a constant is worth 1.  Sums are added to block by block, so that
    steps may come one at a time.

    Parameters
    ----------
    steps : int
        T.
    dtype : dtype
        Of the parameters.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    edges : Edges
        Of which only resets may be switched.
    scale : {"paper", "bptt"}
        With the paper's 1/T on the error, or without it.
    step_statistics : {"mean", "last", "exact"}
        What the rate pass makes of statistics that were taken step by step (BN-S).
    input_rate : {"mean", "last"}
        What it sees of the input: the time mean, or the last frame as the official single-step code does.
    trace_factor : {"exact", "official"}
        f_t, or what the official code has for it.

    Raises
    ------
    ValueError
        For an unknown option, or a leak that is cut.
    """

    pointwise = True

    def __init__(
        self,
        steps: int,
        dtype: np.dtype,
        kernels: ModuleType,
        edges: Edges = ALL_EDGES,
        scale: str = "paper",
        step_statistics: str = "mean",
        input_rate: str = "mean",
        trace_factor: str = "exact",
    ) -> None:
        checks.choice("trace_factor", trace_factor, ("exact", "official"))
        checks.choice("scale", scale, SCALES)
        checks.choice("step_statistics", step_statistics, STEP_STATISTICS)
        checks.choice("input_rate", input_rate, ("mean", "last"))
        check_leaks(edges)
        self.steps, self.kernels, self.edges = steps, kernels, edges
        # the error of an average is that of all its steps together; the paper takes 1/T of it
        self.basis = np.broadcast_to(dtype.type(1), (1, steps))
        self.scale = 1 / steps if scale == "paper" else 1.0
        self.step_statistics, self.input_rate = step_statistics, input_rate
        self.trace_factor = trace_factor
        self.constant = np.ones(1, dtype)
        self.running: dict[str, RunningNeurons] = {}
        self.sums: dict[str, np.ndarray] = {}
        self.normals: dict[str, list[np.ndarray]] = {}

    @property
    def margins(self) -> list[float]:
        """Of each population."""
        return [float(neurons.margin.min()) for neurons in self.running.values()]

    @property
    def kept(self) -> list[np.ndarray]:
        """The sums of spikes and slopes, and what "exact" normalisation needs."""
        exact = [array for arrays in self.normals.values() for array in arrays]
        return exact + [sums for one in self.running.values() for sums in (one.spikes, one.slopes)]

    def coefficients(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """The mean over time of the steps so far; while they last, of T."""
        if name == INPUT and self.input_rate == "last":
            return sequence[-1:].copy()
        if name != INPUT and self.step_statistics == "exact":
            self.normals.setdefault(name, []).append(sequence)
        total = sequence.sum(axis=0, keepdims=True)
        self.sums[name] = self.sums[name] + total if name in self.sums else total
        return self.sums[name] / total.dtype.type(self.steps)

    def run(self, name: str, population: Population, current: np.ndarray) -> np.ndarray:
        """Spikes over the current; sums that become the rate e and the rate Jacobian g are kept."""
        if name not in self.running:
            neuron = self.edges.neuron(name, population.neuron)
            if self.trace_factor == "official":
                neuron = OfficialTraceNeuron(**vars(neuron))
            self.running[name] = RunningNeurons(neuron, current.shape[1:], current.dtype)
        self.running[name].run(current, self.kernels)
        return current

    def value(self, name: str, population: Population) -> np.ndarray:
        """The rate e = 1/T sum_t s_t: exactly k/T."""
        total = self.running[name].spikes[None]
        return total / total.dtype.type(self.steps)

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """d_c = g d_r."""
        return self.running[name].slopes / adjoint.dtype.type(self.steps) * adjoint

    def normal(
        self,
        name: str,
        operator: BatchNormalisation,
        kept: Normalised,
        current: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """c^ = (c - mu_r) / sqrt(V_r): behind max pooling not the mean of what was normalised."""
        if self._is_exact(operator):
            return kept.normal
        return normalised(current()[0], *self._statistics(operator, kept))[None]

    def normalisation_vjp(
        self,
        name: str,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """Value replacement: the statistics keep their values, and move with c."""
        normal = self.normal(name, operator, kept, current)[0]
        by_normal, by_gain, by_bias = scaled_vjp(adjoint[0], normal, weights["gamma"])
        gradients = {"gamma": by_gain, "beta": by_bias}
        if self._is_exact(operator):
            normals = np.concatenate(self.normals[name])
            return exact_rate_vjp(by_normal, normals, kept.spread)[None], gradients
        _, spread = self._statistics(operator, kept)
        return rate_vjp(by_normal, current()[0], normal, spread, operator.epsilon)[None], gradients

    def _is_exact(self, operator: BatchNormalisation) -> bool:
        return operator.over == "step" and self.step_statistics == "exact"

    def _statistics(self, operator: BatchNormalisation, kept: Normalised) -> tuple[np.ndarray, np.ndarray]:
        """mu_r and V_r."""
        option = self.step_statistics if operator.over == "step" else "joint"
        return rate_statistics(option, kept.mean, kept.variance, operator.epsilon)


class RunningNeurons:
    """State and sums of a population between calls of the rate kernel.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    shape : tuple of int
        (B, ...).
    dtype : dtype
        Of the parameters.
    """

    def __init__(self, neuron: SpikingNeuron, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.neuron = neuron
        self.potential = np.full(shape, neuron.reset_value, dtype)
        self.trace = np.ones(shape, dtype)
        self.slopes = np.zeros(shape, dtype)
        self.spikes = np.zeros(shape, dtype)
        self.margin = np.full(shape, np.inf, dtype)

    def run(self, current: np.ndarray, kernels: ModuleType) -> None:
        """Advance by the steps of `current`, (T, B, ...); spikes are written over it, and sums added to."""
        state = self.potential, self.trace, self.slopes, self.spikes, self.margin
        kernels.rate_forward(
            self.neuron, flat(current), *(array.reshape(-1) for array in state), flat(current)
        )
