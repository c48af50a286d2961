"""`refsnn nir` as a user meets it, on files of our own and on the real ones."""

from __future__ import annotations

import argparse
import hashlib
import json

import nir_cases as cases
import numpy as np
import pytest

from refsnn.commands import nir as commands
from refsnn.nir import Gridded, read_data, read_trace, run_graph, write_data, write_graph


def call(*arguments) -> int:
    """The command, in this process."""
    parser = argparse.ArgumentParser(prog="refsnn")
    commands.add_commands(parser.add_subparsers(dest="task", required=True))
    options = parser.parse_args(["nir", *map(str, arguments)])
    assert options.task == "nir"
    return options.run(options)


def digest(path) -> str:
    """Of all its bytes; a difference of long bytes would take pytest minutes to print."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trace_file(path, graph, discretisation, change=0.0):
    """A CSV as platforms write it."""
    inputs = (np.random.default_rng(0).random(300) < 0.3).astype(float)
    run = run_graph(graph, inputs[:, None, None], dt=1e-4, discretisation=discretisation)
    potential, spikes = run.potentials["n1"].ravel() + change, run.spikes["n1"].ravel()
    assert spikes.sum() > 3
    lines = [f"{x},{v!r},{s}" for x, v, s in zip(inputs, potential.tolist(), spikes, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def folder(tmp_path):
    graph = cases.paper_neuron()
    write_graph(tmp_path / "lif_norse.nir", graph)
    trace_file(tmp_path / "one.csv", graph, "forward_euler")
    trace_file(tmp_path / "two.csv", graph, "exponential_leak_euler_gain")
    return tmp_path


def test_grade_says_what_each_trace_is(folder, capsys):
    assert call("grade", folder, "--json", folder / "g.json", "--html", folder / "g.html") == 0
    text = capsys.readouterr().out
    assert "2 of 2 traces are a known solution" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(("one ", "two "))}
    assert "forward_euler " in rows["one"]
    assert "exponential_leak_euler_gain" in rows["two"]
    facts = json.loads((folder / "g.json").read_text())
    assert [row["is"] for row in facts["traces"]] == ["forward_euler", "exponential_leak_euler_gain"]
    assert facts["traces"][0]["spike_steps"] == list(read_trace(folder / "one.csv").spike_steps)
    assert facts["discretisations"]["exponential_leak_euler_gain"]["reset"] == "subtract"
    page = (folder / "g.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("exponential_leak_euler_gain") >= 2
    assert "http" not in page


def test_grade_has_status_1_where_a_trace_is_something_else(folder, capsys):
    trace_file(folder / "one.csv", cases.paper_neuron(), "forward_euler", change=1e-3)
    assert call("grade", folder) == 1
    text = capsys.readouterr().out
    assert "1 of 2 traces" in text
    assert "none; nearest forward_euler" in text
    assert call("grade", folder / "two.csv", "--graph", folder / "lif_norse.nir") == 0


def test_run_writes_nir_data(folder, capsys):
    out = folder / "out.h5"
    options = [
        "--dt",
        1e-4,
        "--steps",
        200,
        "--rate",
        0.3,
        "--seed",
        1,
        "--discretisation",
        "exponential_euler",
    ]
    assert call("run", folder / "lif_norse.nir", *options, "--out", out, "--json", folder / "r.json") == 0
    text = capsys.readouterr().out
    assert "exponential_euler: leak exp(-dt/tau), gain r (1 - leak)" in text
    data = read_data(out)["n1"]
    facts = json.loads((folder / "r.json").read_text())
    assert facts["rates"]["n1"] == pytest.approx(data["spikes"].data.mean())
    assert data["spikes"].data.any()
    assert facts["discretisation"]["leak"] == "exponential"
    inputs = (np.random.default_rng(1).random((200, 1, 1)) < 0.3).astype(float)
    run = run_graph(cases.paper_neuron(), inputs, dt=1e-4, discretisation="exponential_euler")
    np.testing.assert_array_equal(data["potentials"].data[0, :, 0], run.potentials["n1"].ravel())


def test_run_on_an_input_from_a_file(folder, capsys):
    inputs = (np.random.default_rng(2).random((80, 3, 1)) < 0.3).astype(float)
    np.save(folder / "x.npy", inputs)
    grid = Gridded(np.swapaxes(inputs, 0, 1).astype(bool), 1e-4)
    write_data(folder / "grid.h5", {"in": {"spikes": grid}})
    write_data(folder / "events.h5", {"in": {"spikes": grid.to_events()}})
    found = []
    for name in ("x.npy", "grid.h5", "events.h5"):
        given = ["--input", folder / name, "--out", folder / "out.h5"]
        assert call("run", folder / "lif_norse.nir", "--dt", 1e-4, *given) == 0
        found.append(read_data(folder / "out.h5")["n1"]["potentials"].data)
    assert "80 steps, batch of 3" in capsys.readouterr().out
    assert found[0].any()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_show_names_nodes_and_late_edges(tmp_path, capsys):
    write_graph(tmp_path / "graph.nir", cases.every_kind(np.random.default_rng(0)))
    assert call("show", tmp_path / "graph.nir", "--json", tmp_path / "s.json") == 0
    text = capsys.readouterr().out
    assert "20 nodes, 21 edges" in text
    assert "one step late in a run: loop -> lif" in text
    facts = json.loads((tmp_path / "s.json").read_text())
    assert facts["nodes"]["conv2d"] == {"type": "Conv2d", "shape": [4, 5, 6]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grade", "none.csv"], "--graph: expected the graph that the traces are of"),
        (["grade", "none.csv", "--graph", "lif_norse.nir"], "none.csv: expected a CSV file"),
        (["grade", "empty"], "empty: expected .csv files with traces, found none"),
        (["show", "none.nir"], "none.nir: expected a NIR file"),
        (["show", "one.csv"], "one.csv: expected HDF5"),
        (
            ["show", "lif_norse.nir", "--json", "no/such/x.json"],
            "--json: expected a file in an existing folder",
        ),
        (["run", "lif_norse.nir", "--dt", "1"], "dt: expected at most the shortest time constant"),
        (["run", "lif_norse.nir", "--dt", "1e-4", "--rate", "2"], "--rate: expected a finite number"),
        (
            ["run", "lif_norse.nir", "--dt", "1e-4", "--input", "x.npy"],
            "--input: expected a file with an input",
        ),
        (["run", "lif_norse.nir", "--dt", "1e-4", "--input", "bad.npy"], "bad.npy: expected one array"),
        (
            ["run", "lif_norse.nir", "--dt", "1e-4", "--input", "bad.npy", "--steps", "9"],
            "--steps: expected with",
        ),
        (
            ["run", "lif_norse.nir", "--dt", "1e-4", "--input", "grid.h5"],
            "--dt: expected 0.001 s, the step of",
        ),
        (
            ["run", "lif_norse.nir", "--dt", "1e-4", "--input", "other.h5"],
            "expected data with one observable",
        ),
    ],
)
def test_bad_files_and_options_are_refused_and_nothing_is_written(folder, monkeypatch, arguments, message):
    if arguments[0] == "grade" and "--graph" not in arguments and "empty" not in arguments:
        (folder / "lif_norse.nir").unlink()
    (folder / "empty").mkdir()
    (folder / "bad.npy").write_bytes(b"\x93NUMPY")
    write_data(folder / "grid.h5", {"in": {"spikes": Gridded(np.ones((1, 4, 1), bool), 1e-3)}})
    write_data(folder / "other.h5", {"n1": {"spikes": Gridded(np.ones((1, 4, 1), bool), 1e-4)}})
    monkeypatch.chdir(folder)
    before = {path.name: digest(path) for path in folder.iterdir() if path.is_file()}
    with pytest.raises((TypeError, ValueError, OSError), match=message):
        call(*arguments)
    assert {path.name: digest(path) for path in folder.iterdir() if path.is_file()} == before


def test_the_platforms_on_the_command_line(tmp_path, capsys):
    assert call("grade", cases.real_folder("01_lif"), "--html", tmp_path / "platforms.html") == 0
    text = capsys.readouterr().out
    assert "11 of 11 traces are a known solution" in text
    assert "lif_spinnaker2" in (tmp_path / "platforms.html").read_text()
