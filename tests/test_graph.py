"""Graphs: normalised adjacencies of graphs of all kinds, sparse products, inputs with and without noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from refsnn.models.manifold.graph import Graph, SparseMatrix, incidence, indices
from refsnn.models.manifold.inputs import GraphInputs

SEEDS = st.integers(0, 2**32 - 1)


def by_hand(nodes, edges):
    """Loops over a list of edges."""
    matrix = [[0.0] * nodes for _ in range(nodes)]
    for source, target in edges:
        matrix[target][source] += 1
    for node in range(nodes):
        if matrix[node][node] == 0:
            matrix[node][node] = 1.0
    degrees = [sum(row) for row in matrix]
    return np.array(
        [[matrix[i][j] / np.sqrt(degrees[i] * degrees[j]) for j in range(nodes)] for i in range(nodes)]
    )


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        (1, []),
        (1, [(0, 0)]),
        (3, []),
        (3, [(0, 1), (1, 0)]),
        (3, [(0, 1)]),  # directed: 1 hears 0, and 0 itself alone
        (3, [(0, 1), (0, 1), (1, 2), (2, 0)]),  # twice
        (3, [(0, 0), (0, 1), (1, 0)]),  # a loop that is there stays, and is not doubled
        (4, [(2, 2), (2, 2), (2, 3), (3, 2), (3, 2)]),
    ],
)
def test_normalised_adjacency(nodes, edges):
    graph = Graph(nodes, [s for s, _ in edges], [t for _, t in edges])
    assert graph.edges == len(edges)
    found = graph.normalised()
    np.testing.assert_allclose(found.scipy().toarray(), by_hand(nodes, edges), rtol=1e-15, atol=0)
    assert found.scipy().toarray().diagonal().min() > 0  # everyone hears itself


@given(SEEDS, st.integers(1, 12), st.integers(0, 40))
def test_normalised_adjacency_of_any_graph(seed, nodes, count):
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(0, nodes, (2, count))
    found = Graph(nodes, sources, targets).normalised().scipy().toarray()
    expected = by_hand(nodes, zip(sources, targets, strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)


def test_an_isolated_node_hears_itself_alone():
    matrix = Graph.undirected(4, [0], [2]).normalised().scipy().toarray()
    assert matrix[1].tolist() == [0, 1, 0, 0]
    assert matrix[3].tolist() == [0, 0, 0, 1]


def test_a_directed_graph_is_not_symmetrised():
    matrix = Graph(2, [0], [1]).normalised().scipy().toarray()
    assert matrix[1, 0] == 1 / np.sqrt(2)
    assert matrix[0, 1] == 0


def test_an_edge_index_is_taken_as_it_is_listed():
    listed = np.array([[0, 1, 1, 1, 3], [1, 0, 2, 2, 3]])  # one direction alone, an edge twice, a loop
    graph = Graph.from_edge_index(listed, 5)
    np.testing.assert_array_equal([graph.sources, graph.targets], listed)
    assert graph.nodes == 5
    assert Graph.from_edge_index(np.zeros((2, 0), int), 2).edges == 0


def test_undirected_lists_each_pair_once_each_way():
    graph = Graph.undirected(4, [0, 1, 0, 3, 2], [1, 0, 1, 3, 1])
    pairs = sorted(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
    assert pairs == [(0, 1), (1, 0), (1, 2), (2, 1)]


@given(SEEDS, st.integers(1, 9), st.integers(0, 20), st.integers(1, 5))
def test_propagation_is_the_dense_product(seed, nodes, count, width):
    rng = np.random.default_rng(seed)
    matrix = Graph(nodes, *rng.integers(0, nodes, (2, count))).normalised()
    dense = matrix.scipy().toarray()
    for shape in ((nodes, width), (3, nodes, width)):
        signals = rng.standard_normal(shape)
        for backend in ("plain", "cpu"):
            np.testing.assert_allclose(matrix.propagate(signals, backend), dense @ signals, atol=1e-13)
            assert matrix.propagate(signals.astype(np.float32), backend).dtype == np.float32
    np.testing.assert_array_equal(matrix.transposed().scipy().toarray(), dense.T)


def test_a_sparse_matrix_adds_up_repeated_entries_and_sorts():
    rows = SparseMatrix.of(sparse.coo_array(([1.0, 2.0, 4.0, 8.0], ([0, 0, 0, 1], [2, 0, 2, 1])), (2, 3)))
    assert rows.starts.tolist() == [0, 2, 3]
    assert rows.neighbours.tolist() == [0, 2, 1]
    assert rows.values.tolist() == [2.0, 5.0, 8.0]
    assert (rows.rows, rows.columns) == (2, 3)
    assert rows.astype(np.float64) is rows
    assert rows.astype(np.float32).values.dtype == np.float32


def test_a_sparse_matrix_leaves_what_it_is_given_as_it_is():
    arrays = np.array([1.0, 2.0, 4.0, 8.0]), np.array([2, 0, 2, 1]), np.array([0, 3, 4])
    kept = [array.copy() for array in arrays]
    SparseMatrix.of(sparse.csr_array(arrays, (2, 3)))
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("starts", "neighbours", "values", "message"),
    [
        ([], [], [], "starts: expected row starts from 0 to 0"),
        ([0, 1], [0, 1], [1.0, 1.0], "starts: expected row starts from 0 to 2"),
        ([1, 2], [0, 1], [1.0, 1.0], "starts: expected row starts from 0 to 2"),
        ([0, 2, 1, 2], [0, 1], [1.0, 1.0], "starts: expected row starts that never fall"),
        ([0, 1], [3], [1.0], "neighbours: expected columns 0 to 2, got 3 to 3"),
        ([0, 1], [-1], [1.0], "neighbours: expected columns 0 to 2, got -1 to -1"),
        ([0, 1], [2], [1.0, 2.0], "values: expected 1 like neighbours, got 2"),
    ],
)
def test_malformed_rows(starts, neighbours, values, message):
    with pytest.raises(ValueError, match=message):
        SparseMatrix(np.array(starts, np.int64), np.array(neighbours, np.int64), np.array(values), 3)


def test_malformed_matrices_of_scipy():
    matrix = sparse.csr_array(([1.0, 2.0], [0, 1], [0, 1, 2]), (2, 2))
    matrix.indices[0] = 9
    with pytest.raises(ValueError, match="matrix: expected a well-formed sparse matrix, got one with"):
        SparseMatrix.of(matrix)
    with pytest.raises(ValueError, match="matrix: expected a well-formed sparse matrix"):
        GraphInputs.of(Graph(2, [], []), matrix, 1)


@pytest.mark.parametrize(
    ("signals", "kind", "message"),
    [
        (np.ones((2, 4)), ValueError, r"signals: expected shape \(3, D\) or \(T, 3, D\), got \(2, 4\)"),
        (np.ones((3, 2, 4)), ValueError, r"got \(3, 2, 4\)"),
        (np.ones(3), ValueError, r"got \(3,\)"),
        (np.ones((3, 4), int), TypeError, "signals: expected floating numbers, got dtype int64"),
    ],
)
@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_signals_that_do_not_fit_are_refused(signals, kind, message, backend):
    with pytest.raises(kind, match=message):
        Graph(3, [0], [1]).normalised().propagate(signals, backend)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Graph(0, [], []), ValueError, "nodes: expected an integer of at least 1, got 0"),
        (lambda: Graph(2.0, [], []), TypeError, "nodes: expected an integer"),
        (lambda: Graph(2, [0], [2]), ValueError, "targets: expected nodes 0 to 1, got 2"),
        (lambda: Graph(2, [-1], [0]), ValueError, "sources: expected nodes 0 to 1, got -1"),
        (lambda: Graph(2, [0.0], [1.0]), TypeError, r"sources: expected indices of nodes \(integers\)"),
        (lambda: Graph(2, [[0]], [[1]]), ValueError, r"sources: expected one dimension, got shape \(1, 1\)"),
        (lambda: Graph(2, [0, 1], [1]), ValueError, "targets: expected 2 indices like sources, got 1"),
        (lambda: Graph.undirected(2, [0], [5]), ValueError, "targets: expected nodes 0 to 1, got 5"),
        (
            lambda: Graph.from_edge_index([[0], [5]], 2),
            ValueError,
            "edge_index: expected nodes 0 to 1, got 5",
        ),
        (lambda: Graph.from_edge_index([0, 1], 2), ValueError, r"edge_index: .* \(2, E\), got \(2,\)$"),
        (
            lambda: Graph.from_edge_index(np.zeros((3, 2), int), 2),
            ValueError,
            r"got \(3, 2\); take edge_index.T",
        ),
        (
            lambda: Graph.from_edge_index([[0.0], [1.0]], 2),
            TypeError,
            "edge_index: expected indices of nodes",
        ),
        (lambda: Graph.from_edge_index([[0], [1]], None), TypeError, "nodes: expected an integer"),
        (lambda: indices("nodes", [True, False], 2), TypeError, "nodes: expected indices of nodes"),
        (lambda: Graph(2, [0], [1]).dropped(0, 0.5), TypeError, "rng: expected a numpy.random.Generator"),
        (lambda: Graph(2, [0], [1]).dropped(np.random.default_rng(0), 1.0), ValueError, "share: expected"),
    ],
)
def test_bad_graphs(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    ("graph", "features", "layers", "kind", "message"),
    [
        ("graph", np.eye(2), 1, TypeError, "graph: expected"),
        (Graph(2, [], []), np.eye(3), 1, ValueError, r"features: expected shape \(2, F\), got \(3, 3\)"),
        (Graph(2, [], []), np.ones(2), 1, ValueError, "features: expected shape"),
        (
            Graph(2, [], []),
            np.array([[1.0], [np.nan]]),
            1,
            ValueError,
            "features: .*1 NaN|features: .*finite",
        ),
        (Graph(2, [], []), np.array([["a"], ["b"]]), 1, TypeError, "features: expected numbers|features: "),
        (Graph(2, [], []), sparse.csr_array(np.ones((3, 1))), 1, ValueError, "features: expected 2 rows"),
        (Graph(2, [], []), sparse.csr_array([[np.inf], [1.0]]), 1, ValueError, "features: expected finite"),
        (Graph(2, [], []), np.eye(2), -1, ValueError, "layers: expected an integer of at least 0, got -1"),
    ],
)
def test_bad_inputs(graph, features, layers, kind, message):
    with pytest.raises(kind, match=message):
        GraphInputs.of(graph, features, layers)


def test_a_dtype_that_is_no_float():
    with pytest.raises((TypeError, ValueError), match="dtype"):
        GraphInputs.of(Graph(2, [], []), np.eye(2), 1, np.int64)


@given(SEEDS)
def test_sparse_features_gather_like_dense_ones(seed):
    rng = np.random.default_rng(seed)
    nodes, width = 30, 40
    graph = Graph(nodes, *rng.integers(0, nodes, (2, 25)))
    features = rng.random((nodes, width)) * (rng.random((nodes, width)) < 0.03)
    thin, thick = (GraphInputs.of(graph, given, 1) for given in (sparse.coo_array(features), features))
    assert isinstance(thin.gathered.features, SparseMatrix)
    assert isinstance(thick.gathered.features, np.ndarray)
    weight, adjoint = rng.standard_normal((3, width)), rng.standard_normal((nodes, 3))
    for backend in ("plain", "cpu"):
        for one, other in (
            (thin.gathered.times(weight, backend), thick.gathered.times(weight, backend)),
            (thin.gathered.outer(adjoint, backend), thick.gathered.outer(adjoint, backend)),
        ):
            np.testing.assert_allclose(one, other, atol=1e-13)
    assert thin.gathered.shape == thick.gathered.shape == (nodes, width)


def test_dropped_edges_leave_with_their_share():
    rng = np.random.default_rng(3)
    graph = Graph(50, *rng.integers(0, 50, (2, 20000)))
    kept = graph.dropped(rng, 0.3)
    assert abs(kept.edges / graph.edges - 0.7) < 0.02
    assert graph.dropped(rng, 0.0).edges == graph.edges


def test_noise_draws_graphs_and_masks_anew():
    graph, rng = Graph.undirected(20, *np.triu_indices(20, 1)), np.random.default_rng(0)
    inputs = GraphInputs.of(graph, np.eye(20), 2)
    noisy = inputs.with_noise(rng, 4, dropout=0.5, drop_edge=0.5, each_of=7)
    assert [mask.shape for mask in noisy.masks] == [(20, 4), (7, 20, 4), (7, 20, 4)]
    for mask in noisy.masks:
        assert set(np.unique(mask)) == {0.0, 2.0}
    first, second = (one.scipy().toarray() for one in noisy.adjacencies)
    assert not np.array_equal(first, second)  # one graph a block
    assert (first > 0).sum() < (inputs.adjacencies[0].scipy().toarray() > 0).sum()
    assert noisy.graph is graph
    quiet = inputs.with_noise(rng, 4)
    assert quiet.masks == (None, None, None)
    assert quiet.adjacencies == inputs.adjacencies
    again = [inputs.with_noise(np.random.default_rng(5), 4, dropout=0.5).masks[1] for _ in range(2)]
    np.testing.assert_array_equal(*again)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dropout": 1.0}, ValueError, "dropout: expected"),
        ({"dropout": -0.1}, ValueError, "dropout: expected"),
        ({"drop_edge": np.nan}, ValueError, "drop_edge: expected"),
        ({"dropout": 0.5, "each_of": 0}, ValueError, "each_of: expected an integer of at least 1, got 0"),
    ],
)
def test_bad_noise(options, kind, message):
    inputs = GraphInputs.of(Graph(2, [], []), np.eye(2), 1)
    with pytest.raises(kind, match=message):
        inputs.with_noise(np.random.default_rng(0), 3, **options)
    with pytest.raises(TypeError, match="rng: expected"):
        inputs.with_noise(0, 3, dropout=0.5)


def test_incidence_lists_both_ends_in_order():
    found = incidence(4, np.array([0, 2, 2]), np.array([1, 0, 2]))
    entries = [found.entries[a:b].tolist() for a, b in zip(found.starts, found.starts[1:], strict=False)]
    assert entries == [[0, 3], [1], [2, 4, 5], []]
