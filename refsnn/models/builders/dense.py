"""Stacks of dense spiking layers, feed-forward or recurrent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.assembly import Assembly, checked_modulation
from refsnn.models.operators.dense import Dense
from refsnn.models.spiking_graph import Population, SpikingGraph, Sum


def dense_network(
    widths: Sequence[int],
    neuron: SpikingNeuron | Sequence[SpikingNeuron] | None = None,
    *,
    standardise: bool = False,
    scale: float = 1.0,
    recurrent: bool | Iterable[int] = False,
    dropout: float = 0.0,
    **fields: Any,
) -> SpikingGraph:
    """Dense layers of spiking neurons under a plain linear read-out.

    With o_l[t] the spikes of layer l that were not dropped (o_0 the input) and gamma the scale,

        I_l[t] = W_l gamma o_{l-1}[t] + b_l + R_l o_l[t-1],    without gamma for l = 1 and without b for R_l.

    Standardised weights of hidden layers, gamma behind the spikes, a plain read-out and one mask of dropout
    for all steps are Xiao 2022's (Eq. 13, section 5); its recurrent network is the one with widths
    (784, 400, 10), `standardise` and `recurrent` (appendix D.3).

    Parameters
    ----------
    widths : sequence of int
        Input, hidden layers, classes.
    neuron : SpikingNeuron or sequence of them, optional
        Of all hidden layers, or one for each.
    standardise : bool
        Whether the weights W_l of hidden layers are standardised, with a learnable gain.
    scale : float
        gamma > 0; 2.74 with standardised weights.
    recurrent : bool or iterable of int
        Whether each hidden layer reads its own spikes of the step before, or which do, counted from 1.
    dropout : float in [0, 1)
        Probability with which a hidden neuron is dropped, see `SpikingGraph.with_dropout`.
    **fields : Any
        Further fields of `SpikingGraph`: loss_function, loss_over, squared_share, readout_leak, edges.

    Returns
    -------
    SpikingGraph
        Populations `layer.1`, ...; parameters `layer.1.weight`, `layer.1.bias`, `layer.1.gain` of a
        standardised weight, `layer.1.recurrent.weight`, `readout.weight`, `readout.bias`.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.

    Examples
    --------
    >>> graph = dense_network((4, 8, 3), recurrent=True)
    >>> list(graph.parameter_shapes())
    ['layer.1.weight', 'layer.1.bias', 'layer.1.recurrent.weight', 'readout.weight', 'readout.bias']
    """
    widths = checks.widths("widths", widths)
    hidden = range(1, len(widths) - 1)
    neurons, loops = _neurons(neuron, len(hidden)), _loops(recurrent, hidden)
    dropout, scale = checked_modulation(dropout, scale)
    net = Assembly()
    for index in hidden:
        layer = f"layer.{index}"
        current = net.add(f"{layer}.current", Dense(widths[index], standardise=standardise), prefix=layer)
        if index in loops:
            source = f"{layer}.dropped" if dropout else layer
            loop = Dense(widths[index], with_bias=False)
            before = net.add(f"{layer}.recurrent", loop, source, delayed=True)
            net.add(f"{layer}.total", Sum(), current, before)
        net.add(layer, Population(neurons[index - 1]))
        net.modulated(layer, dropout, scale)
    net.add("readout", Dense(widths[-1]))
    return net.graph(widths[:1], **fields)


def _neurons(neuron: Any, layers: int) -> list[SpikingNeuron]:
    """One neuron for each hidden layer."""
    if neuron is None or isinstance(neuron, SpikingNeuron):
        return [neuron or SpikingNeuron()] * layers
    given = list(neuron) if isinstance(neuron, Sequence) else [neuron]
    for index, one in enumerate(given):
        checks.instance(f"neuron[{index}]", one, SpikingNeuron, "SpikingNeuron(leak=0.2)")
    if len(given) != layers:
        raise ValueError(f"neuron: expected one for each of {layers} hidden layers, got {len(given)}")
    return given


def _loops(recurrent: Any, hidden: range) -> set[int]:
    """Numbers of the recurrent layers."""
    if isinstance(recurrent, bool):
        return set(hidden) if recurrent else set()
    if not isinstance(recurrent, Iterable) or isinstance(recurrent, str):
        raise TypeError(f"recurrent: expected True, False or numbers of layers, got {recurrent!r}")
    loops = {checks.count("recurrent", index) for index in recurrent}
    if loops.difference(hidden):
        raise ValueError(f"recurrent: expected hidden layers from 1 to {len(hidden)}, got {sorted(loops)}")
    return loops
