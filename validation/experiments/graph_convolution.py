"""The baseline of graph papers: two graph convolutions with a rectifier between them (Kipf and Welling 2017).

    logits = Ahat drop(relu(Ahat drop(X) W1^T)) W2^T

with the settings of that paper: 16 hidden units, dropout of one half on features and hidden units, Adam with
0.01, squared norm of W1 times 2.5e-4 added to the loss (their weight decay of 5e-4), 200 epochs, bags of
words divided by their number of words.

For links it is wider, without dropout and decay: `validation.experiments.link_learners`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from refsnn.algorithms.optimisers import Adam
from refsnn.datasets import LabelledGraph, NodeSplit
from refsnn.models.contract import Parameters
from refsnn.models.losses import cross_entropy, cross_entropy_gradient
from refsnn.models.manifold.energy import Energy, convolution_energy
from validation.experiments.graph_training import Cost, Judged, Step, Trained, train

HIDDEN, DROPOUT, DECAY, EPOCHS = 16, 0.5, 5e-4, 200


@dataclass(frozen=True)
class GraphConvolutionalNetwork:
    """Two layers on one graph.

    Attributes
    ----------
    adjacency : scipy.sparse.csr_array, (N, N)
        Ahat of an undirected graph, its own transpose.
    features : ndarray or csr_array, (N, F)
        X.
    hidden : int
        Units of the first.
    dropout : float
        Share of features and of hidden units.
    decay : float
        Of W1.
    """

    adjacency: sparse.csr_array
    features: np.ndarray | sparse.csr_array
    hidden: int = HIDDEN
    dropout: float = DROPOUT
    decay: float = DECAY

    @classmethod
    def of(cls, data: LabelledGraph) -> GraphConvolutionalNetwork:
        """Of a graph; rows without negative numbers are divided by their sum."""
        known = data.features
        if known.min() >= 0:
            sums = np.asarray(known.sum(axis=1)).ravel()
            scale = (1 / np.where(sums > 0, sums, 1)).astype(known.dtype)
            known = (
                sparse.csr_array(sparse.diags_array(scale) @ known)
                if sparse.issparse(known)
                else scale[:, None] * known
            )
        return cls(data.graph.normalised(known.dtype).scipy(), known)

    def initialise(self, rng: np.random.Generator, outputs: int) -> Parameters:
        """Glorot-uniform."""
        shapes = {
            "first.weight": (self.hidden, self.features.shape[1]),
            "second.weight": (outputs, self.hidden),
        }
        return {
            name: rng.uniform(-1, 1, shape).astype(self.features.dtype) * np.sqrt(6 / sum(shape))
            for name, shape in shapes.items()
        }

    def outputs(self, parameters: Parameters) -> np.ndarray:
        """Logits (N, C), or places (N, D), without dropout."""
        hidden = np.maximum(self.adjacency @ (self.features @ parameters["first.weight"].T), 0)
        return self.adjacency @ (hidden @ parameters["second.weight"].T)

    def step(
        self,
        parameters: Parameters,
        loss_of: Callable[[np.ndarray], tuple[float, np.ndarray]],
        rng: np.random.Generator | None,
    ) -> Step:
        """Loss with weight decay and its gradient; without a generator there is no dropout.

        `loss_of` takes the outputs, and returns their loss and its derivative by them.
        """
        first, second = parameters["first.weight"], parameters["second.weight"]
        seen = self._dropped_features(rng)
        charged = self.adjacency @ (seen @ first.T)
        mask = self._dropped(np.ones_like(charged), rng) * (charged > 0)
        hidden = mask * charged
        loss, by_outputs = loss_of(self.adjacency @ (hidden @ second.T))
        by_second = self.adjacency @ by_outputs  # Ahat^T = Ahat
        by_first = self.adjacency @ (mask * (by_second @ second))
        return Step(
            loss + self.decay / 2 * float((first * first).sum()),
            {
                "first.weight": (seen.T @ by_first).T + self.decay * first,
                "second.weight": by_second.T @ hidden,
            },
        )

    def _dropped(self, values: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """A share of the values is 0, the others are larger for it."""
        if rng is None or not self.dropout:
            return values
        return values * (rng.random(values.shape) >= self.dropout) / (1 - self.dropout)

    def _dropped_features(self, rng: np.random.Generator | None) -> np.ndarray | sparse.csr_array:
        """The same of features; of sparse ones, of those that are not 0."""
        if not sparse.issparse(self.features):
            return self._dropped(self.features, rng)
        triplet = self._dropped(self.features.data, rng), self.features.indices, self.features.indptr
        return sparse.csr_array(triplet, self.features.shape)


def class_loss(labels: np.ndarray, nodes: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Mean cross-entropy over some nodes, as `GraphConvolutionalNetwork.step` takes it."""

    def loss_of(outputs: np.ndarray) -> tuple[float, np.ndarray]:
        by_outputs = np.zeros_like(outputs)
        by_outputs[nodes] = cross_entropy_gradient(outputs[nodes], labels[nodes])
        return float(cross_entropy(outputs[nodes], labels[nodes])), by_outputs

    return loss_of


def train_baseline(
    data: LabelledGraph,
    split: NodeSplit,
    rng: np.random.Generator,
    epochs: int = EPOCHS,
    tick: Callable[[Trained], None] = lambda trained: None,
) -> Trained:
    """Classes of nodes, the epoch chosen by validation accuracy.

    Returns
    -------
    Trained
        Tested: the share of right test nodes, under "logits"; with its cost, all products of (69), which are
        those that the paper prints and all that there are.
    """
    network, loss_of = GraphConvolutionalNetwork.of(data), class_loss(data.labels, split.train)

    def judge(parameters: Parameters) -> Judged:
        right = network.outputs(parameters).argmax(axis=1) == data.labels
        return Judged(float(right[split.validation].mean()), {"logits": float(right[split.test].mean())})

    trained = train(
        network.initialise(rng, data.classes),
        lambda parameters: network.step(parameters, loss_of, rng),
        judge,
        Adam(0.01),
        epochs,
        tick,
    )
    widths = data.features.shape[1], network.hidden, data.classes
    joules = convolution_energy(data.nodes, data.graph.edges, widths)
    trained.cost = Cost(np.nan, Energy(paper=joules, official=np.nan, full=joules))
    return trained
