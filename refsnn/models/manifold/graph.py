"""Graphs, their normalised adjacency, and pairs of nodes.

    A_ts = number of edges from s to t, plus a loop of weight 1 at every node that has none,
    deg_t = sum_s A_ts,   Ahat = diag(deg^-1/2) A diag(deg^-1/2)                   (Kipf and Welling 2017)

An isolated node hears itself alone.  Multiple edges count, loops that are there stay and are not doubled.
A graph is directed: of an undirected one both directions are listed, as `Graph.undirected` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from refsnn import checks
from refsnn.kernels import graph_kernels
from refsnn.kernels.manifold import Incidence


@dataclass(frozen=True)
class SparseMatrix:
    """A sparse matrix by rows.

    Attributes
    ----------
    starts, neighbours : ndarray of int64, (N + 1,), (E,)
        Where the entries of each row begin, and their columns, ascending.
    values : ndarray, (E,)
        The entries.
    columns : int
        How many.
    """

    starts: np.ndarray
    neighbours: np.ndarray
    values: np.ndarray
    columns: int

    def __post_init__(self) -> None:
        # a kernel reads where these say, without looking
        entries = len(self.neighbours)
        if not len(self.starts) or self.starts[0] != 0 or self.starts[-1] != entries:
            raise ValueError(
                f"starts: expected row starts from 0 to {entries}, got "
                f"{checks.shortened(self.starts.tolist())}"
            )
        if (np.diff(self.starts) < 0).any():
            raise ValueError("starts: expected row starts that never fall, got others")
        if entries and (self.neighbours.min() < 0 or self.neighbours.max() >= self.columns):
            raise ValueError(
                f"neighbours: expected columns 0 to {self.columns - 1}, got {self.neighbours.min()} to "
                f"{self.neighbours.max()}"
            )
        if len(self.values) != entries:
            raise ValueError(f"values: expected {entries} like neighbours, got {len(self.values)}")

    @classmethod
    def of(cls, matrix: Any, dtype: Any = np.float64) -> SparseMatrix:
        """From a SciPy sparse matrix, which stays as it is; repeated entries are added up.

        Parameters
        ----------
        matrix : sparse array or matrix
            Of any format.
        dtype : dtype
            Of the values.

        Returns
        -------
        SparseMatrix

        Raises
        ------
        ValueError
            For a matrix whose rows or columns are not where it says.
        """
        rows = sparse.csr_array(matrix, copy=True)
        try:
            rows.check_format(full_check=True)
        except ValueError as error:
            raise ValueError(
                f"matrix: expected a well-formed sparse matrix, got one with: {error}"
            ) from error
        rows.sum_duplicates()
        rows.sort_indices()
        return cls(
            rows.indptr.astype(np.int64),
            rows.indices.astype(np.int64),
            rows.data.astype(dtype),
            rows.shape[1],
        )

    @property
    def rows(self) -> int:
        """N."""
        return len(self.starts) - 1

    def scipy(self) -> sparse.csr_array:
        """The same for SciPy."""
        return sparse.csr_array((self.values, self.neighbours, self.starts), (self.rows, self.columns))

    def astype(self, dtype: Any) -> SparseMatrix:
        """The same entries in another dtype.

        Parameters
        ----------
        dtype : dtype
            Of the values.

        Returns
        -------
        SparseMatrix
        """
        if self.values.dtype == dtype:
            return self
        return SparseMatrix(self.starts, self.neighbours, self.values.astype(dtype), self.columns)

    def transposed(self) -> SparseMatrix:
        """A^T, by rows too.

        Returns
        -------
        SparseMatrix
        """
        return SparseMatrix.of(self.scipy().T, self.values.dtype)

    def propagate(self, signals: np.ndarray, backend: str = "cpu") -> np.ndarray:
        """A x.

        Parameters
        ----------
        signals : ndarray, (columns, D) or (T, columns, D)
            x, at one or many time steps.
        backend : {"plain", "cpu", "cuda"}
            Which kernels.

        Returns
        -------
        ndarray, (N, D) or (T, N, D)

        Raises
        ------
        TypeError, ValueError
            For signals that are no floats, and another number of rows than this has columns.
        """
        if signals.dtype.kind != "f":
            raise TypeError(f"signals: expected floating numbers, got dtype {signals.dtype}")
        if signals.ndim not in (2, 3) or signals.shape[-2] != self.columns:
            raise ValueError(
                f"signals: expected shape ({self.columns}, D) or (T, {self.columns}, D), got {signals.shape}"
            )
        out = np.empty((*signals.shape[:-2], self.rows, signals.shape[-1]), signals.dtype)
        kernels = graph_kernels(backend)
        steps = (signals, out) if signals.ndim == 3 else (signals[None], out[None])
        for heard, said in zip(*steps, strict=True):
            kernels.propagate(self.starts, self.neighbours, self.values, np.ascontiguousarray(heard), said)
        return out


@dataclass(frozen=True)
class Graph:
    """Edges between nodes; each may be listed more than once.

    Parameters
    ----------
    nodes : int
        N.
    sources, targets : array_like of int, (E,)
        A message runs from source to target.

    Raises
    ------
    TypeError, ValueError
        For indices that are no integers, or not of a node.

    Examples
    --------
    >>> graph = Graph.undirected(3, [0], [1])
    >>> graph.normalised().scipy().toarray()
    array([[0.5, 0.5, 0. ],
           [0.5, 0.5, 0. ],
           [0. , 0. , 1. ]])
    """

    nodes: int
    sources: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", checks.count("nodes", self.nodes))
        for name in ("sources", "targets"):
            object.__setattr__(self, name, indices(name, getattr(self, name), self.nodes))
        if self.sources.shape != self.targets.shape:
            raise ValueError(
                f"targets: expected {len(self.sources)} indices like sources, got {len(self.targets)}"
            )

    @classmethod
    def undirected(cls, nodes: int, ends: Any, other_ends: Any) -> Graph:
        """Each pair once, in any order, made both directions; loops and repetitions are dropped.

        Parameters
        ----------
        nodes : int
            N.
        ends, other_ends : array_like of int, (E,)
            Of each edge.

        Returns
        -------
        Graph

        Raises
        ------
        TypeError, ValueError
            As the class.
        """
        given = cls(nodes, ends, other_ends)
        low, high = np.minimum(given.sources, given.targets), np.maximum(given.sources, given.targets)
        pairs = np.unique(np.stack([low, high])[:, low != high], axis=1)
        return cls(nodes, np.concatenate([pairs[0], pairs[1]]), np.concatenate([pairs[1], pairs[0]]))

    @classmethod
    def from_edge_index(cls, edge_index: Any, nodes: int) -> Graph:
        """The edges of a PyTorch Geometric `edge_index`, each in the direction in which it is listed.

        Parameters
        ----------
        edge_index : array_like of int, (2, E)
            Sources, then targets; an undirected graph has both directions of each edge there.
        nodes : int
            N, `data.num_nodes`: those without an edge are not in `edge_index`.

        Returns
        -------
        Graph

        Raises
        ------
        TypeError, ValueError
            For another shape, and as the class.

        Examples
        --------
        >>> Graph.from_edge_index([[0, 1], [1, 0]], 3).normalised().scipy().toarray()
        array([[0.5, 0.5, 0. ],
               [0.5, 0.5, 0. ],
               [0. , 0. , 1. ]])
        """
        given = checks.as_numpy("edge_index", edge_index)
        if given.ndim != 2 or given.shape[0] != 2:
            advice = "; take edge_index.T" if given.ndim == 2 and given.shape[1] == 2 else ""
            raise ValueError(f"edge_index: expected shape (2, E), got {given.shape}{advice}")
        sources, targets = (indices("edge_index", ends, checks.count("nodes", nodes)) for ends in given)
        return cls(nodes, sources, targets)

    @property
    def edges(self) -> int:
        """Directed edges, as listed."""
        return len(self.sources)

    def normalised(self, dtype: Any = np.float64) -> SparseMatrix:
        """Ahat.

        Parameters
        ----------
        dtype : dtype
            Of the values.

        Returns
        -------
        SparseMatrix
        """
        loop = np.zeros(self.nodes, bool)
        loop[self.sources[self.sources == self.targets]] = True
        lonely = np.flatnonzero(~loop)
        rows, columns = np.concatenate([self.targets, lonely]), np.concatenate([self.sources, lonely])
        counts = sparse.coo_array((np.ones(len(rows)), (rows, columns)), (self.nodes, self.nodes)).tocsr()
        scale = 1 / np.sqrt(counts.sum(axis=1))
        return SparseMatrix.of(sparse.diags_array(scale) @ counts @ sparse.diags_array(scale), dtype)

    def dropped(self, rng: np.random.Generator, share: float) -> Graph:
        """DropEdge: each directed edge stays with probability 1 - share.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws which.
        share : float
            In [0, 1).

        Returns
        -------
        Graph

        Raises
        ------
        TypeError, ValueError
            For something else than a Generator and a share.
        """
        checks.generator("rng", rng)
        checks.number("share", share, 0, 1, high_open=True)
        kept = rng.random(self.edges) >= share
        return Graph(self.nodes, self.sources[kept], self.targets[kept])


def indices(name: str, value: Any, nodes: int) -> np.ndarray:
    """Indices of nodes, or say why they are none.

    Parameters
    ----------
    name : str
        Of the argument.
    value : array_like of int, (E,)
        Possibly empty.
    nodes : int
        N.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    TypeError, ValueError
        For numbers that are no integers, other shapes, and what is no node.

    Examples
    --------
    >>> indices("sources", [0, 2], 2)
    Traceback (most recent call last):
    ...
    ValueError: sources: expected nodes 0 to 1, got 2
    """
    array = checks.as_numpy(name, value)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected indices of nodes (integers), got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {array.shape}")
    wrong = array[(array < 0) | (array >= nodes)]
    if len(wrong):
        raise ValueError(f"{name}: expected nodes 0 to {nodes - 1}, got {wrong[0]}")
    return array.astype(np.int64)


def incidence(nodes: int, sources: np.ndarray, targets: np.ndarray) -> Incidence:
    """Pairs, and for each node those that it is in.

    Parameters
    ----------
    nodes : int
        N.
    sources, targets : ndarray of int64, (E,)
        Ends of each pair.

    Returns
    -------
    Incidence
    """
    pairs = len(sources)
    ends = np.concatenate([sources, targets])
    entries = np.concatenate([2 * np.arange(pairs), 2 * np.arange(pairs) + 1])
    order = np.lexsort((entries, ends))
    starts = np.searchsorted(ends[order], np.arange(nodes + 1))
    return Incidence(sources, targets, starts.astype(np.int64), entries[order].astype(np.int64))
