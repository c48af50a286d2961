"""The baseline of graph papers: two graph convolutions with a rectifier between them (Kipf and Welling 2017).

    logits = Ahat drop(relu(Ahat drop(X) W1^T)) W2^T

with the settings of that paper: 16 hidden units, dropout of one half on features and hidden units, Adam with
0.01, squared norm of W1 times 2.5e-4 added to the loss (their weight decay of 5e-4), 200 epochs, bags of
words divided by their number of words.
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
from validation.experiments.graph_training import Judged, Step, Trained, train

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
    """

    adjacency: sparse.csr_array
    features: np.ndarray | sparse.csr_array

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

    def initialise(self, rng: np.random.Generator, classes: int) -> Parameters:
        """Glorot-uniform."""
        shapes = {"first.weight": (HIDDEN, self.features.shape[1]), "second.weight": (classes, HIDDEN)}
        return {
            name: rng.uniform(-1, 1, shape).astype(self.features.dtype) * np.sqrt(6 / sum(shape))
            for name, shape in shapes.items()
        }

    def outputs(self, parameters: Parameters) -> np.ndarray:
        """Logits (N, C), without dropout."""
        hidden = np.maximum(self.adjacency @ (self.features @ parameters["first.weight"].T), 0)
        return self.adjacency @ (hidden @ parameters["second.weight"].T)

    def step(
        self, parameters: Parameters, labels: np.ndarray, nodes: np.ndarray, rng: np.random.Generator | None
    ) -> Step:
        """Loss with weight decay and its gradient; without a generator there is no dropout."""
        first, second = parameters["first.weight"], parameters["second.weight"]
        seen = dropped_features(self.features, rng)
        charged = self.adjacency @ (seen @ first.T)
        mask = dropped(np.ones_like(charged), rng) * (charged > 0)
        hidden = mask * charged
        outputs = self.adjacency @ (hidden @ second.T)
        loss = float(cross_entropy(outputs[nodes], labels[nodes])) + DECAY / 2 * float((first * first).sum())
        by_outputs = np.zeros_like(outputs)
        by_outputs[nodes] = cross_entropy_gradient(outputs[nodes], labels[nodes])
        by_second = self.adjacency @ by_outputs  # Ahat^T = Ahat
        by_first = self.adjacency @ (mask * (by_second @ second))
        return Step(
            loss,
            {"first.weight": (seen.T @ by_first).T + DECAY * first, "second.weight": by_second.T @ hidden},
        )


def dropped(values: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """Half of the values, doubled."""
    return values if rng is None else values * (rng.random(values.shape) >= DROPOUT) / (1 - DROPOUT)


def dropped_features(
    features: np.ndarray | sparse.csr_array, rng: np.random.Generator | None
) -> np.ndarray | sparse.csr_array:
    """Half of the features; of sparse ones, half of those that are not 0."""
    if not sparse.issparse(features):
        return dropped(features, rng)
    triplet = dropped(features.data, rng), features.indices, features.indptr
    return sparse.csr_array(triplet, features.shape)


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
        Tested: the share of right test nodes, under the name of every head.
    """
    network = GraphConvolutionalNetwork.of(data)

    def judge(parameters: Parameters) -> Judged:
        right = network.outputs(parameters).argmax(axis=1) == data.labels
        return Judged(float(right[split.validation].mean()), {"logits": float(right[split.test].mean())})

    return train(
        network.initialise(rng, data.classes),
        lambda parameters: network.step(parameters, data.labels, split.train, rng),
        judge,
        Adam(0.01),
        epochs,
        tick,
    )
