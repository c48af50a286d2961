"""NIR files: what is written is read, by refsnn and by the nir package, and what is broken is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import h5py
import nir_cases as cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.nir import (
    Events,
    Gridded,
    NirGraph,
    Node,
    read_data,
    read_graph,
    run_graph,
    write_data,
    write_graph,
)
from refsnn.nir import files as nir_files
from refsnn.nir.nodes import KINDS

ROOT = Path(__file__).resolve().parent.parent


def digest(path) -> str:
    """Of all its bytes; a difference of long bytes would take pytest minutes to print."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


WRITTEN: dict[int, bytes] = {}


def content_of(folder: Path, graph: NirGraph) -> bytes:
    """The bytes of its file, written once."""
    key = len(graph.nodes)
    if key not in WRITTEN:
        WRITTEN[key] = write_graph(folder / "graph.nir", graph).read_bytes()
    return WRITTEN[key]


@pytest.fixture
def written(tmp_path):
    (tmp_path / "graph.nir").write_bytes(content_of(tmp_path, cases.every_kind(np.random.default_rng(1))))
    return tmp_path / "graph.nir"


def changed(path: Path, what) -> Path:
    """The file with `what` done to it."""
    with h5py.File(path, "r+") as file:
        what(file)
    return path


# ---- what is right -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_written_is_read(tmp_path, dtype):
    graph = cases.every_kind(np.random.default_rng(0), dtype)
    assert {node.kind for node in graph.nodes.values()} == set(KINDS)
    again = read_graph(write_graph(tmp_path / "graph.nir", graph))
    assert set(again.nodes) == set(graph.nodes)
    for name, node in graph.nodes.items():
        found = again.nodes[name]
        if name == "conv1d":  # other readers need what arrives there
            assert found.values.pop("input_shape") == 9
        assert found == node, name
        assert again.nodes[name].metadata == node.metadata
    assert set(again.edges) == set(graph.edges)
    assert again.metadata == graph.metadata
    assert again.late_edges == (("loop", "lif"),)


def test_equal_graphs_have_equal_bytes(tmp_path):
    graph = cases.every_kind(np.random.default_rng(0))
    one, two = (digest(write_graph(tmp_path / name, graph)) for name in ("one.nir", "two.nir"))
    assert one == two


def test_the_nir_package_reads_what_is_written(tmp_path):
    nir = pytest.importorskip("nir")
    graph = cases.every_kind(np.random.default_rng(2), np.float32)
    other = nir.read(write_graph(tmp_path / "graph.nir", graph), type_check=False)
    assert set(other.nodes) == set(graph.nodes)
    assert {tuple(edge) for edge in other.edges} == set(graph.edges)
    compared = 0
    for name, node in graph.nodes.items():
        there = other.nodes[name]
        assert type(there).__name__ == node.kind
        for field, value in node.values.items():
            if field in ("shape", "input_type"):
                (found,) = (there.input_type if node.kind == "Input" else there.output_type).values()
            else:
                found = getattr(there, field)
            np.testing.assert_array_equal(np.asarray(found), np.asarray(value), err_msg=f"{name}.{field}")
            if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind == "f":
                assert found.dtype == value.dtype
            compared += 1
    assert compared > 50


def test_what_the_nir_package_writes_is_read(tmp_path):
    nir = pytest.importorskip("nir")
    rng = np.random.default_rng(3)
    weight, own = rng.standard_normal((4, 3)), rng.uniform(0.5, 1.0, 4)
    inner = nir.NIRGraph.from_list(nir.Linear(rng.standard_normal((4, 4))), nir.IF(r=own, v_threshold=own))
    there = nir.NIRGraph(
        {
            "input": nir.Input(np.array([3])),
            "w": nir.Affine(weight, own),
            "lif": nir.LIF(tau=own, r=own, v_leak=own, v_threshold=own),
            "inner": inner,
            "cuba": nir.CubaLIF(tau_syn=own, tau_mem=own, r=own, v_leak=own, v_threshold=own, w_in=0.5),
            "output": nir.Output(np.array([4])),
        },
        [("input", "w"), ("w", "lif"), ("lif", "inner"), ("inner", "cuba"), ("cuba", "output")],
    )
    nir.write(tmp_path / "graph.nir", there)
    graph = read_graph(tmp_path / "graph.nir")
    np.testing.assert_array_equal(graph.nodes["w"].values["weight"], weight)
    np.testing.assert_array_equal(graph.nodes["cuba"].values["w_in"], np.full(4, 0.5))
    assert graph.order == ("input", "w", "lif", "inner.linear", "inner.if", "cuba", "output")
    assert ("lif", "inner.linear") in graph.edges
    assert ("inner.if", "cuba") in graph.edges


def test_recorded_data_are_those_of_the_nir_package(tmp_path):
    nir = pytest.importorskip("nir")
    rng = np.random.default_rng(4)
    grid, values = rng.random((2, 9, 3)) < 0.3, rng.standard_normal((2, 9, 3))
    data = {
        "lif": {"spikes": Gridded(grid, 1e-4), "potentials": Gridded(values, 1e-4)},
        "in": {"events": Gridded(grid, 1e-4).to_events()},
    }
    there = nir.read_data(write_data(tmp_path / "data.h5", data))
    np.testing.assert_array_equal(there.nodes["lif"].observables["spikes"].data, grid)
    np.testing.assert_array_equal(there.nodes["in"].observables["events"].idx, data["in"]["events"].neurons)
    nir.write_data(tmp_path / "there.h5", there)
    again = read_data(tmp_path / "there.h5")
    np.testing.assert_array_equal(again["lif"]["potentials"].data, values)
    assert again["lif"]["spikes"].data.dtype == bool
    np.testing.assert_array_equal(again["in"]["events"].to_grid(1e-4).data, grid)
    # cutting off loses events of a full grid, rounding does not
    full = np.ones((1, 1000, 1), bool)
    events = Gridded(full, 1e-4).to_events()
    cut = nir.EventData(events.neurons, events.times, 1, events.duration).to_time_gridded(1e-4).data
    assert 0.9 < cut.sum() / 1000 < 0.95
    assert events.to_grid(1e-4).data.all()


def test_events_with_values_add_up():
    events = Events(
        np.array([[0, 0, -1]]), np.array([[1e-3, 1e-3, np.inf]]), 2, 3e-3, np.array([[1.0, 2.5, 9.0]])
    )
    np.testing.assert_array_equal(events.to_grid(1e-3).data[0], [[0, 0], [3.5, 0], [0, 0]])


# ---- what is broken ------------------------------------------------------------------------------


def _delete(name):
    def what(file):
        del file[name]

    return what


def _put(name, value, **options):
    def what(file):
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **options)

    return what


def _nan(file):
    file["node/nodes/lif/tau"][2] = np.nan


def _edges(*more):
    def what(file):
        edges = [[a.decode(), b.decode()] for a, b in file["node/edges"][()]] + [list(edge) for edge in more]
        _put("node/edges", edges, dtype=h5py.string_dtype())(file)

    return what


def _external(file):
    file["node/nodes/lif/tau2"] = h5py.ExternalLink("other.h5", "/tau")


def _circular(file):
    file["node/nodes/lif/again"] = file["node/nodes"]


def _huge(file):
    del file["node/nodes/w/weight"]
    file.create_dataset("node/nodes/w/weight", shape=(1 << 20, 1 << 20), chunks=(1024, 1024), dtype="f8")


TEXT = {"dtype": h5py.string_dtype()}
BROKEN = {
    "no version": (_delete("version"), "expected the text 'version'"),
    "version 7": (_put("version", "7.1.0", **TEXT), r"version: expected NIR 0.x or 1.x, found '7.1.0'"),
    "version a number": (_put("version", 3), "expected the text 'version'"),
    "no node": (_delete("node"), "expected the group 'node'"),
    "no nodes": (_delete("node/nodes"), "node: expected the group 'nodes'"),
    "no edges": (_delete("node/edges"), "expected the dataset 'edges'"),
    "no type": (_delete("node/nodes/lif/type"), "node 'lif': expected the text 'type'"),
    "unknown type": (_put("node/nodes/lif/type", "Izhikevich", **TEXT), "node 'lif': type: .* 'Izhikevich'"),
    "no tau": (_delete("node/nodes/lif/tau"), r"node 'lif': LIF: .*missing \['tau'\]"),
    "no bias": (_delete("node/nodes/conv2d/bias"), r"node 'conv2d': Conv2d: .*missing \['bias'\]"),
    "one too many": (_put("node/nodes/lif/b", [1.0]), r"node 'lif': .*unknown \['b'\]"),
    "NaN": (_nan, "node 'lif': tau: expected finite numbers, got 1 NaN"),
    "tau of 0": (_put("node/nodes/lif/tau", np.zeros(6)), "node 'lif': tau: expected times > 0"),
    "negative delay": (_put("node/nodes/wait/delay", -np.ones(6)), "node 'wait': delay: expected times >= 0"),
    "text for numbers": (_put("node/nodes/lif/tau", "x", **TEXT), "node 'lif': tau: expected a float"),
    "complex": (_put("node/nodes/lif/tau", np.ones(6, complex)), "node 'lif': tau: expected numbers"),
    "another shape": (_put("node/nodes/lif/r", np.ones(5)), "node 'lif': .*: expected shape"),
    "threshold below reset": (
        _put("node/nodes/lif/v_threshold", -np.ones(6)),
        "node 'lif': v_threshold: expected above v_reset",
    ),
    "weights that do not fit": (
        _put("node/nodes/w/weight", np.ones((6, 7))),
        r"node 'w': weight: expected inputs of shape \(7,\), got \(8,\)",
    ),
    "kernel too large": (
        _put("node/nodes/conv2d/weight", np.ones((4, 1, 30, 2))),
        "node 'conv2d': kernel: expected a window that fits",
    ),
    "unknown padding": (
        _put("node/nodes/conv1d/padding", "half", **TEXT),
        "node 'conv1d': padding: expected one",
    ),
    "dangling edge": (_edges(("lif", "nowhere")), r"edges\[\d+\]: .* there is no node 'nowhere' to lead to"),
    "edge from nowhere": (_edges(("nowhere", "lif")), "no node 'nowhere' to lead from"),
    "doubled edge": (_edges(("in", "conv2d")), "expected each edge once"),
    "edge to an input": (_edges(("lif", "in")), "expected nothing to lead to an Input"),
    "timeless circle": (_edges(("flatter", "conv1d")), "expected a neuron or a Delay in each circle"),
    "edges of three": (_put("node/edges", [["a", "b", "c"]], **TEXT), r"expected pairs of names \(E, 2\)"),
    "link outside": (_external, "expected data in the file itself, found a link"),
    "a group in itself": (_circular, "found more or a circle"),
    "huge": (_huge, "expected arrays of at most 1 GiB together, found 8.19e"),
    "a node of a dataset": (
        _put("node/nodes/extra", [1.0]),
        "node 'extra': expected a group, found a dataset",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_by_name(written, case):
    what, message = BROKEN[case]
    with pytest.raises((TypeError, ValueError), match=f"{written.name}: .*{message}"):
        read_graph(changed(written, what))


def test_no_file_and_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.nir: expected a NIR file"):
        read_graph(tmp_path / "none.nir")
    for content in (b"", b"<html>not found</html>"):
        (tmp_path / "page.nir").write_bytes(content)
        with pytest.raises(ValueError, match=r"page.nir: expected HDF5, found a file that begins with"):
            read_graph(tmp_path / "page.nir")
    write_data(tmp_path / "data.h5", {"lif": {"v": Gridded(np.ones((1, 2, 1)), 1e-3)}})
    with pytest.raises(ValueError, match="expected a graph, found recorded data"):
        read_graph(tmp_path / "data.h5")
    write_graph(tmp_path / "graph.nir", cases.paper_neuron())
    with pytest.raises(ValueError, match=r"__type__: expected NIRGraphData, found None"):
        read_data(tmp_path / "graph.nir")


@given(cut=st.floats(0.0, 0.999))
@settings(max_examples=40, deadline=None)
def test_a_file_cut_short_is_refused(cut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    whole = content_of(folder, cases.every_kind(np.random.default_rng(1)))
    (folder / "cut.nir").write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(ValueError, match=r"cut.nir: expected "):
        read_graph(folder / "cut.nir")


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_tampered_file_is_read_or_refused_with_its_name(seed, tmp_path_factory):
    """Bytes changed at random: never another exception than those that are promised."""
    folder, rng = tmp_path_factory.mktemp("bad"), np.random.default_rng(seed)
    content = bytearray(content_of(folder, cases.paper_neuron()))
    for place in rng.integers(len(content), size=rng.integers(1, 40)):
        content[place] = rng.integers(256)
    (folder / "bad.nir").write_bytes(content)
    message = "bad.nir"
    try:
        read_graph(folder / "bad.nir")
    except (TypeError, ValueError) as error:
        message = str(error)
    assert "bad.nir" in message


BROKEN_DATA = {
    "no dt": (lambda f: f["nodes/lif/observables/v"].attrs.pop("dt"), "expected the attributes"),
    "no data": (_delete("nodes/lif/observables/v/data"), "expected the dataset 'data'"),
    "two axes": (_put("nodes/lif/observables/v/data", np.ones((2, 3))), r"expected numbers \(samples"),
    "unknown": (lambda f: f["nodes/lif"].attrs.modify("__type__", "Movie"), "'lif': __type__: expected NIR"),
    "late events": (
        lambda f: f["nodes/in/observables/e"].attrs.modify("t_max", 1e-4),
        "time: expected times in",
    ),
    "other neurons": (
        lambda f: f["nodes/in/observables/e"].attrs.modify("n_neurons", 1),
        "idx: expected indices",
    ),
    "unequal": (_put("nodes/in/observables/e/time", np.ones((1, 1))), "idx, time: expected integers"),
}


@pytest.mark.parametrize("case", BROKEN_DATA)
def test_broken_data_are_refused_by_name(tmp_path, case):
    what, message = BROKEN_DATA[case]
    grid = np.arange(12).reshape(1, 4, 3) % 5 == 1
    data = {"lif": {"v": Gridded(grid * 0.5, 1e-3)}, "in": {"e": Gridded(grid, 1e-3).to_events()}}
    path = write_data(tmp_path / "data.h5", data)
    assert read_data(path)["in"]["e"].to_grid(1e-3).data.sum() == grid.sum() > 0
    with pytest.raises((TypeError, ValueError), match=f"data.h5: .*{message}"):
        read_data(changed(path, what))


# ---- nothing is lost -----------------------------------------------------------------------------


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = write_graph(tmp_path / "graph.nir", cases.paper_neuron())
    before = digest(path)
    nodes = {"in": Node("Input", {"shape": [1]}), "out": Node("Output", {"shape": [1]}, {"what": object()})}
    with pytest.raises(TypeError, match="metadata 'what': expected a text, a number or an array"):
        write_graph(path, NirGraph(nodes, [("in", "out")]))
    assert digest(path) == before
    assert os.listdir(tmp_path) == ["graph.nir"]
    with pytest.raises(ValueError, match="expected a file in an existing folder"):
        write_graph(tmp_path / "none" / "graph.nir", cases.paper_neuron())
    with pytest.raises(ValueError, match="node 'a/b': expected a name without"):
        write_graph(
            path, NirGraph({"a/b": nodes["in"], "out": Node("Output", {"shape": [1]})}, [("a/b", "out")])
        )


KILLED = """
import os, sys
import h5py, numpy as np
sys.path.insert(0, {tests!r})
import nir_cases as cases
from refsnn.nir import write_graph
made = h5py.Group.create_dataset
count = 0
def dying(self, *given, **options):
    global count
    count += 1
    entry = made(self, *given, **options)
    if count == 20:
        self.file.flush()
        os._exit(9)
    return entry
h5py.Group.create_dataset = dying
write_graph({path!r}, cases.every_kind(np.random.default_rng(0)))
"""


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    path = write_graph(tmp_path / "graph.nir", cases.paper_neuron())
    before = digest(path)
    code = KILLED.format(tests=str(ROOT / "tests"), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 9, done.stderr
    assert digest(path) == before
    assert len(os.listdir(tmp_path)) == 2  # it died in the middle, under the temporary name
    assert read_graph(path).order == ("in", "n0", "n1", "out")


def test_sizes_are_seen_before_arrays_are_loaded(written, monkeypatch):
    """With a low limit the same file is refused, and no dataset was read until then."""
    monkeypatch.setattr(nir_files, "MOST_BYTES", 100)
    monkeypatch.setattr(nir_files, "_read_parts", lambda *_: pytest.fail("read before sizes were checked"))
    with pytest.raises(ValueError, match="expected arrays of at most"):
        read_graph(written)


def test_real_graphs_are_read_and_written_again(tmp_path):
    paths = sorted(cases.real_folder(".").rglob("*.nir"))
    assert len(paths) >= 6
    for path in paths:
        graph = read_graph(path)
        again = read_graph(write_graph(tmp_path / path.name, graph))
        assert {name: again.nodes[name] == node for name, node in graph.nodes.items()} == dict.fromkeys(
            graph.nodes, True
        )
        assert set(again.edges) == set(graph.edges)


def test_a_graph_that_was_written_runs_as_before(tmp_path):
    rng = np.random.default_rng(5)
    graph = cases.every_kind(rng)
    inputs = rng.standard_normal((12, 2, 2, 9, 8)) * 3
    one = run_graph(graph, inputs, dt=1e-3)
    two = run_graph(read_graph(write_graph(tmp_path / "graph.nir", graph)), inputs, dt=1e-3)
    assert 0.02 < one.rates()["lif"] < 0.98
    for name in one.outputs:
        np.testing.assert_array_equal(one.outputs[name], two.outputs[name])
