"""Online training through time (Xiao et al., NeurIPS 2022).  Gives up edges of the unrolled graph.

From BPTT all edges of time that pass a spike are cut (resets, recurrent connections); what is left
between the steps of a neuron is its leak, and the gradient of a weight becomes (Eqs. 3, 4)

    dL/dW = sum_t g[t] z^[t]^T,    z^[t] = leak z^[t-1] + z[t],    g[t] = dL/du[t],

with a trace of the presynaptic activity, current spike included.  Then dL/du[t] is replaced by the error of
the loss of that very step (Eq. 5), sent down through the layers with the actual weights:

    L = sum_t L[t],    g_k[t] = psi(u_k[t] - V_th) (W_{k+1})^T g_{k+1}[t].

Both together are a three-factor rule (Eq. 7): trace times slope times instantaneous error, at each step.
OTTT_A adds the T gradients up (`ottt`); OTTT_O updates after each (`ottt_online`); the traces are the same.

For each weight alone this is the gradient of the unrolled graph in which the leak of the neurons that it
feeds is the only edge of time.  For the weights of the last population that is BPTT with a detached reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from refsnn import checks
from refsnn.algorithms.forward_in_time import ForwardInTime
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.algorithms.trace_rules import PRESETS, TraceRule
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters, zeros_like
from refsnn.models.spiking_graph import SpikingGraph, check_graph

Update = Callable[[Parameters, Parameters], Parameters]


def ottt(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    preset: str | TraceRule = "paper",
    backend: str = "cpu",
) -> GradientResult:
    """OTTT_A: the gradients of all steps added up.

    Parameters
    ----------
    graph : SpikingGraph
        The network, with `loss_over="each_step"`.
    parameters : dict of str to ndarray
        As `graph.parameter_shapes()` says.
    inputs : ndarray, (T, B, ...), or StaticInput
        Network input.
    targets : ndarray
        Labels (B,) or real targets (B, classes).
    preset : {"paper", "official_code", "exact_local", "sltt", "ndot"} or TraceRule
        Which weights see traces.  `paper` is Algorithm 1: all weights, biases not.  `official_code` leaves
        out the first operator.  `exact_local` is the exact gradient once all other edges are cut: no trace in
        front of a read-out without memory, and biases multiplied with sum_{j<t} leak^j.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.

    Returns
    -------
    GradientResult
        `bytes_kept` counts traces and the tape of one step; it does not depend on T.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range, and for what a trace cannot treat: max pooling in front
        of a traced weight, batch normalisation, neurons of different leaks behind one weight.

    Examples
    --------
    >>> import numpy as np
    >>> from refsnn.algorithms.bptt import bptt
    >>> from refsnn.models.operators.dense import Dense
    >>> from refsnn.models.spiking_graph import Node, Population
    >>> nodes = (
    ...     Node("layer.1.current", ("input",), Dense(8), prefix="layer.1"),
    ...     Node("layer.1", ("layer.1.current",), Population()),
    ...     Node("readout", ("layer.1",), Dense(3)),
    ... )
    >>> graph = SpikingGraph(nodes, (4,), loss_over="each_step")
    >>> rng = np.random.default_rng(0)
    >>> arguments = graph.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2]
    >>> online, whole = ottt(graph, *arguments), bptt(graph, *arguments)  # the reset is detached
    >>> bool(np.allclose(online.gradients["layer.1.weight"], whole.gradients["layer.1.weight"], rtol=1e-12))
    True
    """
    parameters, inputs, targets = check_graph(graph).check_arrays(parameters, inputs, targets)
    steps = len(inputs)
    kernels = spiking_kernels(backend)
    network = ForwardInTime(graph, trace_rule(preset), parameters, len(inputs[0]), steps, kernels)
    gradients = zeros_like(parameters)
    for t in range(steps):
        for name, share in network.step(parameters, inputs[t], targets).items():
            gradients[name] += share
    return GradientResult(
        loss=graph.loss(parameters, network.state, targets, steps),
        gradients=gradients,
        diagnostics=diagnostics(network, parameters),
    )


@dataclass(frozen=True)
class OnlineResult:
    """What an online update leaves behind.

    Attributes
    ----------
    loss : float
        (1/T) sum_t l(y_t), each by the parameters of its step.
    parameters : dict of str to ndarray
        After the last update.
    diagnostics : Diagnostics
    """

    loss: float
    parameters: Parameters
    diagnostics: Diagnostics


def ottt_online(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    update: Update,
    *,
    preset: str | TraceRule = "paper",
    backend: str = "cpu",
) -> OnlineResult:
    """OTTT_O: an update after each step; potentials and traces stay as the older weights made them.

    Parameters
    ----------
    graph, parameters, inputs, targets
        As in `ottt`.
    update : callable of (parameters, gradients)
        Returns the parameters of the next step; it may write over those that it is given, which are copies
        of the caller's.  The gradients of a step have the factor 1/T of Eq. 5; a
        weight decay in here is applied T times a sequence.
    preset, backend
        As in `ottt`.

    Returns
    -------
    OnlineResult

    Raises
    ------
    TypeError, ValueError
        As in `ottt`.

    Examples
    --------
    >>> import numpy as np
    >>> from refsnn.models.operators.dense import Dense
    >>> from refsnn.models.spiking_graph import Node
    >>> graph = SpikingGraph((Node("readout", ("input",), Dense(2)),), (3,), loss_over="each_step")
    >>> start = graph.initialise(np.random.default_rng(0))
    >>> def descend(parameters, gradients):
    ...     return {name: value - 0.1 * gradients[name] for name, value in parameters.items()}
    >>> result = ottt_online(graph, start, np.ones((4, 1, 3)), [1], descend)
    >>> result.parameters["readout.weight"].shape
    (2, 3)
    """
    parameters, inputs, targets = check_graph(graph).check_arrays(parameters, inputs, targets)
    if not callable(update):
        raise TypeError(f"update: expected a callable (parameters, gradients) -> parameters, got {update!r}")
    steps = len(inputs)
    kernels = spiking_kernels(backend)
    network = ForwardInTime(graph, trace_rule(preset), parameters, len(inputs[0]), steps, kernels)
    # an update may write over what it is given: the caller's own arrays stay
    parameters = {name: value.copy() for name, value in parameters.items()}
    dtype = next(iter(parameters.values())).dtype
    for t in range(steps):
        shares = network.step(parameters, inputs[t], targets)
        updated = update(parameters, zeros_like(parameters) | shares)
        parameters = checks.parameters("update", updated, graph.parameter_shapes(), dtype=dtype)
    return OnlineResult(
        loss=graph.loss(parameters, network.state, targets, steps),
        parameters=parameters,
        diagnostics=diagnostics(network, parameters),
    )


def trace_rule(preset: str | TraceRule) -> TraceRule:
    """The rule of a preset.

    Parameters
    ----------
    preset : str or TraceRule
        A name, or a rule of one's own.

    Returns
    -------
    TraceRule

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> trace_rule("exact_local").readout
    False
    """
    if isinstance(preset, TraceRule):
        return preset
    return PRESETS[checks.choice("preset", preset, PRESETS)]


def with_options(preset: str | TraceRule, **options: Any) -> TraceRule:
    """A preset with some of its choices made otherwise.

    Parameters
    ----------
    preset : str or TraceRule
        Where to start.
    **options
        Fields of `TraceRule`.

    Returns
    -------
    TraceRule

    Raises
    ------
    TypeError, ValueError
        For unknown names and options.

    Examples
    --------
    >>> with_options("paper", biases=True).biases
    True
    """
    known = [field.name for field in fields(TraceRule)]
    return replace(trace_rule(preset), **checks.options("with_options", options, known))


def diagnostics(network: ForwardInTime, parameters: Parameters) -> Diagnostics:
    """What happened, of a run that is over.

    Parameters
    ----------
    network : ForwardInTime
        After its last step.
    parameters : dict of str to ndarray
        Not used by a spiking read-out.

    Returns
    -------
    Diagnostics
    """
    return Diagnostics(
        steps_executed=network.steps,
        bytes_kept=network.nbytes,
        outputs=network.graph.outputs(parameters, network.state, network.steps),
        spike_rates=network.activity.rates(),
        margin=network.activity.margin,
        statistics=network.activity.statistics(),
    )
