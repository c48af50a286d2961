"""Nodes, parameters and the door of a spiking graph: all of it but what happens in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters, StaticInput
from refsnn.models.edges import ALL_EDGES, Edges
from refsnn.models.losses import LOSSES, check_targets
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.operator import LinearOperator, Operator, Shape, Weights
from refsnn.models.sequences import LabelledSequence
from refsnn.models.spiking_nodes import Node, Population, node_shapes

Inputs = np.ndarray | StaticInput
_LOSS = ("loss_function", "loss_over", "squared_share", "readout_leak")


@dataclass(frozen=True)
class SpikingStructure:
    """A deep spiking network: nodes, parameters, and the door; what it does is in `SpikingGraph`.

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
    """

    nodes: tuple[Node, ...]
    input_shape: Shape
    loss_function: str = "cross_entropy"
    loss_over: str = "mean_readout"
    squared_share: float = 0.0
    readout_leak: float = 0.0
    edges: Edges = ALL_EDGES

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "input_shape", checks.widths("input_shape", self.input_shape, minimum=1))
        checks.choice("loss_function", self.loss_function, LOSSES)
        checks.choice("loss_over", self.loss_over, ("mean_readout", "each_step"))
        checks.number("squared_share", self.squared_share, 0, 1)
        checks.number("readout_leak", self.readout_leak, 0, 1, high_open=True)
        if self.squared_share and self.loss_function != "cross_entropy":
            raise ValueError(
                f"squared_share: expected 0 with loss_function={self.loss_function!r}, got "
                f"{self.squared_share}; it mixes a squared error into the cross-entropy"
            )
        checks.instance("edges", self.edges, Edges, "Edges(reset=False)")
        _ = self.shapes, self._shapes_of_parameters
        self.edges.check(self.populations, [node.name for node in self.delayed])

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of one output of each node, the input's under "input".

        Raises
        ------
        TypeError, ValueError
            If the nodes are no graph, or an operator does not fit what it reads.
        """
        shapes = node_shapes(self.nodes, self.input_shape)
        last = self.nodes[-1] if self.nodes else None
        if last is None or not isinstance(last.what, LinearOperator) or last.delayed:
            came = "none" if last is None else f"{type(last.what).__name__} in {last.name!r}"
            if last is not None and last.delayed:
                came = f"a delayed one, {last.name!r}; put it before the read-out"
            raise ValueError(
                f"nodes: expected a linear operator as the last node, the read-out, not delayed, got {came}"
            )
        read_by_none = {node.name for node in self.nodes[:-1]}.difference(
            *(node.inputs for node in self.nodes)
        )
        if read_by_none:
            raise ValueError(
                f"nodes: expected each but the last to be read by another, got {sorted(read_by_none)} "
                "read by none; take them out"
            )
        if len(shapes[last.name]) != 1:
            raise ValueError(
                f"nodes: expected a read-out of shape (classes,), got {shapes[last.name]}; "
                "flatten or pool before it"
            )
        return shapes

    @property
    def readout(self) -> Node:
        """The last node."""
        return self.nodes[-1]

    @property
    def classes(self) -> int:
        """Width of the read-out."""
        return self.shapes[self.readout.name][0]

    @cached_property
    def populations(self) -> dict[str, Population]:
        """The populations by name, from the input up."""
        return {node.name: node.what for node in self.nodes if isinstance(node.what, Population)}

    @cached_property
    def delayed(self) -> tuple[Node, ...]:
        """The nodes that read the step before: recurrent connections and feedback."""
        return tuple(node for node in self.nodes if node.delayed)

    @cached_property
    def normalisations(self) -> dict[str, BatchNormalisation]:
        """The batch normalisations by name, from the input up."""
        return {node.name: node.what for node in self.nodes if isinstance(node.what, BatchNormalisation)}

    @cached_property
    def learning(self) -> frozenset[str]:
        """Nodes whose error is needed: they have parameters of their own, or something below them has."""
        found: set[str] = set()
        grown = True
        while grown:
            new = {node.name for node in self.nodes if self.has_parameters(node) or found & set(node.inputs)}
            grown, found = new != found, new
        return frozenset(found)

    @cached_property
    def _own(self) -> dict[str, dict[str, Shape]]:
        return {
            node.name: node.what.parameter_shapes(self.shapes[node.inputs[0]])
            if isinstance(node.what, Operator)
            else {}
            for node in self.nodes
        }

    def own(self, node: Node) -> dict[str, Shape]:
        """Last names and shapes of a node's own parameters."""
        return self._own[node.name]

    def has_parameters(self, node: Node) -> bool:
        """Whether a node has parameters of its own."""
        return bool(self.own(node))

    def operators(self) -> Iterator[tuple[Node, Operator, Shape]]:
        """The operators with the shape that each reads."""
        for node in self.nodes:
            if isinstance(node.what, Operator):
                yield node, node.what, self.shapes[node.inputs[0]]

    # -- parameters -----------------------------------------------------------------------------------

    @cached_property
    def _shapes_of_parameters(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            own = {f"{node.parameter_prefix}.{name}": shape for name, shape in self.own(node).items()}
            if shared := sorted(own.keys() & shapes.keys()):
                raise ValueError(
                    f"nodes: expected parameters of its own for each node, got {shared} of {node.name!r} "
                    "twice; give it another prefix"
                )
            shapes |= own
        return shapes

    def parameter_shapes(self) -> dict[str, Shape]:
        """Shape of every parameter, from the input up: `layer.1.weight`, ..., `readout.bias`."""
        return dict(self._shapes_of_parameters)

    def weights(self, parameters: Parameters, node: Node) -> Weights:
        """The parameters of one node by their last names."""
        return {name: parameters[f"{node.parameter_prefix}.{name}"] for name in self.own(node)}

    def initialise(
        self,
        rng: np.random.Generator,
        dtype: Any = np.float64,
        gain: float = 1.5,
        bias_mean: float = 0.1,
        bias_deviation: float = 0.1,
    ) -> Parameters:
        """Weights N(0, gain^2 / fan-in), biases N(mean, deviation^2), gains, gammas and scales 1, betas 0.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.
        gain, bias_mean, bias_deviation : float
            In units of the threshold.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes` says.

        Raises
        ------
        TypeError, ValueError
            For an `rng` that is no Generator, a dtype that is no float, a negative or infinite number.
        """
        checks.generator("rng", rng)
        dtype = checks.float_dtype("dtype", dtype)
        gain = checks.number("gain", gain, 0)
        bias_mean = checks.number("bias_mean", bias_mean)
        bias_deviation = checks.number("bias_deviation", bias_deviation, 0)
        parameters: Parameters = {}
        for node, operator, read in self.operators():
            for name, shape in operator.parameter_shapes(read).items():
                if name == "weight":
                    drawn = gain / np.sqrt(operator.fan(read)[0]) * rng.standard_normal(shape)
                elif name == "bias":
                    drawn = rng.normal(bias_mean, bias_deviation, shape)
                else:
                    drawn = np.zeros(shape) if name == "beta" else np.ones(shape)
                parameters[f"{node.parameter_prefix}.{name}"] = drawn.astype(dtype)
        return parameters

    def prepared(self, parameters: Parameters) -> dict[str, Weights]:
        """Weights of each operator, with what is made of them once a pass (standardised ones)."""
        found = {}
        for node, operator, _ in self.operators():
            weights = self.weights(parameters, node)
            found[node.name] = operator.prepared(weights) if isinstance(operator, LinearOperator) else weights
        return found

    def with_dropout(self, rng: np.random.Generator, batch: int, dtype: Any = np.float64) -> Self:
        """The same network with a fresh mask in each `Dropout`, for one batch of a training.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        batch : int
            B.
        dtype : dtype
            float32 or float64, of the masks; each is converted to the dtype of what it meets.

        Returns
        -------
        The same kind.

        Raises
        ------
        TypeError, ValueError
            For arguments of wrong kind or range.
        """
        checks.generator("rng", rng)
        batch, dtype = checks.count("batch", batch), checks.float_dtype("dtype", dtype)
        nodes = [
            replace(node, what=node.what.drawn(rng, batch, self.shapes[node.name], dtype))
            if isinstance(node.what, Dropout)
            else node
            for node in self.nodes
        ]
        return replace(self, nodes=tuple(nodes))

    def with_loss(self, **options: Any) -> Self:
        """The same network with another loss.

        Parameters
        ----------
        **options
            `loss_function`, `loss_over`, `squared_share`, `readout_leak`.

        Returns
        -------
        The same kind.

        Raises
        ------
        TypeError, ValueError
            For an option of another name, and for values out of range.
        """
        return replace(self, **checks.options("with_loss", options, _LOSS))

    def with_edges(self, **switches: Any) -> Self:
        """The same network whose gradient uses other edges of time.

        Parameters
        ----------
        **switches
            `leak`, `reset`, `feedback` of `refsnn.models.edges.Edges`; those that are not named stay as they
            are in this network, so that calls add up.  ``edges=Edges()`` of a new network, or
            ``dataclasses.replace(graph, edges=Edges())``, is all edges again.

        Returns
        -------
        The same kind.

        Raises
        ------
        TypeError, ValueError
            For a switch of another name or kind, names that the network does not have, and a reset that
            should live where the leak is cut.
        """
        checks.options("with_edges", switches, ("leak", "reset", "feedback"))
        return replace(self, edges=replace(self.edges, **switches))

    # -- the door -------------------------------------------------------------------------------------

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Any, np.ndarray]:
        """Refuse at the door what would be wrong inside.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : array_like, (T, B, *input_shape), or StaticInput of (B, *input_shape)
            Network input, T >= 1, B >= 1.
        targets : array_like
            Labels (B,) or real targets (B, classes), by the loss.

        Returns
        -------
        tuple
            The three as arrays; with a loss at each step the inputs bring their targets along.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters, inputs, targets = self.check_arrays(parameters, inputs, targets)
        if self.loss_over == "each_step":
            return parameters, LabelledSequence(inputs, targets), targets
        return parameters, inputs, targets

    def check_arrays(
        self, parameters: Any, inputs: Any, targets: Any
    ) -> tuple[Parameters, Inputs, np.ndarray]:
        """`check` with inputs and targets apart.

        Parameters
        ----------
        parameters, inputs, targets
            As in `check`.

        Returns
        -------
        tuple
            The three, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        dtype = next(iter(parameters.values())).dtype
        targets = check_targets(self.loss_function, targets, len(inputs[0]), self.classes, dtype)
        return parameters, inputs, targets

    def check_inputs(self, parameters: Any, inputs: Any) -> tuple[Parameters, Inputs]:
        """The part of `check` that needs no targets.

        Parameters
        ----------
        parameters, inputs
            As in `check`.

        Returns
        -------
        tuple
            The two, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes())
        dtype = next(iter(parameters.values())).dtype
        if isinstance(inputs, StaticInput):
            value = checks.float_array("inputs.value", inputs.value, ("B", *self.input_shape), dtype)
            inputs = StaticInput(value, inputs.steps)
        else:
            inputs = checks.float_array("inputs", inputs, ("T", "B", *self.input_shape), dtype)
        self._check_masks(len(inputs[0]))
        return parameters, inputs

    def _check_masks(self, batch: int) -> None:
        for node in self.nodes:
            mask = node.what.mask if isinstance(node.what, Dropout) else None
            expected = (batch, *self.shapes[node.name])
            if mask is not None and mask.shape != expected:
                raise ValueError(
                    f"node {node.name!r}: expected a mask of shape {expected}, got {mask.shape}; draw one "
                    "for the batch at hand, see `with_dropout`"
                )
