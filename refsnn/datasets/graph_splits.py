"""What a network on a graph learns from, is chosen by, and is tested on: nodes, or links.

A link split never lets the network see what it is asked about: messages pass along training links only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.manifold.graph import Graph


@dataclass(frozen=True, eq=False)
class NodeSplit:
    """Three sets of nodes, no node in two.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Nodes, ascending.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class LinkSplit:
    """Three sets of links, and as many pairs that are none; no pair in two.

    Attributes
    ----------
    graph : Graph
        What messages pass along: the training links, both ways.
    train, validation, test : ndarray of int64, (2, E)
        Links, the lower node first.
    train_absent, validation_absent, test_absent : ndarray of int64, (2, E)
        As many pairs without a link in the whole graph.
    """

    graph: Graph
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    train_absent: np.ndarray
    validation_absent: np.ndarray
    test_absent: np.ndarray

    def redrawn(self, rng: np.random.Generator) -> np.ndarray:
        """Fresh pairs to learn from in the place of `train_absent`: no links, and of no other set.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws them.

        Returns
        -------
        ndarray of int64, (2, E)

        Raises
        ------
        TypeError
            For something else than a Generator.
        """
        held = self.train, self.validation, self.test, self.validation_absent, self.test_absent
        taken = np.concatenate(held, axis=1)
        return absent_pairs(rng, self.graph.nodes, taken, self.train.shape[1])


def split_nodes(rng: np.random.Generator, nodes: int, shares: tuple[float, float] = (0.1, 0.1)) -> NodeSplit:
    """Split nodes at random.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the order.
    nodes : int
        N.
    shares : tuple of float
        Of training and validation, rounded down; the rest is the test.

    Returns
    -------
    NodeSplit

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator, shares that leave nothing, and sets without a node.

    Examples
    --------
    >>> split = split_nodes(np.random.default_rng(0), 20, (0.1, 0.2))
    >>> len(split.train), len(split.validation), len(split.test)
    (2, 4, 14)
    >>> split_nodes(np.random.default_rng(0), 9)
    Traceback (most recent call last):
    ...
    ValueError: shares: expected at least one of 9 nodes in each set, got 0 for training, 0 for validation, 9
    for test
    """
    checks.generator("rng", rng)
    sizes = _sizes("nodes", checks.count("nodes", nodes), shares)
    order = rng.permutation(nodes)
    train, validation, test = np.split(order, np.cumsum(sizes)[:2])
    return NodeSplit(np.sort(train), np.sort(validation), np.sort(test))


def split_links(
    rng: np.random.Generator, graph: Graph, shares: tuple[float, float] = (0.85, 0.05)
) -> LinkSplit:
    """Split the links of an undirected graph at random, and draw as many pairs that are none.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the order, then the pairs of test, validation and training.
    graph : Graph
        With both directions of each link; loops are left out.
    shares : tuple of float
        Of training and validation, rounded down; the rest is the test.

    Returns
    -------
    LinkSplit

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator and a graph, a graph with one direction of a link alone, shares
        that leave nothing, sets without a link, and graphs without as many absent pairs.

    Examples
    --------
    >>> ring = Graph.undirected(20, np.arange(20), (np.arange(20) + 1) % 20)
    >>> split = split_links(np.random.default_rng(0), ring)
    >>> split.train.shape[1], split.validation.shape[1], split.test.shape[1], split.graph.edges
    (17, 1, 2, 34)
    """
    checks.generator("rng", rng)
    checks.instance("graph", graph, Graph, "Graph.undirected(3, [0], [1])")
    links = _links(graph)
    sizes = _sizes("links", links.shape[1], shares)
    shuffled = links[:, rng.permutation(links.shape[1])]
    train, validation, test = np.split(shuffled, np.cumsum(sizes)[:2], axis=1)
    taken = links
    absent: list[np.ndarray] = []
    for size in reversed(sizes):
        drawn = absent_pairs(rng, graph.nodes, taken, size)
        absent.insert(0, drawn)
        taken = np.concatenate([taken, drawn], axis=1)
    return LinkSplit(Graph.undirected(graph.nodes, *train), train, validation, test, *absent)


def absent_pairs(rng: np.random.Generator, nodes: int, taken: Any, pairs: int) -> np.ndarray:
    """Draw pairs of different nodes, all different, and none of those that are taken.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws them.
    nodes : int
        N.
    taken : array_like of int, (2, E)
        Pairs in any order.
    pairs : int
        How many.

    Returns
    -------
    ndarray of int64, (2, pairs)
        The lower node first.

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator, and where there are not that many.

    Examples
    --------
    >>> absent_pairs(np.random.default_rng(0), 3, [[0, 2], [1, 0]], 1)
    array([[1],
           [2]])
    """
    checks.generator("rng", rng)
    nodes, pairs = checks.count("nodes", nodes), checks.count("pairs", pairs, 0)
    used = np.unique(_codes(nodes, *np.asarray(taken, np.int64).reshape(2, -1)))
    free = nodes * (nodes - 1) // 2 - len(used)
    if pairs > free:
        raise ValueError(
            f"pairs: expected at most {free}, all pairs of {nodes} nodes that are left, got {pairs}; take a "
            "sparser graph"
        )
    if 2 * pairs > free:  # drawing and throwing away would take long
        low, high = np.triu_indices(nodes, 1)
        left = np.setdiff1d(_codes(nodes, low, high), used)
        return np.stack(np.divmod(rng.permutation(left)[:pairs], nodes))
    found = np.zeros(0, np.int64)
    while len(found) < pairs:
        ends = rng.integers(0, nodes, (2, 2 * (pairs - len(found)) + 8))
        fresh = _codes(nodes, *ends[:, ends[0] != ends[1]])
        found = np.concatenate([found, fresh[~np.isin(fresh, used)]])
        _, first = np.unique(found, return_index=True)
        found = found[np.sort(first)]  # in the order they were drawn: cutting must not prefer low nodes
    return np.stack(np.divmod(found[:pairs], nodes))


def _codes(nodes: int, ends: np.ndarray, others: np.ndarray) -> np.ndarray:
    """One number a pair, the same in both orders."""
    return np.minimum(ends, others).astype(np.int64) * nodes + np.maximum(ends, others)


def _links(graph: Graph) -> np.ndarray:
    """Each link of an undirected graph once."""
    forth = graph.sources * graph.nodes + graph.targets
    back = graph.targets * graph.nodes + graph.sources
    alone = np.setdiff1d(forth, back)
    if len(alone):
        source, target = divmod(int(alone[0]), graph.nodes)
        raise ValueError(
            f"graph: expected both directions of each link, got {source} to {target} alone; use "
            "Graph.undirected"
        )
    codes = np.unique(forth[graph.sources < graph.targets])
    return np.stack(np.divmod(codes, graph.nodes))


def _sizes(what: str, total: int, shares: tuple[float, float]) -> tuple[int, int, int]:
    """Sizes of the three sets, none empty."""
    if not isinstance(shares, (tuple, list)) or len(shares) != 2:
        raise TypeError(f"shares: expected those of training and validation, (0.1, 0.1), got {shares!r}")
    wanted = [checks.number("shares", share, 0, 1, low_open=True, high_open=True) for share in shares]
    # 0.29 * 100 is 28.999..: a share that is a whole number of nodes is that many
    train, validation = (math.floor(share * total + 1e-9) for share in wanted)
    test = total - train - validation
    if min(train, validation, test) < 1 or sum(wanted) >= 1:
        raise ValueError(
            f"shares: expected at least one of {total} {what} in each set, got {train} for training, "
            f"{validation} for validation, {test} for test"
        )
    return train, validation, test
