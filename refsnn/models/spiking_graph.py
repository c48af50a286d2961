"""Deep spiking networks: populations of neurons, with operators between them.

A network is a list of nodes in an order in which each reads what stands before it: operators (dense,
convolution, pooling, normalisation, ...), sums of branches, and populations of spiking neurons; what is
delayed may read what stands behind it.  The last node is the linear read-out.

    I_t = (operators)(s_t of the populations below, s_{t-1} where delayed),
    s_t, v_t = neuron(I_t, v_{t-1}),
    y_t = readout_leak y_{t-1} + o_t,    loss = l(mean_t y_t)  or  (1/T) sum_t l(y_t).

Without delays a population looks back only at its own potential: then each node can take all its time steps
at once (`algorithms.layerwise`).  `step` and its derivatives, which any graph has, do one time step of the
whole network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels import spiking_kernels
from refsnn.models import spiking_step, spiking_tangent
from refsnn.models.contract import Parameters, State, zeros_like
from refsnn.models.losses import LOSSES, mixed_loss, mixed_loss_gradient
from refsnn.models.operators.normalisation import updated_running
from refsnn.models.operators.operator import Weights
from refsnn.models.running_statistics import check_running, check_statistics
from refsnn.models.sequences import LabelledStep, unlabelled
from refsnn.models.spiking_core import SpikingGraphCore
from refsnn.models.spiking_nodes import INPUT, Node, Population, Sum
from refsnn.models.spiking_structure import Inputs, SpikingStructure

__all__ = ["INPUT", "Node", "Population", "SpikingGraph", "Sum", "check_graph"]


@dataclass(frozen=True)
class SpikingGraph(SpikingStructure):
    """A deep spiking network.

    Parameters
    ----------
    nodes : tuple of Node
        In an order in which each reads what stands before it; the last is the read-out.
    input_shape : tuple of int
        Of one sample at one step, (n,) or (C, H, W).
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out; integer labels (B,), or real targets (B, classes).
    loss_over : {"mean_readout", "each_step"}
        l(mean_t y_t), or (1/T) sum_t l(y_t) as online algorithms need it (Xiao 2022, Eq. 5).
    squared_share : float in [0, 1]
        How much of the cross-entropy is replaced by a squared error (Xiao 2022, section 4.1).
    readout_leak : float in [0, 1)
        Of the read-out; 0 has no memory.
    edges : Edges
        Which edges of time a gradient uses; all by default.

    Raises
    ------
    TypeError, ValueError
        If the nodes are no graph, or an operator does not fit what it reads.

    Examples
    --------
    >>> from refsnn.models.operators.dense import Dense
    >>> graph = SpikingGraph(
    ...     (
    ...         Node("layer.1.current", ("input",), Dense(8), prefix="layer.1"),
    ...         Node("layer.1", ("layer.1.current",), Population()),
    ...         Node("readout", ("layer.1",), Dense(3)),
    ...     ),
    ...     input_shape=(4,),
    ... )
    >>> graph.parameter_shapes()["layer.1.weight"], graph.shapes["readout"]
    ((8, 4), (3,))
    """

    # -- the model contract: one time step and its derivatives ---------------------------------------------

    @property
    def accumulators(self) -> frozenset[str]:
        """Running sums of the read-out and of the loss."""
        return frozenset({"readout.sum", "loss.sum"})

    def initial_state(self, parameters: Parameters, batch: int) -> State:
        """Potentials at their reset values; nothing was fed back yet.

        Parameters
        ----------
        parameters : dict of str to ndarray
            For the dtype.
        batch : int
            B.

        Returns
        -------
        dict of str to ndarray
            `<population>.potential` (B, ...); `<node>.before` (B, ...) and `<node>.started` (B,) of what is
            delayed; `readout.sum` (B, classes); `readout.potential` of a leaky read-out, and `loss.sum` (1,)
            where the loss is taken at each step.
        """
        return spiking_step.initial_state(self, next(iter(parameters.values())).dtype, batch)

    def step(self, parameters: Parameters, state: State, inputs: np.ndarray | LabelledStep) -> State:
        """One time step of the whole network."""
        values, targets = unlabelled(inputs)
        following, tape = self._advanced(parameters, state, values)
        if targets is not None:
            following["loss.sum"] = state["loss.sum"] + self.loss_of(tape.outputs, targets)
        return following

    def _advanced(
        self, parameters: Parameters, state: State, values: np.ndarray
    ) -> tuple[State, spiking_step.Tape]:
        return spiking_step.advance(self, self.prepared(parameters), state, values, spiking_kernels("plain"))

    def step_vjp(
        self, parameters: Parameters, state: State, inputs: np.ndarray | LabelledStep, cotangent: State
    ) -> tuple[State, Parameters]:
        """Adjoint of `step`, along the edges that `edges` leaves."""
        values, targets = unlabelled(inputs)
        _, tape = self._advanced(parameters, state, values)
        adjoint = cotangent["readout.sum"]
        if targets is not None:
            adjoint = adjoint + cotangent["loss.sum"] * self.loss_of_gradient(tape.outputs, targets)
        weights, kernels = self.prepared(parameters), spiking_kernels("plain")
        recurrent, gradients = spiking_step.pull_back(
            self, weights, tape, adjoint, cotangent, kernels, self.edges
        )
        past = {name: cotangent[name] for name in self.accumulators if name in cotangent}
        return zeros_like(state) | past | recurrent, zeros_like(parameters) | gradients

    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray | LabelledStep,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Tangent of `step`, along the same edges; tangents may have an axis in front (directions)."""
        values, targets = unlabelled(inputs)
        _, tape = self._advanced(parameters, state, values)
        following, outputs = spiking_tangent.push_forward(
            self, self.prepared(parameters), tape, tangent, parameter_tangent, self.edges
        )
        following["readout.sum"] = tangent["readout.sum"] + outputs
        if targets is not None:
            change = (self.loss_of_gradient(tape.outputs, targets) * outputs).sum(axis=(-2, -1))
            following["loss.sum"] = tangent["loss.sum"] + change[..., None]
        return zeros_like(state) | following

    def working_core(
        self,
        parameters: Parameters,
        inputs: Any,
        targets: Any,
        *,
        backend: str = "cpu",
        input_gradients: bool = False,
    ) -> SpikingGraphCore:
        """One step at a time, for algorithms that run steps again.

        Parameters
        ----------
        parameters, inputs, targets
            As `check` returned them.
        backend : {"plain", "cpu", "cuda"}
            Which kernels run the neurons.
        input_gradients : bool
            False: a graph sends nothing back to its input.

        Returns
        -------
        SpikingGraphCore

        Raises
        ------
        ValueError
            If gradients of the input are asked for.
        """
        if input_gradients:
            raise ValueError(
                "input_gradients: a SpikingGraph sends nothing back to its input; leave input_gradients out"
            )
        return SpikingGraphCore(self, parameters, inputs, targets, backend)

    # -- loss -----------------------------------------------------------------------------------------

    def loss_of(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """l(y), of one step's read-out or of the mean one."""
        if self.squared_share:
            return mixed_loss(outputs, targets, self.squared_share)
        return LOSSES[self.loss_function][0](outputs, targets)

    def loss_of_gradient(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """dl/dy, (B, classes)."""
        if self.squared_share:
            return mixed_loss_gradient(outputs, targets, self.squared_share)
        return LOSSES[self.loss_function][1](outputs, targets)

    def outputs(self, parameters: Parameters, state: State, steps: int) -> np.ndarray:
        """The read-out averaged over time, (B, classes)."""
        return state["readout.sum"] / steps

    def loss(self, parameters: Parameters, state: State, targets: np.ndarray, steps: int) -> float:
        """l(mean_t y_t) or (1/T) sum_t l(y_t), a mean over the batch."""
        if self.loss_over == "each_step":
            return float(state["loss.sum"][0] / steps)
        return float(self.loss_of(self.outputs(parameters, state, steps), targets))

    def loss_gradient(
        self, parameters: Parameters, state: State, targets: np.ndarray, steps: int
    ) -> tuple[State, Parameters]:
        """dL/d(sum of read-outs, or of losses); nothing else of the last state is in the loss."""
        cotangent = zeros_like(state)
        if self.loss_over == "each_step":
            cotangent["loss.sum"] += cotangent["loss.sum"].dtype.type(1 / steps)
        else:
            outputs = self.outputs(parameters, state, steps)
            cotangent["readout.sum"] = self.loss_of_gradient(outputs, targets) / steps
        return cotangent, {}

    def run(
        self,
        parameters: Parameters,
        inputs: Inputs,
        backend: str = "cpu",
        running: dict[str, Weights] | None = None,
    ) -> np.ndarray:
        """The read-out averaged over time, in memory that does not depend on T.

        Parameters
        ----------
        parameters : dict of str to ndarray
            As `parameter_shapes` says.
        inputs : ndarray, (T, B, *input_shape), or StaticInput
            Network input.
        backend : {"plain", "cpu", "cuda"}
            Which kernels run the neurons.
        running : dict, optional
            Running statistics of each normalisation, see `initial_running`, in the dtype of the parameters;
            needed where there are such.

        Returns
        -------
        ndarray, (B, classes)
            mean_t y_t.

        Raises
        ------
        TypeError, ValueError
            For arguments of wrong kind, shape or range, or statistics that are not those of this network.
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        dtype = next(iter(parameters.values())).dtype
        running = check_running(running, self.initial_running(), dtype)
        kernels, weights = spiking_kernels(backend), self.prepared(parameters)
        state = self.initial_state(parameters, len(inputs[0]))
        for t in range(len(inputs)):
            state, _ = spiking_step.advance(self, weights, state, inputs[t], kernels, running)
        return self.outputs(parameters, state, len(inputs))

    def initial_running(self, dtype: Any = np.float64) -> dict[str, Weights]:
        """Running statistics of each normalisation at the start: mean 0 and variance 1."""
        return {
            name: operator.initial_running(self.shapes[name], np.dtype(dtype))
            for name, operator in self.normalisations.items()
        }

    def updated_running(
        self, running: dict[str, Weights], statistics: Mapping[str, Any]
    ) -> dict[str, Weights]:
        """Running statistics after one more batch: once a sequence, or once a step of it.

        Parameters
        ----------
        running : dict
            From `initial_running`, or the last update.
        statistics : mapping of node name to BatchStatistics
            `diagnostics.statistics` of a gradient.

        Returns
        -------
        dict

        Raises
        ------
        TypeError, ValueError
            If a normalisation has no statistics, for unknown names, and for arrays of another shape or dtype.
        """
        running = check_running(running, self.initial_running())
        check_statistics(statistics, running)
        updated = {}
        for name, operator in self.normalisations.items():
            seen, updated[name] = statistics[name], running[name]
            for mean, variance in zip(seen.mean, seen.variance, strict=True):
                updated[name] = updated_running(
                    updated[name], mean, variance, seen.entries, operator.momentum
                )
        return updated


def check_graph(graph: Any) -> SpikingGraph:
    """Return `graph` if it is a spiking graph: the first thing that an algorithm asks.

    Parameters
    ----------
    graph : SpikingGraph
        The network.

    Returns
    -------
    SpikingGraph

    Raises
    ------
    TypeError
        For anything else, a class of graphs too.

    Examples
    --------
    >>> check_graph("dense")
    Traceback (most recent call last):
    ...
    TypeError: graph: expected a SpikingGraph such as dense_network((64, 32, 10)), got 'dense'
    """
    return checks.instance("graph", graph, SpikingGraph, "dense_network((64, 32, 10))")
