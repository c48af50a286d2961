"""Graphs with features and classes of their nodes, from the .npz layout of Shchur 2018.

A file holds two sparse matrices by rows, adjacency ("adj") and features ("attr"), each as four arrays

    NAME_data     the entries, row after row
    NAME_indices  their columns
    NAME_indptr   where each row begins, and the number of entries: row i is indptr[i] .. indptr[i + 1] - 1
    NAME_shape    rows and columns

and `labels`, one integer a node.  Other arrays in it are never read, and nothing is ever unpickled.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from refsnn import checks
from refsnn.datasets.files import AGAIN, data_folder
from refsnn.models.manifold.graph import Graph

GRAPHS = ("cora", "citeseer", "airport", "disease")
WHERE = (
    "get cora.npz and citeseer.npz from https://github.com/shchur/gnn-benchmark (folder data/npz); airport "
    "and disease are those of https://github.com/HazyResearch/hgcn, saved in the same layout"
)
DENSE_FROM = 0.5  # share of features that are not 0

_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class LabelledGraph:
    """A graph, what is known of its nodes, and their classes.

    Attributes
    ----------
    graph : Graph
        Undirected: each edge in both directions, no loops, no repetitions.
    features : ndarray or scipy.sparse.csr_array, (N, F)
        Sparse where half of the entries or more are 0.
    labels : ndarray of int64, (N,)
        Classes, from 0.
    """

    graph: Graph
    features: np.ndarray | sparse.csr_array
    labels: np.ndarray

    @property
    def nodes(self) -> int:
        """N."""
        return self.graph.nodes

    @property
    def classes(self) -> int:
        """C: one more than the highest label."""
        return int(self.labels.max()) + 1


def load_graph(
    name: str, folder: str | os.PathLike[str] | None = None, dtype: Any = np.float64
) -> LabelledGraph:
    """Return one of the graphs that papers are compared on.

    Parameters
    ----------
    name : {"cora", "citeseer", "airport", "disease"}
        Citations with bags of words (2708 nodes, 7 classes; 3312 nodes, 6 classes); flights with 4 features
        (3188 nodes, 4 classes); a tree of infections (2665 nodes, 2 classes).
    folder : path-like, optional
        Where NAME.npz is; ``$REFSNN_DATA/graphs`` if it is not given.
    dtype : dtype
        Of the features: float64 or float32.

    Returns
    -------
    LabelledGraph

    Raises
    ------
    FileNotFoundError
        Naming what is missing, and where to get it.
    TypeError, ValueError
        For another name or dtype, and as `read_graph`.

    Examples
    --------
    >>> load_graph("cora", "no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    FileNotFoundError: folder: expected cora.npz in no/such/folder, which is not there; ...
    """
    checks.choice("name", name, GRAPHS)
    kind = checks.float_dtype("dtype", dtype)
    return read_graph(data_folder(folder, "graphs", f"{name}.npz", WHERE) / f"{name}.npz", kind)


def read_graph(path: str | os.PathLike[str], dtype: Any = np.float64) -> LabelledGraph:
    """Return the graph of a file, made undirected.

    An edge is one however often and in whichever directions it is listed; loops are dropped, and so are
    entries of 0.

    Parameters
    ----------
    path : path-like
        An .npz file in the layout above.
    dtype : dtype
        Of the features: float64 or float32.

    Returns
    -------
    LabelledGraph

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If the dtype is no float one.
    ValueError
        If the file is no .npz, broken, or not in the layout: missing arrays, pickled objects, rows that do
        not ascend, columns out of range, sizes that do not fit, numbers that are not finite, edges with
        weights, negative labels.

    Examples
    --------
    >>> import tempfile
    >>> arrays = {"labels": np.array([0, 1])}
    >>> for name in ("adj", "attr"):
    ...     arrays |= {f"{name}_data": np.ones(1), f"{name}_indices": np.array([1])}
    ...     arrays |= {f"{name}_indptr": np.array([0, 1, 1]), f"{name}_shape": np.array([2, 2])}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(folder + "/pair.npz", **arrays)
    ...     pair = read_graph(folder + "/pair.npz")
    >>> pair.graph.sources, pair.graph.targets, pair.features.toarray()[0]
    (array([0, 1]), array([1, 0]), array([0., 1.]))
    """
    path, kind = Path(path), checks.float_dtype("dtype", dtype)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected the .npz file of a graph, got {path}, not there; {WHERE}")
    arrays = _arrays(path)
    adjacency = _matrix(path, "adj", arrays)
    nodes, columns = adjacency.shape
    if nodes != columns:
        raise ValueError(f"{path}: expected adj_shape to be square, found {(nodes, columns)}; {AGAIN}")
    weights = adjacency.data[(adjacency.data != 0) & (adjacency.data != 1)]
    if weights.size:
        raise ValueError(
            f"{path}: expected adj_data of ones, an edge each, found {weights[0]}; weights of edges are not "
            "supported, set them to 1"
        )
    edges = adjacency.tocoo()
    edges.eliminate_zeros()
    known = _matrix(path, "attr", arrays)
    if known.shape[0] != nodes:
        raise ValueError(
            f"{path}: expected {nodes} rows of attr, one a node, found {known.shape[0]}; {AGAIN}"
        )
    graph = Graph.undirected(nodes, edges.row, edges.col)
    return LabelledGraph(graph, _features(path, known, kind), _labels(path, arrays["labels"], nodes))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The nine arrays that are needed; the file's others stay closed."""
    parts = ("data", "indices", "indptr", "shape")
    wanted = [f"{name}_{part}" for name in ("adj", "attr") for part in parts] + ["labels"]
    with path.open("rb") as opened:  # NumPy would leave a broken file open
        try:
            file = np.load(opened, allow_pickle=False)
        except _BROKEN as error:
            raise ValueError(
                f"{path}: expected an .npz file, found something else: {error}; {AGAIN}"
            ) from error
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError(f"{path}: expected an .npz file of several arrays, found a single one; {AGAIN}")
        missing = [name for name in wanted if name not in file.files]
        if missing:
            raise ValueError(
                f"{path}: expected the arrays {', '.join(wanted)}, missing {', '.join(missing)}; {AGAIN}"
            )
        return {name: _array(path, name, file) for name in wanted}


def _array(path: Path, name: str, file: Mapping[str, np.ndarray]) -> np.ndarray:
    """One array, which is only now read."""
    try:
        return file[name]
    except _BROKEN as error:  # pickled objects are among these: they could run code
        raise ValueError(
            f"{path}: expected numbers in {name}, found what cannot be read without pickle, or is broken: "
            f"{error}; {AGAIN}"
        ) from error


def _matrix(path: Path, name: str, arrays: Mapping[str, np.ndarray]) -> sparse.csr_array:
    """A matrix from its four arrays, each checked: SciPy would take most that is wrong in them."""
    data, indices, starts = (_row(path, f"{name}_{part}", arrays) for part in ("data", "indices", "indptr"))
    shape = _row(path, f"{name}_shape", arrays)
    for part, array in (("indices", indices), ("indptr", starts), ("shape", shape)):
        if array.dtype.kind not in "iu":
            raise ValueError(f"{path}: expected integers in {name}_{part}, found {array.dtype}; {AGAIN}")
    if shape.shape != (2,) or shape.min() < 1:
        raise ValueError(
            f"{path}: expected rows and columns in {name}_shape, found {shape.tolist()[:5]}; {AGAIN}"
        )
    rows, columns = shape.tolist()
    if len(data) != len(indices):
        raise ValueError(
            f"{path}: expected as many {name}_data as {name}_indices, found {len(data)} and {len(indices)}; "
            f"{AGAIN}"
        )
    if len(starts) != rows + 1:
        raise ValueError(
            f"{path}: expected {rows + 1} numbers in {name}_indptr, one a row and the end, found "
            f"{len(starts)}; {AGAIN}"
        )
    if starts[0] != 0 or starts[-1] != len(indices) or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f"{path}: expected {name}_indptr to ascend from 0 to {len(indices)}, the number of entries, "
            f"found {starts[0]} to {starts[-1]}"
            + (", and it descends" if (starts[1:] < starts[:-1]).any() else "")
            + f"; {AGAIN}"
        )
    wrong = indices[(indices < 0) | (indices >= columns)]
    if wrong.size:
        raise ValueError(
            f"{path}: expected {name}_indices from 0 to {columns - 1}, found {wrong[0]}; {AGAIN}"
        )
    if not np.isfinite(data).all():
        raise ValueError(f"{path}: expected finite numbers in {name}_data, found NaN or infinity; {AGAIN}")
    triplet = data, indices.astype(np.int64), starts.astype(np.int64)
    return sparse.csr_array(triplet, (rows, columns))


def _row(path: Path, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """An array of numbers with one dimension."""
    array = arrays[name]
    if array.dtype.kind not in "biuf" or array.ndim != 1:
        raise ValueError(
            f"{path}: expected a row of numbers in {name}, found {array.dtype} of shape {array.shape}; "
            f"{AGAIN}"
        )
    return array


def _features(path: Path, known: sparse.csr_array, dtype: np.dtype) -> np.ndarray | sparse.csr_array:
    """X in the dtype asked for."""
    entries = known.nnz
    with np.errstate(over="ignore"):
        known = known.astype(dtype)
    if not np.isfinite(known.data).all():
        raise ValueError(f"{path}: expected attr_data within {dtype}, found larger numbers; take float64")
    known.sum_duplicates()
    if known.nnz != entries:
        raise ValueError(f"{path}: expected each column once in a row of attr, found one twice; {AGAIN}")
    known.eliminate_zeros()
    if known.nnz > DENSE_FROM * known.shape[0] * known.shape[1]:
        return known.toarray()
    return known


def _labels(path: Path, labels: np.ndarray, nodes: int) -> np.ndarray:
    """Classes of the nodes."""
    if labels.dtype.kind not in "iu" or labels.shape != (nodes,):
        raise ValueError(
            f"{path}: expected an integer for each of {nodes} nodes in labels, found {labels.dtype} of shape "
            f"{labels.shape}; {AGAIN}"
        )
    if labels.min() < 0:
        raise ValueError(
            f"{path}: expected labels from 0, found {labels.min()}; nodes without are not allowed"
        )
    return labels.astype(np.int64)
