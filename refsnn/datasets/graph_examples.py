"""Graphs that need no file: Zachary's karate club, and stochastic block models."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.graphs import LabelledGraph
from refsnn.models.manifold.graph import Graph

# friends of each member with a higher number, members counted from 0 (Zachary 1977)
_FRIENDS: dict[int, tuple[int, ...]] = {
    0: (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31),
    1: (2, 3, 7, 13, 17, 19, 21, 30),
    2: (3, 7, 8, 9, 13, 27, 28, 32),
    3: (7, 12, 13),
    4: (6, 10),
    5: (6, 10, 16),
    6: (16,),
    8: (30, 32, 33),
    9: (33,),
    13: (33,),
    14: (32, 33),
    15: (32, 33),
    18: (32, 33),
    19: (33,),
    20: (32, 33),
    22: (32, 33),
    23: (25, 27, 29, 32, 33),
    24: (25, 27, 31),
    25: (31,),
    26: (29, 33),
    27: (33,),
    28: (31, 33),
    29: (32, 33),
    30: (32, 33),
    31: (32, 33),
    32: (33,),
}
_MEMBERS = 34
# who went with the instructor (member 0); the others stayed with the officers (member 33)
_INSTRUCTOR = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21)


def karate_club(dtype: Any = np.float64) -> LabelledGraph:
    """Return Zachary's karate club: 34 members, 78 friendships, and the two clubs it fell into.

    Nothing else is known of the members: their features are the unit vectors.

    Parameters
    ----------
    dtype : dtype
        Of the features: float64 or float32.

    Returns
    -------
    LabelledGraph
        Class 0 went with the instructor, class 1 stayed with the officers.

    Raises
    ------
    TypeError
        If the dtype is no float one.

    Examples
    --------
    >>> club = karate_club()
    >>> club.nodes, club.graph.edges // 2, club.labels[[0, 33]].tolist()
    (34, 78, [0, 1])
    """
    kind = checks.float_dtype("dtype", dtype)
    pairs = [(member, friend) for member, friends in _FRIENDS.items() for friend in friends]
    ends = np.array(pairs).T
    labels = np.ones(_MEMBERS, np.int64)
    labels[list(_INSTRUCTOR)] = 0
    return LabelledGraph(Graph.undirected(_MEMBERS, *ends), np.eye(_MEMBERS, dtype=kind), labels)


def stochastic_blocks(
    rng: np.random.Generator,
    blocks: int = 4,
    nodes_each: int = 50,
    within: float = 0.12,
    between: float = 0.015,
    features: int = 16,
    separation: float = 0.5,
    noise: float = 1.0,
    dtype: Any = np.float64,
) -> LabelledGraph:
    """Return a graph of blocks: pairs inside one are linked more often than others.

    A node's features are separation * (centre of its block) + noise * N(0, 1), centres drawn from N(0, 1).

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws links, then centres, then features.
    blocks, nodes_each : int
        How many, and how large; the classes are the blocks, one after the other.
    within, between : float in [0, 1]
        Probability of a link between two nodes of one block, and of two.
    features : int
        F.
    separation, noise : float
        Not negative.
    dtype : dtype
        Of the features: float64 or float32.

    Returns
    -------
    LabelledGraph

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator, counts and probabilities.

    Examples
    --------
    >>> data = stochastic_blocks(np.random.default_rng(0), blocks=2, nodes_each=3, within=1, between=0)
    >>> data.graph.edges // 2, data.labels.tolist(), data.features.shape
    (6, [0, 0, 0, 1, 1, 1], (6, 16))
    """
    checks.generator("rng", rng)
    for name, value in (("blocks", blocks), ("nodes_each", nodes_each), ("features", features)):
        checks.count(name, value)
    for name, share in (("within", within), ("between", between)):
        checks.number(name, share, 0, 1)
    for name, size in (("separation", separation), ("noise", noise)):
        checks.number(name, size, 0)
    kind = checks.float_dtype("dtype", dtype)
    labels = np.repeat(np.arange(blocks), nodes_each)
    ends, others = np.triu_indices(len(labels), 1)
    chance = np.where(labels[ends] == labels[others], within, between)
    linked = rng.random(len(ends)) < chance
    centres = rng.standard_normal((blocks, features))
    known = separation * centres[labels] + noise * rng.standard_normal((len(labels), features))
    return LabelledGraph(
        Graph.undirected(len(labels), ends[linked], others[linked]), known.astype(kind), labels
    )
