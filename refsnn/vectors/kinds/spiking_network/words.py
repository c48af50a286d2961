"""A dense network of spiking neurons as plain words, and back: what a case says of it without refsnn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.network_files import describe
from refsnn.vectors.case import Hyperparameters, Problem

_OF_A_NEURON = ("leak", "threshold", "reset", "reset_value", "detach_reset", "fires")
_OF_A_SURROGATE = ("shape", "slope", "height")
_OF_THE_LOSS = ("loss_function", "loss_over", "squared_share", "readout_leak")


def words(
    graph: SpikingGraph, dense: tuple[Sequence[int], Sequence[SpikingNeuron], Sequence[bool]] | None
) -> Hyperparameters:
    """What a case says of a network.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    dense : tuple of (widths, neurons, recurrent), or None
        Of a stack of dense layers; None for another network, of which only the JSON says what it is.

    Returns
    -------
    dict

    Examples
    --------
    >>> from refsnn.models.builders.dense import dense_network
    >>> said = words(dense_network((2, 3, 2)), ((2, 3, 2), [SpikingNeuron()], [False]))
    >>> said["widths"], said["leak"]
    ([2, 3, 2], [0.2])
    """
    said: Hyperparameters = {
        "architecture": "graph" if dense is None else "dense",
        "network": json.dumps(describe(graph)),
    }
    if dense is not None:
        widths, neurons, recurrent = dense
        said |= {"widths": list(widths), "recurrent": list(recurrent)}
        said |= {name: [getattr(neuron, name) for neuron in neurons] for name in _OF_A_NEURON}
        for name in _OF_A_SURROGATE:
            said[f"surrogate.{name}"] = [getattr(neuron.surrogate, name) for neuron in neurons]
    return said | {name: getattr(graph, name) for name in _OF_THE_LOSS}


@dataclass(frozen=True)
class Layer:
    """One hidden layer by its plain constants.

    Attributes
    ----------
    name : str
        Of its parameters.
    constants : mapping
        By name, as a case has them.
    recurrent : bool
        Whether it reads its own spikes of the step before.
    """

    name: str
    constants: Mapping[str, Any]
    recurrent: bool

    def fires(self, charged: np.ndarray) -> np.ndarray:
        """H(h - threshold) as 0 and 1."""
        threshold = self.constants["threshold"]
        return (charged > threshold if self.constants["fires"] == ">" else charged >= threshold) * 1.0

    def psi(self, charged: np.ndarray) -> np.ndarray:
        """The slope of a spike."""
        shape, slope, height = (self.constants[f"surrogate.{name}"] for name in _OF_A_SURROGATE)
        return SURROGATES[shape](charged - self.constants["threshold"], slope, height, 1.0)

    @property
    def hard(self) -> bool:
        """Whether the reset is hard."""
        return bool(self.constants["reset"] == "hard")

    @property
    def leak(self) -> float:
        """Of the potential."""
        return float(self.constants["leak"])

    @property
    def rest(self) -> float:
        """Where a hard reset goes."""
        return float(self.constants["reset_value"])


def layers_of(problem: Problem) -> list[Layer]:
    """The hidden layers of a dense network.

    Parameters
    ----------
    problem : Problem
        Of a case with architecture 'dense'.

    Returns
    -------
    list of Layer
    """
    given = problem.hyperparameters
    names = (*_OF_A_NEURON, *(f"surrogate.{name}" for name in _OF_A_SURROGATE))
    return [
        Layer(f"layer.{index + 1}", {name: given[name][index] for name in names}, given["recurrent"][index])
        for index in range(len(given["widths"]) - 2)
    ]
