"""Graphs of files, embedded and drawn ones, and how they are split: what is read is what was written."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from refsnn.datasets import (
    GRAPHS,
    absent_pairs,
    karate_club,
    load_graph,
    read_graph,
    split_links,
    split_nodes,
    stochastic_blocks,
)
from refsnn.models.manifold.graph import Graph


def arrays() -> dict[str, np.ndarray]:
    """Three nodes; edges 0 to 1 twice over (once each way), a loop, 1 to 2; four features, one of them 0."""
    return {
        "adj_data": np.ones(4, np.float32),
        "adj_indices": np.array([1, 0, 1, 2], np.int32),
        "adj_indptr": np.array([0, 1, 4, 4], np.int32),
        "adj_shape": np.array([3, 3]),
        "attr_data": np.array([2.5, -1.0, 0.0], np.float32),
        "attr_indices": np.array([3, 0, 1], np.int32),
        "attr_indptr": np.array([0, 1, 1, 3], np.int32),
        "attr_shape": np.array([3, 4]),
        "labels": np.array([1, 0, 2], np.int8),
    }


def written(folder: Path, name: str = "graph.npz", **changed) -> Path:
    """A file with some arrays changed; None leaves one out."""
    content = {key: value for key, value in (arrays() | changed).items() if value is not None}
    np.savez(folder / name, **content)
    return folder / name


# ---- what is right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_file_is_read_as_it_was_written(tmp_path, dtype):
    data = read_graph(written(tmp_path), dtype)
    pairs = set(zip(data.graph.sources.tolist(), data.graph.targets.tolist(), strict=True))
    assert pairs == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert data.graph.edges == 4
    assert sparse.issparse(data.features)
    assert data.features.dtype == dtype
    assert data.features.nnz == 2
    expected = [[0, 0, 0, 2.5], [0, 0, 0, 0], [-1, 0, 0, 0]]
    np.testing.assert_array_equal(data.features.toarray(), expected)
    assert data.labels.tolist() == [1, 0, 2]
    assert data.labels.dtype == np.int64
    assert (data.nodes, data.classes) == (3, 3)


def test_features_that_are_mostly_there_are_dense_and_an_entry_of_zero_is_no_edge(tmp_path):
    full = {
        "attr_data": np.arange(1.0, 7),
        "attr_indices": np.array([1, 0, 0, 1, 0, 1]),  # columns need not ascend
        "attr_indptr": np.array([0, 2, 4, 6]),
        "attr_shape": np.array([3, 2]),
        "adj_data": np.array([0.0, 1, 1, 1]),
        "adj_indices": np.array([2, 0, 1, 2]),
    }
    data = read_graph(written(tmp_path, **full))
    np.testing.assert_array_equal(data.features, [[2.0, 1], [3, 4], [5, 6]])
    assert data.graph.edges == 4  # 0 to 2 is not among them
    assert 2 not in data.graph.targets[data.graph.sources == 0]


def test_a_graph_without_edges_has_none(tmp_path):
    nothing = {"adj_data": np.zeros(0), "adj_indices": np.zeros(0, int), "adj_indptr": np.zeros(4, int)}
    assert read_graph(written(tmp_path, **nothing)).graph.edges == 0


def test_arrays_that_are_not_needed_are_never_opened(tmp_path):
    names = np.array(["a", {"evil": 1}, None], dtype=object)
    assert read_graph(written(tmp_path, node_names=names)).nodes == 3


# ---- what is wrong ----------------------------------------------------------------------------------------

HALF = np.array([0.5, 1, 1, 1])
MALFORMED = {
    "indptr descends": ({"adj_indptr": np.array([0, 3, 2, 4])}, "adj_indptr to ascend .* it descends"),
    "indptr begins late": ({"adj_indptr": np.array([1, 1, 4, 4])}, "adj_indptr to ascend from 0 to 4"),
    "indptr ends early": ({"attr_indptr": np.array([0, 1, 1, 2])}, "attr_indptr to ascend from 0 to 3"),
    "indptr too short": ({"adj_indptr": np.array([0, 1, 4])}, "4 numbers in adj_indptr.*found 3"),
    "indptr of floats": ({"adj_indptr": np.array([0.0, 1, 4, 4])}, "integers in adj_indptr, found float64"),
    "column too high": ({"adj_indices": np.array([1, 0, 1, 3])}, "adj_indices from 0 to 2, found 3"),
    "column negative": ({"attr_indices": np.array([3, 0, -1])}, "attr_indices from 0 to 3, found -1"),
    "column twice": ({"attr_indices": np.array([3, 1, 1])}, "each column once in a row of attr"),
    "indices of floats": ({"attr_indices": np.array([3.0, 0, 1])}, "integers in attr_indices"),
    "indices too few": (
        {"adj_indices": np.array([1, 0, 1])},
        "as many adj_data as adj_indices, found 4 and 3",
    ),
    "indices in two rows": ({"adj_indices": np.ones((2, 2), int)}, "a row of numbers in adj_indices"),
    "not square": ({"adj_shape": np.array([3, 4])}, "adj_shape to be square"),
    "no nodes": ({"adj_shape": np.array([0, 0])}, "rows and columns in adj_shape"),
    "shape of three": ({"attr_shape": np.array([3, 4, 1])}, "rows and columns in attr_shape"),
    "features of others": (
        {"attr_shape": np.array([2, 4]), "attr_indptr": np.array([0, 1, 3])},
        "3 rows of attr, one a node, found 2",
    ),
    "edges with weights": ({"adj_data": HALF}, "adj_data of ones, an edge each, found 0.5"),
    "NaN edge": ({"adj_data": np.array([np.nan, 1, 1, 1])}, "finite numbers in adj_data"),
    "NaN feature": ({"attr_data": np.array([1, np.nan, 1])}, "finite numbers in attr_data"),
    "infinite feature": ({"attr_data": np.array([1, np.inf, 1])}, "finite numbers in attr_data"),
    "features of text": ({"attr_data": np.array(["a", "b", "c"])}, "a row of numbers in attr_data"),
    "labels of floats": ({"labels": np.array([1.0, 0, 2])}, "an integer for each of 3 nodes in labels"),
    "labels too few": ({"labels": np.array([1, 0])}, "an integer for each of 3 nodes in labels"),
    "labels negative": ({"labels": np.array([1, 0, -1])}, "labels from 0, found -1"),
    "labels pickled": ({"labels": np.array([1, 0, None])}, "numbers in labels, found what cannot be read"),
    "indices pickled": ({"adj_indices": np.array([1, 0, 1, {}])}, "cannot be read without pickle"),
    "labels missing": ({"labels": None}, "missing labels"),
    "several missing": ({"adj_indptr": None, "attr_shape": None}, "missing adj_indptr, attr_shape"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused(tmp_path, case):
    changed, message = MALFORMED[case]
    path = written(tmp_path, **changed)
    with pytest.raises(ValueError, match=message) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)


def test_numbers_beyond_float32_are_refused_in_float32_alone(tmp_path):
    path = written(tmp_path, attr_data=np.array([1e300, 1, 1]))
    assert read_graph(path).features.max() == 1e300
    with pytest.raises(ValueError, match="attr_data within float32"):
        read_graph(path, np.float32)


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    (tmp_path / "trap.npz").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ValueError, match=r"expected an \.npz file, found something else"):
        read_graph(tmp_path / "trap.npz")
    path = written(tmp_path, labels=np.array([Trap(sprung), 0, 1], dtype=object))
    with pytest.raises(ValueError, match="labels"):
        read_graph(path)
    assert not sprung.exists()
    np.load(path, allow_pickle=True)["labels"]  # the trap is a real one
    assert sprung.exists()


def test_files_of_other_kinds_and_broken_ones_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not there; get cora"):
        read_graph(tmp_path / "nothing.npz")
    np.save(tmp_path / "single.npy", np.ones(3))
    with pytest.raises(ValueError, match="found a single one"):
        read_graph(tmp_path / "single.npy")
    (tmp_path / "page.npz").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"expected an \.npz file"):
        read_graph(tmp_path / "page.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected an \.npz file"):
        read_graph(tmp_path / "empty.npz")
    whole = written(tmp_path).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"expected an \.npz file"):
        read_graph(tmp_path / "cut.npz")
    damaged = bytearray(whole)
    damaged[whole.index(np.float32(2.5).tobytes() + np.float32(-1).tobytes())] ^= 0xFF
    (tmp_path / "damaged.npz").write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"attr_data.*CRC"):
        read_graph(tmp_path / "damaged.npz")


def test_where_the_named_graphs_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="REFSNN_DATA is not set; get cora"):
        load_graph("cora")
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"expected cora\.npz in .*graphs, which is not there"):
        load_graph("cora")
    (tmp_path / "graphs").mkdir()
    with pytest.raises(FileNotFoundError, match="not there; get cora"):
        load_graph("cora")
    written(tmp_path / "graphs", "cora.npz")
    assert load_graph("cora").nodes == 3
    assert load_graph("cora", tmp_path / "graphs", np.float32).features.dtype == np.float32
    with pytest.raises(ValueError, match="name: expected one of 'cora'"):
        load_graph("karate")
    with pytest.raises(TypeError, match="dtype: expected float32 or float64"):
        load_graph("cora", dtype=int)


# nodes, edges, features, classes, stored features
KNOWN = {
    "cora": (2708, 5278, 1433, 7, 49216),
    "citeseer": (3312, 4536, 3703, 6, 105165),
    "airport": (3188, 18630, 4, 4, 12691),
    "disease": (2665, 2664, 11, 2, 29313),
}


@pytest.mark.skipif(not os.environ.get("REFSNN_DATA"), reason="REFSNN_DATA is not set: no graphs to read")
@pytest.mark.parametrize("name", GRAPHS)
def test_the_real_graphs(name):
    data = load_graph(name)
    entries = data.features.nnz if sparse.issparse(data.features) else np.count_nonzero(data.features)
    found = data.nodes, data.graph.edges // 2, data.features.shape[1], data.classes, entries
    assert found == KNOWN[name]
    assert sparse.issparse(data.features) == (name in ("cora", "citeseer"))
    assert np.bincount(data.labels).min() > 0


# ---- embedded and drawn graphs ----------------------------------------------------------------------------


def test_the_karate_club_is_zacharys():
    club = karate_club(np.float32)
    dense = np.zeros((34, 34), int)
    dense[club.graph.sources, club.graph.targets] = 1
    assert club.graph.edges == 2 * 78
    np.testing.assert_array_equal(dense, dense.T)
    degrees = [16, 9, 10, 6, 3, 4, 4, 4, 5, 2, 3, 1, 2, 5, 2, 2, 2, 2, 2, 3, 2, 2, 2, 5, 3, 3, 2, 4, 3, 4, 4,
               6, 12, 17]  # fmt: skip
    assert dense.sum(axis=0).tolist() == degrees
    assert np.trace(dense @ dense @ dense) // 6 == 45  # triangles
    assert np.bincount(club.labels).tolist() == [17, 17]
    assert club.labels[[0, 8, 33]].tolist() == [0, 0, 1]
    between = dense[club.labels == 0][:, club.labels == 1].sum()
    assert between == 11  # friendships that the quarrel cut
    assert club.features.dtype == np.float32
    np.testing.assert_array_equal(club.features, np.eye(34))


@given(seed=st.integers(0, 2**32 - 1), blocks=st.integers(2, 4))
def test_blocks_have_the_probabilities_that_were_asked_for(seed, blocks):
    data = stochastic_blocks(np.random.default_rng(seed), blocks, 60, within=0.3, between=0.05, features=3)
    assert data.labels.tolist() == np.repeat(np.arange(blocks), 60).tolist()
    inside = data.labels[data.graph.sources] == data.labels[data.graph.targets]
    for pairs, found, chance in (
        (blocks * 60 * 59 / 2, inside.sum() / 2, 0.3),
        (60 * 60 * blocks * (blocks - 1) / 2, (~inside).sum() / 2, 0.05),
    ):
        deviation = np.sqrt(pairs * chance * (1 - chance))
        assert abs(found - pairs * chance) < 6 * deviation
    assert (data.graph.sources != data.graph.targets).all()


def test_features_of_blocks_are_centres_and_noise():
    def drawn(**options):
        return stochastic_blocks(np.random.default_rng(3), 3, 300, 0, 0, 5, **options)

    still = drawn(separation=0.5, noise=0.0).features
    assert len(np.unique(still, axis=0)) == 3
    twice = drawn(separation=1.0, noise=0.0).features
    np.testing.assert_allclose(twice, 2 * still, rtol=1e-15)
    noise = drawn(separation=0.5, noise=2.0).features - still
    assert abs(noise.std() - 2) < 0.13
    assert abs(noise.mean()) < 0.18
    assert drawn(dtype=np.float32).features.dtype == np.float32


def test_blocks_refuse_what_they_cannot_draw():
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match="rng"):
        stochastic_blocks(0)
    for wrong in ({"blocks": 0}, {"nodes_each": 0}, {"features": 0}, {"within": 1.5}, {"between": -0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            stochastic_blocks(rng, **wrong)
    with pytest.raises(ValueError, match="noise"):
        stochastic_blocks(rng, noise=-1.0)
    with pytest.raises(TypeError, match="dtype"):
        stochastic_blocks(rng, dtype=int)
    with pytest.raises(TypeError, match="dtype"):
        karate_club("int64")


# ---- splits -----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(10, 300))
def test_node_splits_share_out_all_nodes_once(seed, nodes):
    split = split_nodes(np.random.default_rng(seed), nodes)
    parts = split.train, split.validation, split.test
    assert sorted(np.concatenate(parts).tolist()) == list(range(nodes))
    assert len(split.train) == len(split.validation) == nodes // 10
    again = split_nodes(np.random.default_rng(seed), nodes)
    np.testing.assert_array_equal(again.test, split.test)


def test_node_splits_are_random_and_each_node_is_in_each_set_as_often_as_it_should():
    rng, counts = np.random.default_rng(0), np.zeros((3, 20))
    for _ in range(600):
        split = split_nodes(rng, 20, (0.2, 0.3))
        for place, part in enumerate((split.train, split.validation, split.test)):
            counts[place, part] += 1
    for row, share in zip(counts, (0.2, 0.3, 0.5), strict=True):
        assert (abs(row - 600 * share) < 6 * np.sqrt(600 * share * (1 - share))).all()


@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.9, 0.05), (0.6, 0.4), (0.7, 0.6)])
def test_empty_splits_are_refused(shares):
    nodes = 9 if shares == (0.1, 0.1) else 12
    with pytest.raises(ValueError, match=f"at least one of {nodes} nodes in each set"):
        split_nodes(np.random.default_rng(0), nodes, shares)


def test_shares_that_are_none_are_refused():
    rng = np.random.default_rng(0)
    for shares in (0.1, (0.1,), (0.1, 0.1, 0.8)):
        with pytest.raises(TypeError, match="shares: expected those of training and validation"):
            split_nodes(rng, 20, shares)
    for shares in ((0.0, 0.1), (0.1, 1.0), (-0.1, 0.1), (np.nan, 0.1)):
        with pytest.raises(ValueError, match="shares"):
            split_nodes(rng, 20, shares)
    with pytest.raises(TypeError, match="rng"):
        split_nodes(7, 20)


def codes(pairs: np.ndarray, nodes: int) -> set[int]:
    """One number a pair; the lower node is first."""
    assert (pairs[0] < pairs[1]).all()
    return set((pairs[0] * nodes + pairs[1]).tolist())


@given(seed=st.integers(0, 2**32 - 1))
def test_link_splits_keep_every_pair_in_one_set(seed):
    rng = np.random.default_rng(seed)
    graph = stochastic_blocks(rng, 2, 30, 0.2, 0.05).graph
    split = split_links(rng, graph, (0.7, 0.1))
    nodes, links = graph.nodes, graph.edges // 2
    parts = split.train, split.validation, split.test
    absent = split.train_absent, split.validation_absent, split.test_absent
    assert [part.shape for part in absent] == [part.shape for part in parts]
    assert parts[0].shape[1] == int(0.7 * links + 1e-9)
    assert parts[1].shape[1] == int(0.1 * links + 1e-9)
    chosen = [codes(part, nodes) for part in (*parts, *absent)]
    everything = set().union(*chosen)
    assert len(everything) == sum(map(len, chosen)) == 2 * links  # no pair twice, in none or two sets
    linked = codes(np.stack([graph.sources, graph.targets])[:, graph.sources < graph.targets], nodes)
    assert set().union(*chosen[:3]) == linked
    # messages pass along training links, both ways, and along no others
    heard = np.stack([split.graph.sources, split.graph.targets])
    assert codes(heard[:, heard[0] < heard[1]], nodes) == chosen[0]
    assert codes(heard[::-1][:, heard[0] > heard[1]], nodes) == chosen[0]
    fresh = split.redrawn(rng)
    assert fresh.shape == split.train.shape
    taken = set().union(*chosen[:3], *chosen[4:])
    assert len(codes(fresh, nodes) - taken) == fresh.shape[1]


def test_pairs_are_drawn_evenly_and_the_last_ones_are_found():
    rng, counts = np.random.default_rng(1), np.zeros((8, 8), int)
    taken = np.array([[0, 3], [1, 2]])
    for _ in range(2000):
        low, high = absent_pairs(rng, 8, taken, 3)
        counts[low, high] += 1
    assert counts[0, 1] == counts[2, 3] == 0
    drawn = counts[np.triu_indices(8, 1)]
    drawn = drawn[drawn > 0]
    assert len(drawn) == 26
    assert abs(drawn - 2000 * 3 / 26).max() < 6 * np.sqrt(2000 * 3 / 26)
    assert absent_pairs(rng, 8, taken, 26).shape == (2, 26)
    assert absent_pairs(rng, 8, taken, 0).shape == (2, 0)
    with pytest.raises(ValueError, match="at most 26, all pairs of 8 nodes that are left, got 27"):
        absent_pairs(rng, 8, taken, 27)


def test_link_splits_refuse_what_cannot_be_split():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="both directions of each link, got 0 to 1 alone"):
        split_links(rng, Graph(4, [0], [1]))
    with pytest.raises(ValueError, match="at least one of 3 links in each set"):
        split_links(rng, Graph.undirected(4, [0, 1, 2], [1, 2, 3]))
    low, high = np.triu_indices(10, 1)
    with pytest.raises(ValueError, match="take a sparser graph"):
        split_links(rng, Graph.undirected(10, low, high))
    with pytest.raises(TypeError, match="graph: expected a Graph"):
        split_links(rng, np.eye(4))
    looped = Graph(30, [*range(30), *range(30), 0], [*np.roll(range(30), 1), *np.roll(range(30), -1), 0])
    split = split_links(rng, looped)
    assert split.train.shape[1] + split.validation.shape[1] + split.test.shape[1] == 30
