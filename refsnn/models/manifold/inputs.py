"""What a network on a graph sees: neighbourhood sums of features, adjacencies, masks.

G^0 = Ahat^0 X        once, before training; of sparse X never, see `Gathered`
Ahat^l, l = 1 .. L    one matrix for all blocks, or one for each under DropEdge
M^l                   dropout of currents: none, one mask for all steps, (N, D), or one a step, (T, N, D)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from refsnn import checks
from refsnn.models.manifold.graph import Graph, SparseMatrix


@dataclass(frozen=True)
class Gathered:
    """G^0 = Ahat X, with the two products that it takes part in.

    Dense, it is multiplied out once.  Of sparse features it has several times the entries of Ahat and X
    together, and is never made: G^0 W^T = Ahat (X W^T).

    Attributes
    ----------
    features : ndarray or SparseMatrix, (N, F)
        G^0 itself; X where it is sparse.
    adjacency : SparseMatrix or None, (N, N)
        Ahat of sparse features.
    backward : tuple of SparseMatrix
        X^T and Ahat^T of sparse features.
    """

    features: np.ndarray | SparseMatrix
    adjacency: SparseMatrix | None = None
    backward: tuple[SparseMatrix, ...] = ()

    @classmethod
    def of(
        cls, adjacency: SparseMatrix, features: np.ndarray | SparseMatrix, backend: str = "cpu"
    ) -> Gathered:
        """Of a graph and its features; sparse where they are, and few enough for that to pay.

        Parameters
        ----------
        adjacency : SparseMatrix
            Ahat.
        features : ndarray or SparseMatrix, (N, F)
            X.
        backend : {"plain", "cpu", "cuda"}
            Which kernels.

        Returns
        -------
        Gathered
        """
        if isinstance(features, SparseMatrix):
            entries = len(adjacency.values) + len(features.values)
            if entries < SPARSE_BELOW * features.rows * features.columns:
                return cls(features, adjacency, (features.transposed(), adjacency.transposed()))
            features = features.scipy().toarray()
        return cls(adjacency.propagate(features, backend))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, F)."""
        matrix = self.features
        return (matrix.rows, matrix.columns) if isinstance(matrix, SparseMatrix) else matrix.shape

    def times(self, weight: np.ndarray, backend: str) -> np.ndarray:
        """G^0 W^T.

        Parameters
        ----------
        weight : ndarray, (D, F)
            W.
        backend : {"plain", "cpu", "cuda"}
            Which kernels.

        Returns
        -------
        ndarray, (N, D)
        """
        if isinstance(self.features, SparseMatrix):
            assert self.adjacency is not None
            return self.adjacency.propagate(self.features.propagate(weight.T, backend), backend)
        return self.features @ weight.T

    def outer(self, adjoint: np.ndarray, backend: str) -> np.ndarray:
        """dL/dW = (dL/dx)^T G^0.

        Parameters
        ----------
        adjoint : ndarray, (N, D)
            dL/dx.
        backend : {"plain", "cpu", "cuda"}
            Which kernels.

        Returns
        -------
        ndarray, (D, F)
        """
        if isinstance(self.features, SparseMatrix):
            by_features, by_adjacency = self.backward
            spread = by_adjacency.propagate(adjoint, backend)
            return np.ascontiguousarray(by_features.propagate(spread, backend).T)
        return adjoint.T @ self.features


# of all entries: a dense product does more, but faster
SPARSE_BELOW = 0.2


@dataclass(frozen=True)
class GraphInputs:
    """All that a forward pass is given beside parameters.

    Attributes
    ----------
    gathered : Gathered
        G^0.
    adjacencies : tuple of SparseMatrix
        Ahat^1 .. Ahat^L.
    masks : tuple of ndarray or None
        M^0 .. M^L, of 0 and 1 / (1 - p).
    graph, features
        What this was made of.
    """

    gathered: Gathered
    adjacencies: tuple[SparseMatrix, ...]
    masks: tuple[np.ndarray | None, ...]
    graph: Graph = field(repr=False)
    features: np.ndarray | SparseMatrix = field(repr=False)

    @classmethod
    def of(cls, graph: Graph, features: Any, layers: int, dtype: Any = np.float64) -> GraphInputs:
        """Without noise.

        Parameters
        ----------
        graph : Graph
            Of N nodes.
        features : array_like or scipy sparse array, (N, F)
            X; converted to `dtype`.
        layers : int
            L: blocks after the encoder.
        dtype : dtype
            float64 or float32, that of the parameters.

        Returns
        -------
        GraphInputs

        Raises
        ------
        TypeError, ValueError
            For something else than a graph, features that do not fit it or are not finite.

        Examples
        --------
        >>> inputs = GraphInputs.of(Graph.undirected(3, [0], [1]), np.eye(3), layers=1)
        >>> inputs.gathered.shape, len(inputs.adjacencies)
        ((3, 3), 1)
        """
        checks.instance("graph", graph, Graph, "Graph.undirected(3, [0], [1])")
        layers, dtype = checks.count("layers", layers, 0), checks.float_dtype("dtype", dtype)
        known = _features(features, graph.nodes, dtype)
        adjacency = graph.normalised(dtype)
        return cls(Gathered.of(adjacency, known), (adjacency,) * layers, (None,) * (layers + 1), graph, known)

    @property
    def nodes(self) -> int:
        """N."""
        return self.graph.nodes

    @property
    def dtype(self) -> np.dtype:
        """Of features and adjacencies."""
        return self.features.values.dtype if isinstance(self.features, SparseMatrix) else self.features.dtype

    def with_noise(
        self,
        rng: np.random.Generator,
        width: int,
        *,
        dropout: float = 0.0,
        drop_edge: float = 0.0,
        each_of: int | None = None,
    ) -> GraphInputs:
        """Fresh masks of currents, fresh graphs with edges left out; both for one forward pass.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws them: graphs first, block by block, then masks.
        width : int
            D.
        dropout : float
            Share of currents that are set to 0; the rest is scaled up.
        drop_edge : float
            Share of directed edges that are left out, anew in each block.
        each_of : int, optional
            T, for a mask at each step in the blocks 1 .. L; one for all steps by default, which keeps memory
            and backward time independent of T.

        Returns
        -------
        GraphInputs

        Raises
        ------
        TypeError, ValueError
            For something else than a Generator, and shares outside [0, 1).
        """
        checks.generator("rng", rng)
        for name, share in (("dropout", dropout), ("drop_edge", drop_edge)):
            checks.number(name, share, 0, 1, high_open=True)
        dtype, layers = self.dtype, len(self.adjacencies)
        gathered, adjacencies = self.gathered, self.adjacencies
        if drop_edge:
            fresh = [self.graph.dropped(rng, drop_edge).normalised(dtype) for _ in range(layers + 1)]
            gathered, adjacencies = Gathered.of(fresh[0], self.features), tuple(fresh[1:])
        masks = self.masks
        if dropout:
            shapes: list[tuple[int, ...]] = [(self.nodes, width)] * (layers + 1)
            if each_of is not None:
                shapes[1:] = [(checks.count("each_of", each_of), self.nodes, width)] * layers
            scale = dtype.type(1 / (1 - dropout))
            masks = tuple((rng.random(shape) >= dropout).astype(dtype) * scale for shape in shapes)
        return GraphInputs(gathered, adjacencies, masks, self.graph, self.features)


def _features(value: Any, nodes: int, dtype: np.dtype) -> np.ndarray | SparseMatrix:
    """X, or why it is none."""
    if isinstance(value, SparseMatrix):
        value = value.scipy()
    if sparse.issparse(value):
        matrix = SparseMatrix.of(value, dtype)
        if matrix.rows != nodes:
            raise ValueError(f"features: expected {nodes} rows, one a node, got {matrix.rows}")
        if not np.isfinite(matrix.values).all():
            raise ValueError("features: expected finite numbers, got NaN or infinity; clean the data")
        return matrix
    array = checks.as_numpy("features", value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"features: expected numbers, got dtype {array.dtype}")
    return checks.float_array("features", np.ascontiguousarray(array, dtype), (nodes, "F"))
