"""Which presynaptic factor multiplies the error of each operator: the presets of online learning.

Every rule here has the instantaneous error g_u[t] on the postsynaptic side (Xiao 2022, Eq. 5), and differs
only in what stands on the other:

    dL/dW = sum_t g_u[t] z^[t]^T,    z^[t] = decay z^[t-1] + z[t],    dL/db = sum_t g_u[t] (1 or Z_t),

where Z_t = sum_{j<t} decay^j is the trace of a constant 1.  The decay is that of the neurons which the
operator feeds: then z^ is what is left of du/dW once the resets are cut (Eqs. 3 and 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from refsnn import checks
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.operators.reshaping import LearnableScale
from refsnn.models.spiking_graph import INPUT, Node, Population, SpikingGraph


@dataclass(frozen=True)
class TraceRule:
    """How online learning chooses the presynaptic factor.

    Parameters
    ----------
    inputs, hidden, readout : bool
        Whether the weights that read the network's input, those between populations, and those of the
        read-out see traces.  A leaky read-out is traced with its own leak, unless none of them is (SLTT).
    biases : bool
        Whether biases see Z_t, the trace of 1 with the leak of the neurons that they feed; the read-out's
        has its own leak, as its weight.
    presynaptic : bool
        Whether traces decay with the leak of the neurons they come from, as in the official code, and not
        with that of the neurons they go to.
    measured : bool
        Whether traces of spikes decay with v[t] / v[t-1] of their own neuron, held within its leak (NDOT).
    decays : mapping of node name to float
        Exceptions, each in [0, 1]; 0 is no trace.

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> PRESETS["sltt"].hidden
    False
    """

    inputs: bool = True
    hidden: bool = True
    readout: bool = True
    biases: bool = False
    presynaptic: bool = False
    measured: bool = False
    decays: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("inputs", "hidden", "readout", "biases", "presynaptic", "measured"):
            checks.instance(name, getattr(self, name), bool, "True")
        checks.instance("decays", self.decays, Mapping, "{'readout': 0.0}")
        for name, decay in self.decays.items():
            checks.number(f"decays[{name!r}]", decay, 0, 1)

    @property
    def traceless(self) -> bool:
        """Whether no weight sees a trace, but for exceptions."""
        return not (self.inputs or self.hidden or self.readout)


PRESETS = {
    # Algorithm 1 and Theorem 2: every weight sees a trace, biases do not (Remark 2)
    "paper": TraceRule(),
    # the first operator is not wrapped there
    "official_code": TraceRule(inputs=False, presynaptic=True),
    # what is exact once all other edges of time are cut: no trace in front of a read-out without memory
    "exact_local": TraceRule(readout=False, biases=True),
    # Meng 2023: no traces
    "sltt": TraceRule(inputs=False, hidden=False, readout=False),
    # Jiang 2024
    "ndot": TraceRule(measured=True),
}


def operator_decays(graph: SpikingGraph, rule: TraceRule) -> dict[str, float]:
    """The decay of what each operator with parameters sees; 0 is the value itself.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    rule : TraceRule
        How to choose.

    Returns
    -------
    dict of str to float
        By node name.

    Raises
    ------
    ValueError
        For what a trace cannot pass (maxima, normalisation by the batch), an operator that feeds neurons of
        different leaks, and names in `rule.decays` that are none.

    Examples
    --------
    >>> from refsnn.equations.spiking import SpikingNeuron
    >>> from refsnn.models.operators.dense import Dense
    >>> nodes = (
    ...     Node("layer.1.current", ("input",), Dense(8)),
    ...     Node("layer.1", ("layer.1.current",), Population(SpikingNeuron(leak=0.5))),
    ...     Node("readout", ("layer.1",), Dense(3)),
    ... )
    >>> operator_decays(SpikingGraph(nodes, (4,)), PRESETS["exact_local"])
    {'layer.1.current': 0.5, 'readout': 0.0}
    """
    learners = [node for node in graph.nodes if graph.has_parameters(node)]
    unknown = set(rule.decays).difference(node.name for node in learners)
    if unknown:
        raise ValueError(
            f"decays: expected names of operators with parameters, got {sorted(unknown)}; there are "
            f"{[node.name for node in learners]}"
        )
    decays = {
        node.name: rule.decays[node.name] if node.name in rule.decays else _decay(graph, rule, node)
        for node in learners
    }
    for node in learners:
        if decays[node.name] > 0:
            _refuse_what_no_trace_passes(graph, node)
    if any(decays.values()) and graph.normalisations:
        raise ValueError(
            f"graph: expected no batch normalisation under traces, got {sorted(graph.normalisations)}: the "
            "statistics of each step rescale what a weight did at the steps before; take standardised "
            "weights (standardise=True), or preset='sltt'"
        )
    return decays


def _decay(graph: SpikingGraph, rule: TraceRule, node: Node) -> float:
    if isinstance(node.what, (LearnableScale, BatchNormalisation)):
        return 0.0
    sources, analogue = sources_of(graph, node)
    before = [graph.populations[name].neuron.leak for name in sorted(sources) if name != INPUT]
    if node is not graph.readout:
        if not (rule.inputs if INPUT in sources else rule.hidden):
            return 0.0
        if rule.presynaptic and before and not analogue:
            return _only(node, before)
        if after := _leaks_fed(graph, node):
            return _only(node, after)
    # the read-out, and what reaches nothing but the read-out
    if graph.readout_leak:
        return 0.0 if rule.traceless else graph.readout_leak
    # behind a residual stream of currents there are no spikes to trace
    return _only(node, before) if rule.readout and not analogue and before else 0.0


def bias_decays(graph: SpikingGraph, rule: TraceRule) -> dict[str, float]:
    """The decay of the 1 that each operator's bias sees; 0 is the 1 itself.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    rule : TraceRule
        How to choose.

    Returns
    -------
    dict of str to float
        By node name, of operators with a bias.

    Raises
    ------
    ValueError
        For a traced bias that feeds neurons of different leaks.

    Examples
    --------
    >>> from refsnn.models.operators.dense import Dense
    >>> nodes = Node("current", ("input",), Dense(8)), Node("layer", ("current",), Population())
    >>> graph = SpikingGraph((*nodes, Node("readout", ("layer",), Dense(3))), (4,))
    >>> bias_decays(graph, TraceRule(biases=True)), bias_decays(graph, TraceRule())
    ({'current': 0.2, 'readout': 0.0}, {'current': 0.0, 'readout': 0.0})
    """
    decays = {}
    for node in graph.nodes:
        if "bias" not in graph.own(node):
            continue
        if node is graph.readout:
            decays[node.name] = 0.0 if rule.traceless else graph.readout_leak
        elif not rule.biases:
            decays[node.name] = 0.0
        elif node.name in rule.decays:
            decays[node.name] = rule.decays[node.name]
        else:
            decays[node.name] = _only(node, _leaks_fed(graph, node) or [graph.readout_leak])
    return decays


def _leaks_fed(graph: SpikingGraph, node: Node) -> list[float]:
    return [graph.populations[name].neuron.leak for name in sorted(fed_by(graph, node))]


def _only(node: Node, leaks: list[float]) -> float:
    if len(set(leaks)) > 1:
        raise ValueError(
            f"decays: expected one leak for the trace of node {node.name!r}, got {sorted(set(leaks))}; say "
            "which with TraceRule(decays={" + f"{node.name!r}: ..." + "})"
        )
    return leaks[0]


def fed_by(graph: SpikingGraph, node: Node) -> set[str]:
    """The populations that a node's output reaches at the same step, without passing another one.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    node : Node
        One of its nodes.

    Returns
    -------
    set of str
    """
    found, todo = set(), [node.name]
    seen = set(todo)
    while todo:
        name = todo.pop()
        for reader in graph.nodes:
            if name in reader.inputs and reader.name not in seen and not reader.delayed:
                seen.add(reader.name)
                if isinstance(reader.what, Population):
                    found.add(reader.name)
                else:
                    todo.append(reader.name)
    return found


def below(graph: SpikingGraph, node: Node) -> list[str]:
    """Names of all that a node reads, directly or through others, down to populations and the input.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    node : Node
        One of its nodes.

    Returns
    -------
    list of str
    """
    nodes = {other.name: other for other in graph.nodes}
    found = list(dict.fromkeys(node.inputs))
    for name in found:  # grows on the way
        if name != INPUT and not isinstance(nodes[name].what, Population):
            found.extend(source for source in nodes[name].inputs if source not in found)
    return found


def sources_of(graph: SpikingGraph, node: Node) -> tuple[list[str], bool]:
    """Populations, and the input, that a node reads without passing another population.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    node : Node
        One of its nodes.

    Returns
    -------
    sources : list of str
        Names, "input" among them.
    analogue : bool
        Whether a weight stands between: what the node reads are currents, not spikes.
    """
    nodes = {other.name: other for other in graph.nodes}
    names = below(graph, node)
    sources = [name for name in names if name == INPUT or name in graph.populations]
    return sources, any(graph.has_parameters(nodes[name]) for name in names if name != INPUT)


def _refuse_what_no_trace_passes(graph: SpikingGraph, node: Node) -> None:
    nodes = {other.name: other for other in graph.nodes}
    for name in below(graph, node):
        if name != INPUT and isinstance(nodes[name].what, MaxPool):
            raise ValueError(
                f"graph: expected linear operators between a trace and its weight, got max pooling "
                f"({name!r}) under {node.name!r}: the maximum of a trace is not the trace of the maxima; "
                "take average pooling, or preset='sltt'"
            )
