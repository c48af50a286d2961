"""Backpropagation through time: the yardstick.  Gives up nothing, and keeps every step of the run.

For the recursion s_t = F(x_t, s_{t-1}, theta) with L = loss(s_T, y), and lambda_t = dL/ds_t,

    lambda_T = dloss/ds_T,
    lambda_{t-1} = (dF/ds)^T lambda_t,          linearised at s_{t-1}, where the step started,
    dL/dtheta = sum_t (dF/dtheta)^T lambda_t.

`bptt_over_steps` is just that, for any model.  For a spiking graph without delayed edges `bptt` takes each
node with all its time steps at once: what stands between populations is linear in space, and a population
runs back through time with the charged potential as the only thing kept (Yu 2024, Eq. 2),

    dL/dh_t = psi(h_t) dL/ds_t + leak dv/dh dL/dh_{t+1},    dL/dI_t = dL/dh_t,    dL/dW = sum_t dL/dI_t z_t^T.

"Gradient" means surrogate gradient there: the derivative of a spike is the surrogate psi.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.algorithms.layerwise import Normalised, flat, layerwise_gradient
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.algorithms.stepwise import stepwise_gradient
from refsnn.kernels import spiking_kernels
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.contract import Model, Parameters, zeros_like
from refsnn.models.edges import ALL_EDGES, Edges
from refsnn.models.operators.normalisation import BatchNormalisation, normalised_vjp, scaled_vjp
from refsnn.models.operators.operator import Weights
from refsnn.models.spiking_graph import Population, SpikingGraph
from refsnn.models.workspace import Empty, Workspace, empty_in


def bptt(
    model: Model | SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    window: int | None = None,
    backend: str = "cpu",
    workspace: Workspace | None = None,
) -> GradientResult:
    """Gradient of the loss after all steps, by backpropagation through time.

    Parameters
    ----------
    model : Model or SpikingGraph
        The network.
    parameters : dict of str to ndarray
        As `model.parameter_shapes()` says.
    inputs : ndarray, (T, B, ...), or StaticInput
        What each step sees.
    targets : ndarray
        Labels (B,) or real targets, as the model's loss needs them.
    window : int, optional
        Cut the state's gradient every so many steps, counted from the end; None never cuts
        (see `truncated_bptt`).
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons of a spiking network.
    workspace : Workspace, optional
        Memory for the large arrays of a spiking graph, which a training keeps from call to call; the result
        is the same.

    Returns
    -------
    GradientResult
        Loss, gradients keyed like the parameters, diagnostics.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> result = bptt(stack, stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2])
    >>> result.gradients["layer.1.weight"].shape, result.diagnostics.steps_executed
    ((8, 4), 5)
    """
    if isinstance(model, SpikingGraph):
        kernels, cut = spiking_kernels(backend), _checked_window(window) or 0
        empty = empty_in(workspace)
        if model.delayed:
            return stepwise_gradient(model, parameters, inputs, targets, kernels, cut)
        return layerwise_gradient(
            model,
            parameters,
            inputs,
            targets,
            lambda steps, dtype: Steps(steps, dtype, kernels, model.edges, cut, empty),
            window=cut,
            empty=empty,
        )
    if isinstance(model, AdaptiveSpikingNetwork) and _checked_window(window) is None:
        return adaptive_bptt(model, parameters, inputs, targets, backend=backend)
    return bptt_over_steps(model, parameters, inputs, targets, window=window)


def bptt_over_steps(
    model: Model, parameters: Parameters, inputs: Any, targets: Any, *, window: int | None = None
) -> GradientResult:
    """BPTT over the model contract, step by step; keeps every state.

    Parameters
    ----------
    model : Model
        The network.
    parameters, inputs, targets, window
        As in `bptt`.

    Returns
    -------
    GradientResult
        Loss, gradients keyed like the parameters, diagnostics.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> arguments = stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2]
    >>> by_steps = bptt_over_steps(stack, *arguments).gradients["layer.1.weight"]
    >>> bool(np.allclose(by_steps, bptt(stack, *arguments).gradients["layer.1.weight"], rtol=1e-12))
    True
    """
    checks.instance("model", model, Model, "dense_network((64, 32, 10))")
    window = _checked_window(window)
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    steps, batch = len(inputs), len(inputs[0])
    states = [model.initial_state(parameters, batch)]
    for t in range(steps):
        states.append(model.step(parameters, states[-1], inputs[t]))

    adjoint, direct = model.loss_gradient(parameters, states[-1], targets, steps)
    gradients = zeros_like(parameters) | direct
    uncut = getattr(model, "uncut", model.accumulators)
    for t in reversed(range(steps)):
        adjoint, share = model.step_vjp(parameters, states[t], inputs[t], adjoint)
        for name, value in share.items():
            gradients[name] += value
        if window and (steps - t) % window == 0:
            adjoint = {
                name: value if name in uncut else np.zeros_like(value) for name, value in adjoint.items()
            }
    return GradientResult(
        loss=model.loss(parameters, states[-1], targets, steps),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=steps,
            bytes_kept=sum(value.nbytes for state in states for value in state.values()),
            outputs=model.outputs(parameters, states[-1], steps),
        ),
    )


class Steps:
    """All T steps: backpropagation through time, with switches on the edges of time.

    Parameters
    ----------
    steps : int
        T.
    dtype : dtype
        Of the parameters.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    edges : Edges
        Which edges of time the gradient uses.
    window : int
        Cut the gradient along all potentials every so many steps from the end; 0 nowhere.
    empty : callable
        Makes arrays (T, B, ...), as `numpy.empty` does.
    """

    pointwise, basis, scale = True, None, 1.0

    def __init__(
        self,
        steps: int,
        dtype: np.dtype,
        kernels: ModuleType,
        edges: Edges = ALL_EDGES,
        window: int = 0,
        empty: Empty = np.empty,
    ) -> None:
        self.steps, self.kernels, self.edges, self.window = steps, kernels, edges, window
        self.empty = empty
        self.constant = np.ones(steps, dtype)
        self.charged: dict[str, np.ndarray] = {}
        self.margins: list[float] = []

    @property
    def kept(self) -> list[np.ndarray]:
        """The charged potentials."""
        return list(self.charged.values())

    def coefficients(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """The sequence itself."""
        return sequence

    def run(self, name: str, population: Population, current: np.ndarray) -> np.ndarray:
        """Spikes; the charged potential is kept, over the current."""
        neuron = population.neuron
        spikes = self.empty(current.shape, current.dtype)
        potential = np.full(current[0].size, neuron.reset_value, current.dtype)
        self.kernels.forward(neuron, flat(current), potential, flat(current), flat(spikes))
        self.charged[name] = current
        threshold = current.dtype.type(neuron.threshold)
        self.margins.append(min(float(np.abs(one - threshold).min()) for one in current))
        return spikes

    def value(self, name: str, population: Population) -> np.ndarray:
        """Spikes once more, from the charged potential."""
        charged, neuron = self.charged[name], population.neuron
        constants, spikes = neuron.constants(charged.dtype), self.empty(charged.shape, charged.dtype)
        for spike, h in zip(spikes, charged, strict=True):
            spike[...] = neuron.equations.fire(h, constants.threshold, constants.one)
        return spikes

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """The adjoint of the neuron's recursion, back through time; over the charged potential."""
        neuron, charged = self.edges.neuron(name, population.neuron), self.charged.pop(name)
        potential_adjoint = np.zeros(charged[0].size, charged.dtype)
        window = min(self.window, self.steps) if self.edges.has_leak(name) else 1
        arrays = flat(charged), flat(np.ascontiguousarray(adjoint)), potential_adjoint, flat(charged)
        self.kernels.backward(neuron, *arrays, window)
        return charged

    def normal(
        self,
        name: str,
        operator: BatchNormalisation,
        kept: Normalised,
        current: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """What was kept on the way up."""
        return kept.normal

    def normalisation_vjp(
        self,
        name: str,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """The exact vjp of each group of steps that was normalised together."""
        joined = adjoint.reshape(-1, *adjoint.shape[2:])
        by_normal, by_gain, by_bias = scaled_vjp(joined, kept.normal.reshape(joined.shape), weights["gamma"])
        groups = len(kept.spread)
        grouped = groups, -1, *adjoint.shape[2:]
        by_current = [
            normalised_vjp(*group)
            for group in zip(
                by_normal.reshape(grouped), kept.normal.reshape(grouped), kept.spread, strict=True
            )
        ]
        return np.stack(by_current).reshape(adjoint.shape), {"gamma": by_gain, "beta": by_bias}


def _checked_window(window: int | None) -> int | None:
    return None if window is None else checks.count("window", window)
