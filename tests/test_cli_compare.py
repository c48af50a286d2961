"""`refsnn compare` as a user meets it: with and without files, with bad ones, with and without rich."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from refsnn import cli
from refsnn.array_files import load_arrays
from refsnn.comparison import compare
from refsnn.models.builders.dense import dense_network
from refsnn.network_files import save_network

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["--algorithms", "bptt_detached,rate_multi_step,ottt_exact_local", "--repeat", "1"]
GRAPH = dense_network((4, 8, 6, 3))


def run(*arguments):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "refsnn", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def arrays_of(seed=0, steps=5, batch=3, dtype=np.float64):
    """What a file holds: inputs, targets, parameters/<name>."""
    rng = np.random.default_rng(seed)
    parameters = GRAPH.initialise(rng, dtype, gain=2.5)
    found = {"inputs": rng.random((steps, batch, 4)).astype(dtype), "targets": rng.integers(3, size=batch)}
    return found | {f"parameters/{name}": value for name, value in parameters.items()}


def write(path, arrays):
    """npz or HDF5, by the name."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, value in arrays.items():
                file.create_dataset(name, data=value)
    return path


@pytest.fixture
def network(tmp_path):
    return save_network(tmp_path / "network.json", GRAPH)


# -- good input ----------------------------------------------------------------------------------------------


def test_without_files_a_newcomer_sees_the_table():
    found = run("compare", *QUICK)
    assert (found.returncode, found.stderr) == (0, "")
    for text in (
        "16 steps, batch of 16",
        "bptt_detached",
        "ottt_exact_local",
        "layer.3",
        "readout",
        "each step",
    ):
        assert text in found.stdout
    assert "\x1b" not in found.stdout  # a log has no colours


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_give_the_figures_of_python(suffix, dtype, network, tmp_path, capsys):
    given = arrays_of(dtype=dtype)
    path = write(tmp_path / f"arrays.{suffix}", given)
    table_json, table_csv = tmp_path / "table.json", tmp_path / "table.csv"
    files = ["--json", str(table_json), "--csv", str(table_csv)]
    assert cli.main(["compare", str(network), str(path), *QUICK, *files]) == 0
    assert "layer.2" in capsys.readouterr().out

    parameters = {name[11:]: value for name, value in given.items() if name.startswith("parameters/")}
    names = QUICK[1].split(",")
    own = compare(GRAPH, parameters, given["inputs"], given["targets"], algorithms=names, repeat=1)
    rates = own.row("rate_multi_step").spike_rates.values()
    assert all(0.02 < rate < 0.98 for rate in rates)
    records = json.loads(table_json.read_text())
    assert (records["dtype"], records["steps"], records["batch"]) == (np.dtype(dtype).name, 5, 3)
    assert [(row["algorithm"], row["loss_over"]) for row in records["rows"]] == [
        (row.algorithm, row.loss_over) for row in own.rows
    ]
    for row, mine in zip(records["rows"], own.rows, strict=True):
        assert row["loss"] == mine.loss
        assert row["bytes_kept"] == mine.bytes_kept
        assert row["peak_bytes"] > 0
        assert row["seconds"] > 0
        for name, leaf in row["leaves"].items():
            assert leaf == vars(mine.leaves[name])
    lines = list(csv.DictReader(io.StringIO(table_csv.read_text())))
    assert len(lines) == 4 * 6
    first = own.rows[0].leaves["layer.1.weight"]
    assert float(lines[0]["error_full"]) == first.error_full > 0
    assert lines[0]["parameter"] == "layer.1.weight"


def test_the_same_seed_draws_the_same(network, tmp_path):
    def leaves(*options):
        path = tmp_path / "table.json"
        assert cli.main(["compare", str(network), *QUICK, "--json", str(path), *options]) == 0
        return [row["leaves"] for row in json.loads(path.read_text())["rows"]]

    once = leaves("--seed", "3", "--steps", "4", "--batch", "2")
    assert leaves("--seed", "3", "--steps", "4", "--batch", "2") == once
    assert leaves("--seed", "4", "--steps", "4", "--batch", "2") != once
    assert leaves("--seed", "3", "--steps", "5", "--batch", "2") != once
    assert leaves("--seed", "3", "--steps", "4", "--batch", "3") != once


def test_parameters_are_drawn_where_the_file_has_none(network, tmp_path, capsys):
    given = {name: value for name, value in arrays_of(dtype=np.float32).items() if "/" not in name}
    path = write(tmp_path / "arrays.npz", given)
    assert cli.main(["compare", str(network), str(path), *QUICK]) == 0
    assert "float32" in capsys.readouterr().out


def test_real_targets(tmp_path, capsys):
    graph = dense_network((4, 8, 3), loss_function="mean_squared_error")
    network = save_network(tmp_path / "network.json", graph)
    assert cli.main(["compare", str(network), *QUICK]) == 0  # drawn
    rng = np.random.default_rng(0)
    path = write(tmp_path / "arrays.h5", {"inputs": rng.random((4, 2, 4)), "targets": rng.random((2, 3))})
    assert cli.main(["compare", str(network), str(path), *QUICK]) == 0
    capsys.readouterr()


def test_another_backend_gives_the_same(capsys):
    found = []
    for backend in ("plain", "cpu"):
        assert cli.main(["compare", *QUICK, "--backend", backend]) == 0
        out = capsys.readouterr().out
        assert f"backend {backend}" in out
        found.append([line.split()[:5] for line in out.splitlines() if line.startswith("rate_multi_step")])
    assert found[0] == found[1]


def test_if_nothing_can_treat_the_network_the_status_says_so(capsys):
    assert cli.main(["compare", "--algorithms", "eprop", "--repeat", "1"]) == 1
    assert "take OTTT for those" in capsys.readouterr().out


def test_plain_columns_without_rich(network):
    hide = "import sys; sys.modules['rich'] = None; sys.modules['rich.console'] = None; "
    code = f"{hide}from refsnn.cli import main; sys.exit(main(sys.argv[1:]))"
    plain = subprocess.run(
        [sys.executable, "-c", code, "compare", network, *QUICK, "--seed", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (plain.returncode, plain.stderr) == (0, "")
    cells = [line.split() for line in plain.stdout.splitlines() if line.startswith("ottt_exact_local")]
    rich = run("compare", network, *QUICK, "--seed", "1")
    same = [line.split() for line in rich.stdout.splitlines() if line.startswith("ottt_exact_local")]
    assert len(cells) == 3
    # by layer, to full and to detached BPTT: the same words in both dresses; memory and time may differ
    assert cells[1:] == same[1:]


def test_the_package_does_not_need_rich():
    code = "import sys; sys.modules['rich'] = None; import refsnn.cli, refsnn.comparison; print('fine')"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == "fine\n"
    assert importlib.util.find_spec("rich") is not None  # it is hidden there, not absent here


@pytest.mark.parametrize("hidden", ["nothing", "rich.console"])
def test_a_reader_who_is_gone(hidden):
    """As `refsnn compare | head` where head has seen enough: no complaint."""
    hide = f"import sys; sys.modules[{hidden!r}] = None; "
    code = f"{hide}from refsnn.cli import main; sys.exit(main(sys.argv[1:]))"
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", code, "compare", *QUICK]
    found = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_entry_point_is_the_command():
    assert "refsnn = refsnn.cli:main" in (ROOT / "setup.cfg").read_text()
    assert run("compare", "--help").returncode == 0
    assert run("--version").stdout.startswith("refsnn ")


# -- bad input -----------------------------------------------------------------------------------------------


def complaint(capsys, *arguments):
    """What the command says as it leaves with status 2."""
    assert cli.main(["compare", *map(str, arguments), *QUICK]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("refsnn compare: ")
    return captured.err


def dropped(name):
    return lambda arrays: arrays.pop(name)


def put(name, value):
    return lambda arrays: arrays.update({name: value})


def with_nan(name):
    def spoil(arrays):
        arrays[name].flat[1] = np.nan

    return spoil


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (dropped("inputs"), "missing ['inputs']"),
        (dropped("targets"), "missing ['targets']"),
        (put("labels", np.zeros(3)), "unknown ['labels']"),
        (put("inputs", np.zeros((5, 4))), "inputs: expected shape (T, B, ...), got (5, 4)"),
        (put("inputs", np.zeros((5, 3, 7))), "inputs: expected shape (T, B, 4), got (5, 3, 7)"),
        (put("inputs", np.zeros((0, 3, 4))), "with T >= 1"),
        (
            put("inputs", np.zeros((5, 3, 4), int)),
            "inputs: expected a float32 or float64 array, got dtype int64",
        ),
        (put("inputs", np.zeros((5, 3, 4), np.float32)), "inputs: expected dtype float64"),
        (with_nan("inputs"), "inputs: expected finite numbers, got 1 NaN or infinite of 60"),
        (put("targets", np.zeros(3)), "targets: expected integer class labels"),
        (put("targets", np.zeros(4, int)), "targets: expected shape (3,), got (4,)"),
        (put("targets", np.full(3, 5)), "targets: expected labels in [0, 3)"),
        (put("targets", np.full(3, np.nan)), "targets: expected finite numbers"),
        (dropped("parameters/layer.2.bias"), "missing ['layer.2.bias']"),
        (put("parameters/layer.9.bias", np.zeros(2)), "unknown ['layer.9.bias']"),
        (
            put("parameters/layer.2.bias", np.zeros(2)),
            "parameters['layer.2.bias']: expected shape (6,), got (2,)",
        ),
        (with_nan("parameters/layer.1.weight"), "parameters/layer.1.weight: expected finite numbers"),
    ],
)
def test_bad_arrays(suffix, spoil, words, network, tmp_path, capsys):
    given = arrays_of()
    spoil(given)
    path = write(tmp_path / f"arrays.{suffix}", given)
    told = complaint(capsys, network, path)
    assert words in told
    assert told.startswith(f"refsnn compare: {path}: ")


def test_object_arrays_are_called_so(network, tmp_path, capsys):
    given = arrays_of() | {"inputs": np.array([[1.0], [1.0, 2.0]], dtype=object)}
    np.savez(tmp_path / "arrays.npz", **given)
    told = complaint(capsys, network, tmp_path / "arrays.npz")
    assert f"{tmp_path / 'arrays.npz'}: inputs: expected an array of numbers, got an object array" in told
    assert "broken" not in told


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.99])
def test_truncated_arrays(suffix, share, network, tmp_path, capsys):
    path = write(tmp_path / f"arrays.{suffix}", arrays_of(steps=200))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    words = complaint(capsys, network, path)
    assert str(path) in words
    assert "found it broken" in words or "begins with nothing" in words


def test_a_flipped_byte_in_npz(network, tmp_path, capsys):
    path = write(tmp_path / "arrays.npz", arrays_of(steps=200))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 1
    path.write_bytes(whole)
    assert "found it broken" in complaint(capsys, network, path)


def test_other_files(network, tmp_path, capsys):
    text, objects, single = tmp_path / "a.npz", tmp_path / "o.npz", tmp_path / "s.npy"
    text.write_text("inputs, targets")
    np.savez(objects, inputs=np.array([{}]), targets=np.zeros(1, int))
    np.save(single, np.zeros(3))
    assert "expected npz or HDF5, found a file that begins with 69 6e 70 75" in complaint(
        capsys, network, text
    )
    assert "inputs: expected an array of numbers, got an object array" in complaint(capsys, network, objects)
    assert "expected npz or HDF5" in complaint(capsys, network, single)
    assert "expected a file of arrays, found none" in complaint(capsys, network, tmp_path / "none.npz")
    assert "expected a file of arrays" in complaint(capsys, network, tmp_path)
    assert "expected a network file, found none" in complaint(capsys, tmp_path / "none.json")
    assert "comes before the one with arrays" in complaint(capsys, write(tmp_path / "b.npz", arrays_of()))
    text.write_text('{"builder": "dense_network"}')
    assert "dense_network: missing 'widths'" in complaint(capsys, text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--algorithms", "bptt"], "algorithms: expected names among"),
        (["--algorithms", ""], "algorithms: expected names among"),
        (["--repeat", "0"], "--repeat: expected an integer of at least 1, got 0"),
        (["--seed", "-1"], "--seed: expected an integer of at least 0, got -1"),
        (["--steps", "0"], "--steps: expected an integer of at least 1"),
        (["--batch", "0"], "--batch: expected an integer of at least 1"),
        (
            ["--json", "no/such/folder/table.json"],
            "--json: expected a file in an existing folder",
        ),
        (["--csv", "."], "--csv: expected a file name, got the folder"),
    ],
)
def test_bad_options(options, words, capsys):
    assert cli.main(["compare", *QUICK, *options]) == 2
    assert words in capsys.readouterr().err


def test_steps_of_a_file_are_its_own(network, tmp_path, capsys):
    path = write(tmp_path / "arrays.npz", arrays_of())
    assert "expected with a drawn input only" in complaint(capsys, network, path, "--steps", 3)


@pytest.mark.parametrize(
    "options", [[], ["compere"], ["compare", "--backend", "gpu"], ["compare", "--seed", "x"]]
)
def test_a_command_line_that_makes_no_sense(options, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(options)
    assert left.value.code == 2
    assert "usage: refsnn" in capsys.readouterr().err


def test_bad_files_leave_status_2_to_the_shell(tmp_path):
    path = tmp_path / "network.json"
    path.write_text("{")
    found = run("compare", path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"refsnn compare: {path}: expected a network as JSON")
    assert "Traceback" not in found.stderr


def test_a_file_of_a_failed_run_is_not_touched(network, tmp_path, capsys):
    table = tmp_path / "table.json"
    table.write_text("old")
    given = arrays_of()
    given["inputs"][0, 0, 0] = np.inf
    path = write(tmp_path / "arrays.npz", given)
    complaint(capsys, network, path, "--json", table)
    assert table.read_text() == "old"


def test_arrays_from_python(tmp_path):
    given = arrays_of()
    for suffix in ("npz", "h5"):
        found = load_arrays(write(tmp_path / f"arrays.{suffix}", given))
        assert np.array_equal(found.inputs, given["inputs"])
        assert np.array_equal(found.targets, given["targets"])
        assert found.parameters.keys() == GRAPH.parameter_shapes().keys()
        assert np.array_equal(found.parameters["layer.1.weight"], given["parameters/layer.1.weight"])
