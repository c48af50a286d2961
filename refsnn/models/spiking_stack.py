"""A stack of dense layers of spiking neurons with a linear read-out of the time mean (Yu 2024, section 3).

    I^l_t = W^l s^{l-1}_t + b^l,   s^0_t = x_t,   l = 1 .. L-1 through the neuron of `equations.spiking`,
    o_t = W^L s^{L-1}_t + b^L,     loss = l(mean_t o_t, y).

It is the plainest spiking graph: `refsnn.models.builders.dense_network` without its options.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.operators.operator import Shape
from refsnn.models.spiking_graph import Node, SpikingGraph


@dataclass(frozen=True, init=False)
class DenseSpikingStack(SpikingGraph):
    """The graph of a stack, with what it was made of.

    Parameters
    ----------
    widths : tuple of int
        Input, hidden layers, classes: (n_0, n_1, ..., n_L).  Without a hidden layer it is a linear model.
    neuron : SpikingNeuron
        The neuron of all hidden layers.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the readout averaged over time; integer labels (B,), or real targets (B, n_L).
    **fields
        Further fields of `SpikingGraph`: loss_over, squared_share, readout_leak, edges.

    Raises
    ------
    TypeError, ValueError
        For widths that are not positive integers, or an unknown loss.

    Examples
    --------
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> stack.parameter_shapes()["layer.1.weight"], stack.parameter_shapes()["readout.bias"]
    ((8, 4), (3,))
    """

    nodes: tuple[Node, ...] = field(init=False, repr=False)
    input_shape: Shape = field(init=False, repr=False)
    widths: tuple[int, ...] = ()
    neuron: SpikingNeuron = field(default_factory=SpikingNeuron)

    def __init__(
        self,
        widths: tuple[int, ...],
        neuron: SpikingNeuron | None = None,
        loss_function: str = "cross_entropy",
        **fields: Any,
    ) -> None:
        neuron = SpikingNeuron() if neuron is None else neuron
        checks.instance("neuron", neuron, SpikingNeuron, "SpikingNeuron(leak=0.2)")
        graph = dense_network(widths, neuron, loss_function=loss_function, **fields)
        made = {name: getattr(graph, name) for name in SpikingGraph.__dataclass_fields__}
        for name, value in (made | {"widths": tuple(widths), "neuron": neuron}).items():
            object.__setattr__(self, name, value)

    @property
    def hidden(self) -> range:
        """Indices l of the spiking layers, 1 .. L-1."""
        return range(1, len(self.widths) - 1)
