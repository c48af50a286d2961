"""Who learns to tell links from pairs that are none: spiking networks on manifolds, and a graph autoencoder.

A learner places nodes, and scores a pair by its places, the higher the likelier a link:

    spiking              -d(z_i, z_j), trained by the Fermi-Dirac decoder 1 / (exp(d - r) + 1), r = 2
    GCN, Fermi-Dirac     the same, with the outputs of a graph convolutional network in flat space
    GCN, inner product   z_i . z_j, trained by the decoder sigmoid(z_i . z_j)      (Kipf and Welling 2016)

All losses are the mean of -log p over links plus that of -log(1 - p) over pairs that are none.  Bags of words
go into the last as they are, and into the second divided by their number of words: validation links of other
seeds preferred it so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from refsnn.datasets import LabelledGraph
from refsnn.models.contract import Parameters
from refsnn.models.manifold.graph import Graph, incidence
from refsnn.models.manifold.heads import Links, squared_distances, total_distance
from refsnn.models.manifold.manifold import euclidean
from refsnn.models.manifold.maps import ExactMaps
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import ManifoldRun
from validation.experiments.graph_convolution import GraphConvolutionalNetwork
from validation.experiments.graph_training import Learner, Model, Recipe, Step

WIDTH = 32


class LinkLearner(Protocol):
    """A network on the graph that messages pass along."""

    def initialise(self, rng: np.random.Generator) -> Parameters:
        """Before the first update."""
        ...

    def step(self, parameters: Parameters, links: Links, rng: np.random.Generator) -> Step:
        """Loss and gradients."""
        ...

    def scores(self, parameters: Parameters, pairs: np.ndarray) -> np.ndarray:
        """Of pairs (2, E), without noise; the highest are said to be links."""
        ...


class LinkModel(Protocol):
    """A row of the table: a network for any graph."""

    @property
    def name(self) -> str:
        """For the table."""
        ...

    def on(self, recipe: Recipe, data: LabelledGraph, graph: Graph) -> LinkLearner:
        """A learner that hears the edges of `graph` alone."""
        ...


@dataclass(frozen=True)
class Spiking:
    """A spiking network on a manifold.

    Attributes
    ----------
    model : Model
        Which.
    """

    model: Model

    @property
    def name(self) -> str:
        """See `LinkModel.name`."""
        return self.model.name

    def on(self, recipe: Recipe, data: LabelledGraph, graph: Graph) -> SpikingLinks:
        """See `LinkModel.on`."""
        return SpikingLinks(Learner.of(self.model, recipe, replace(data, graph=graph), classes=0))


@dataclass(frozen=True)
class SpikingLinks:
    """Points of a spiking network.

    Attributes
    ----------
    learner : Learner
        Without classes.
    """

    learner: Learner

    def initialise(self, rng: np.random.Generator) -> Parameters:
        """See `LinkLearner.initialise`."""
        return self.learner.network.initialise(rng, self.learner.inputs.dtype)

    def step(self, parameters: Parameters, links: Links, rng: np.random.Generator) -> Step:
        """See `LinkLearner.step`."""
        return self.learner.step(parameters, links, rng)

    def scores(self, parameters: Parameters, pairs: np.ndarray) -> np.ndarray:
        """See `LinkLearner.scores`."""
        run, _ = self.learner.run(parameters)
        listed = incidence(self.learner.inputs.nodes, *pairs)
        space = self.learner.network.at(parameters)
        squares, _ = squared_distances(space, run.points[-1], listed, "cpu")
        return -total_distance(squares)


@dataclass(frozen=True)
class Convolutional:
    """A graph convolutional network.

    Attributes
    ----------
    decoder : {"inner product", "Fermi-Dirac"}
        Of its outputs.
    """

    decoder: str

    @property
    def name(self) -> str:
        """See `LinkModel.name`."""
        return f"GCN, {self.decoder}"

    def on(self, recipe: Recipe, data: LabelledGraph, graph: Graph) -> ConvolutionalLinks:
        """See `LinkModel.on`."""
        network = GraphConvolutionalNetwork.of(replace(data, graph=graph))
        if self.decoder == "inner product":
            network = replace(network, features=data.features)
        return ConvolutionalLinks(replace(network, hidden=WIDTH, dropout=0.0, decay=0.0), self.decoder)


@dataclass(frozen=True)
class ConvolutionalLinks:
    """Outputs of a graph convolutional network.

    Attributes
    ----------
    network : GraphConvolutionalNetwork
        Two layers of `WIDTH` units.
    decoder : {"inner product", "Fermi-Dirac"}
        Of its outputs.
    """

    network: GraphConvolutionalNetwork
    decoder: str

    def initialise(self, rng: np.random.Generator) -> Parameters:
        """See `LinkLearner.initialise`."""
        return self.network.initialise(rng, WIDTH)

    def step(self, parameters: Parameters, links: Links, rng: np.random.Generator) -> Step:
        """See `LinkLearner.step`."""
        loss_of = inner_product_loss if self.decoder == "inner product" else flat_loss
        return self.network.step(parameters, lambda places: loss_of(places, links), rng)

    def scores(self, parameters: Parameters, pairs: np.ndarray) -> np.ndarray:
        """See `LinkLearner.scores`."""
        one, other = self.network.outputs(parameters)[pairs]
        if self.decoder == "inner product":
            return (one * other).sum(axis=1)
        return -np.linalg.norm(one - other, axis=1)


def flat_loss(places: np.ndarray, links: Links) -> tuple[float, np.ndarray]:
    """The Fermi-Dirac decoder in Euclidean space: loss, and its derivative by the places (N, D)."""
    network = ManifoldSpikingNetwork(1, euclidean(places.shape[1]))
    maps = ExactMaps(network.manifold)
    found = links.check(network, len(places)).loss(network, {}, ManifoldRun(points=[places]), maps, "cpu")
    assert found.points is not None
    return found.loss, found.points


def inner_product_loss(places: np.ndarray, links: Links) -> tuple[float, np.ndarray]:
    """p = sigmoid(z_i . z_j): loss, and its derivative by the places (N, D)."""
    loss, by_places = 0.0, np.zeros_like(places)
    for (ends, others), sign in ((links.links, 1), (links.absent, -1)):
        one, other = places[ends], places[others]
        against = -sign * (one * other).sum(axis=1)  # -log p = softplus(against)
        loss += float(np.logaddexp(0, against).mean())
        by_product = -sign * np.exp(-np.logaddexp(0, -against))[:, None] / len(ends)
        np.add.at(by_places, ends, by_product * other)
        np.add.at(by_places, others, by_product * one)
    return loss, by_places
