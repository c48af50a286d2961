"""Online learning on a spiking graph: one step forward, one step down, traces carried on (Xiao 2022, Alg. 1).

At each step t the network runs forward, the loss of that step sends its error down through the nodes at
the same t only,

    g_u[t] = psi(u[t] - V_th) (what stands above)^T g_u'[t],

and each weight takes it with a trace of what it reads.  No array of length T exists; the state is that of the
neurons and one trace a population (two where it projects to neurons of two leaks).
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from refsnn.algorithms.stepwise import Activity
from refsnn.algorithms.trace_rules import TraceRule, below, bias_decays, operator_decays, sources_of
from refsnn.models.contract import Parameters
from refsnn.models.edges import Edges
from refsnn.models.operators.operator import Weights
from refsnn.models.spiking_graph import INPUT, Node, Population, SpikingGraph, Sum
from refsnn.models.spiking_nodes import linear_operator
from refsnn.models.spiking_step import Products, Tape, advance, pull_back

NO_EDGES = Edges(leak=False, feedback=False)


class ForwardInTime:
    """A network that learns while it runs.

    Parameters
    ----------
    graph : SpikingGraph
        With a loss at each step.
    rule : TraceRule
        What stands on the presynaptic side.
    parameters : dict of str to ndarray
        Checked; for their dtype.
    batch, steps : int
        B and T.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.

    Raises
    ------
    ValueError
        For a loss of the mean read-out, and for what the rule cannot treat.
    """

    def __init__(
        self,
        graph: SpikingGraph,
        rule: TraceRule,
        parameters: Parameters,
        batch: int,
        steps: int,
        kernels: ModuleType,
    ) -> None:
        if graph.loss_over != "each_step":
            raise ValueError(
                "graph: expected loss_over='each_step' for an algorithm that learns at each step, got "
                f"{graph.loss_over!r}; a loss of the mean read-out is not known before the last step"
            )
        self.graph, self.kernels, self.steps = graph, kernels, steps
        self.decays, self.bias_decays = operator_decays(graph, rule), bias_decays(graph, rule)
        dtype = next(iter(parameters.values())).dtype
        self.state = graph.initial_state(parameters, batch)
        self.traces = Traces(graph, self.decays, batch, dtype, rule.measured)
        self.traces.constants |= dict.fromkeys(self.bias_decays.values(), (0.0, 0.0))
        self.activity, self.step_bytes = Activity(graph), 0

    def step(
        self, parameters: Parameters, inputs: np.ndarray, targets: np.ndarray, learn: bool = True
    ) -> Parameters:
        """One time step of network and traces.

        Parameters
        ----------
        parameters : dict of str to ndarray
            Of this step; an online update may have changed them since the last.
        inputs : ndarray, (B, *input_shape)
            What the step sees.
        targets : ndarray
            Labels (B,) or real targets.
        learn : bool
            Whether the error is sent down; traces go on in any case.

        Returns
        -------
        dict of str to ndarray
            dL[t]/d(parameters) as the rule has it, L = sum_t L[t]; empty without `learn`.
        """
        weights, before = self.graph.prepared(parameters), self.state
        self.state, tape = advance(self.graph, weights, before, inputs, self.kernels)
        self.state["loss.sum"] = before["loss.sum"] + self.graph.loss_of(tape.outputs, targets)
        self.activity.add(tape)
        self.traces.update(tape)
        gradients: Parameters = {}
        if learn:
            error = self.graph.loss_of_gradient(tape.outputs, targets)
            error /= error.dtype.type(self.steps)
            _, gradients = pull_back(
                self.graph, weights, tape, error, {}, self.kernels, NO_EDGES, self.products(weights, tape)
            )
        self.traces.after(tape, weights, before, self.state)
        self.step_bytes = tape.nbytes
        return gradients

    def products(self, weights: dict[str, Weights], tape: Tape) -> Products:
        """Each weight's error with the trace of what it reads (Eq. 4), or with the value itself."""

        def products(node: Node, error: np.ndarray) -> Weights:
            seen = self.traces.seen(node, self.decays[node.name], tape, weights)
            total = error * error.dtype.type(self.bias_factor(node))
            return linear_operator(node).products(weights[node.name], error, seen, total)

        return products

    def bias_factor(self, node: Node) -> float:
        """Z_t where biases are traced, else 1; a delayed node starts one step late, with Z_{t-1} or 1."""
        return self.traces.constant(self.bias_decays.get(node.name, 0.0), node.delayed)

    @property
    def nbytes(self) -> int:
        """Bytes of the traces and of one step's tape."""
        return self.traces.nbytes + self.step_bytes


class Traces:
    """a^[t] = decay a^[t-1] + a[t] of the input and the populations, as their readers need them.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    decays : dict of str to float
        From `operator_decays`.
    batch : int
        B.
    dtype : dtype
        Of the parameters.
    measured : bool
        Whether a population's own v[t] / v[t-1] is its decay (NDOT).
    """

    def __init__(
        self, graph: SpikingGraph, decays: dict[str, float], batch: int, dtype: np.dtype, measured: bool
    ) -> None:
        self.graph, self.measured, self.steps = graph, measured, 0
        # Z_t and Z_{t-1}, the traces of 1
        self.constants = dict.fromkeys({0.0, *decays.values()}, (0.0, 0.0))
        self.nodes = {node.name: node for node in graph.nodes}
        self.arrays = {
            (source, decays[node.name]): np.zeros((batch, *graph.shapes[source]), dtype)
            for node in graph.nodes
            if decays.get(node.name)
            for source in sources_of(graph, node)[0]
        }
        self.ratios = {
            name: np.zeros((batch, *graph.shapes[name]), dtype) for name in graph.populations if measured
        }
        self.before = {
            (name, decays[node.name]): np.zeros((batch, *graph.shapes[self.nodes[name].inputs[0]]), dtype)
            for node in graph.nodes
            if decays.get(node.name)
            for name in (node.name, *below(graph, node))
            if name != INPUT and self.nodes[name].delayed
        }

    def update(self, tape: Tape) -> None:
        """One more step of every trace, the current value included."""
        self.steps += 1
        self.constants = {decay: (decay * now + 1.0, now) for decay, (now, _) in self.constants.items()}
        for (source, decay), trace in self.arrays.items():
            factor = self.ratios[source] if source in self.ratios else trace.dtype.type(decay)
            trace *= factor
            trace += tape.values[source]

    def after(
        self,
        tape: Tape,
        weights: dict[str, Weights],
        before: dict[str, np.ndarray],
        state: dict[str, np.ndarray],
    ) -> None:
        """What the next step wants to know of this one."""
        # a delayed node may read through another one: all are computed before any is replaced
        seen = [self.value(self.nodes[name].inputs[0], decay, tape, weights) for name, decay in self.before]
        for trace, now in zip(self.before.values(), seen, strict=True):
            trace[...] = now
        for name, ratio in self.ratios.items():
            now, then = state[f"{name}.potential"], before[f"{name}.potential"]
            leak = now.dtype.type(self.graph.populations[name].neuron.leak)
            np.divide(now, np.where(then == 0, now.dtype.type(1), then), out=ratio)
            np.clip(ratio, -leak, leak, out=ratio)

    def seen(self, node: Node, decay: float, tape: Tape, weights: dict[str, Weights]) -> np.ndarray:
        """The trace of what a node reads; a delayed one reads that of the step before."""
        if not node.delayed:
            return self.value(node.inputs[0], decay, tape, weights)
        return self.before[node.name, decay] if decay else tape.read(node)

    def value(self, name: str, decay: float, tape: Tape, weights: dict[str, Weights]) -> np.ndarray:
        """The trace of a node: of a population its own, of what stands between, the same maps of traces."""
        if not decay:
            return tape.values[name]
        if name == INPUT or isinstance(self.nodes[name].what, Population):
            return self.arrays[name, decay]
        node = self.nodes[name]
        if isinstance(node.what, Sum):
            read = [self.value(source, decay, tape, weights) for source in node.inputs]
            return sum(read[1:], start=read[0])
        operator, own = linear_operator(node), weights[name]
        outputs, bias = operator.linear(own, self.seen(node, decay, tape, weights)), operator.bias(own)
        if bias is None:
            return outputs
        return outputs + outputs.dtype.type(self.constant(decay, node.delayed)) * bias

    def constant(self, decay: float, delayed: bool) -> float:
        """Z_t = sum_{j<t} decay^j, the trace of 1; of what is delayed that of the step before."""
        return self.constants[decay][1 if delayed else 0]

    @property
    def nbytes(self) -> int:
        """Bytes of all traces."""
        arrays = (*self.arrays.values(), *self.before.values(), *self.ratios.values())
        return sum(array.nbytes for array in {id(array): array for array in arrays}.values())
