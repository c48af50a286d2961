"""`refsnn vectors` as a user meets it: right results, wrong ones, broken files, another language."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

from refsnn import cli
from refsnn.text_tables import Block, show
from refsnn.vectors.diagnosis import made
from refsnn.vectors.format import FORMAT, read_file
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.results import write_results

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "data" / "vectors" / "spiking_neuron.h5"
BLIND = VECTORS.with_name("spiking_neuron.inputs.h5")
KIND = KINDS["spiking_neuron"]
MISTAKES = {mistake.name: mistake for mistake in KIND.mistakes}


@cache
def answers(*mistakes):
    made_so = [MISTAKES[name] for name in mistakes]
    return {vector.case.name: made(KIND, vector.case.problem, made_so) for vector in read_file(BLIND)}


def solved(*mistakes):
    """Results of an implementation that sees the inputs alone."""
    return {name: dict(leaves) for name, leaves in answers(*mistakes).items() if leaves is not None}


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results.h5", solved(), "reference 1.0")


def check(*arguments):
    return cli.main(["vectors", "check", *map(str, arguments)])


def test_right_results_are_right(results, capsys, tmp_path):
    assert check(results, VECTORS, "--json", tmp_path / "grades.json") == 0
    assert "31 of 31 cases right" in capsys.readouterr().out
    grades = json.loads((tmp_path / "grades.json").read_text())
    assert (grades["right"], grades["of"], grades["format"]) == (31, 31, FORMAT)
    assert {leaf["status"] for case in grades["cases"] for leaf in case["leaves"]} == {"right"}


def test_a_wrong_reset_is_named_with_its_equation(tmp_path, capsys):
    path = write_results(tmp_path / "results.h5", solved("late-reset"))
    assert check(path, VECTORS, "--only", "random/*", "--json", tmp_path / "grades.json") == 1
    out = capsys.readouterr().out
    assert "the reset takes effect in the next step, after the leak [v_t after the spike]" in out
    grades = json.loads((tmp_path / "grades.json").read_text())
    assert [len(case["diagnosis"]) for case in grades["cases"]] == [0, 1, 1, 1]
    assert grades["cases"][0]["verdict"] == "right"  # a hard reset is the same late: v_r leaks to v_r


def test_two_mistakes_together_are_found(tmp_path, capsys):
    path = write_results(tmp_path / "results.h5", solved("reset-gradient", "trace-shifted"))
    assert check(path, VECTORS, "--only", "random/*") == 1
    out = capsys.readouterr().out
    assert "detach_reset) [dv_t/dh_t]; and the trace of the rate Jacobian is updated before it is used" in out


def spoil(**changes):
    found = solved()
    for name, change in changes.items():
        case = found["random/soft-detached"]
        case[name.replace("__", "/")] = change(case[name.replace("__", "/")])
    return {"random/soft-detached": found["random/soft-detached"]}


@pytest.mark.parametrize(
    ("leaf", "change", "status", "says"),
    [
        ("gradients__current", lambda x: -x, "differs", "the sign is wrong"),
        ("gradients__current", lambda x: x / 12, "differs", "1/12, the length of axis 0 of inputs/current"),
        ("gradients__current", lambda x: x * 3.5, "differs", "3.5 times what is expected"),
        ("gradients__current", np.zeros_like, "differs", "all zero"),
        ("gradients__current", lambda x: np.roll(x, 1, axis=0), "differs", "one step late"),
        ("gradients__current", lambda x: np.roll(x, -1, axis=0), "differs", "one step early"),
        ("gradients__current", lambda x: x[::-1], "differs", "in reverse order"),
        (
            "gradients__current",
            lambda x: x * (np.arange(12) != 3)[:, None],
            "differs",
            "right but for 1 of 12 entries along the first axis: 3",
        ),
        ("gradients__current", lambda x: x.astype(np.float32).astype(float), "differs", "single precision"),
        ("gradients__current", lambda x: x.T, "shape", "transpose([1, 0]) agrees"),
        ("gradients__current", lambda x: x.ravel(), "shape", "the numbers agree, reshape it"),
        ("gradients__current", lambda x: x[:5], "shape", "expected (12, 8), got (5, 8)"),
        ("gradients__current", lambda x: x.astype(np.float16), "dtype", "got float16"),
        ("gradients__current", lambda x: x.astype(np.int64), "dtype", "got int64"),
        ("gradients__current", lambda x: x + 0j, "dtype", "got complex128"),
        ("gradients__current", lambda x: np.where(x == x.max(), np.nan, x), "not finite", "nan at"),
        ("states__spikes", lambda x: 1 - x, "differs", "the worst at"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, capsys, leaf, change, status, says):
    path = write_results(tmp_path / "results.h5", spoil(**{leaf: change}))
    assert check(path, VECTORS, "--only", "random/soft-detached") == 1
    out = capsys.readouterr().out
    assert status in out
    assert says in out
    assert f"random/soft-detached  {leaf.replace('__', '/')}" in out


def test_spikes_may_be_whole_numbers_and_results_single_precision(tmp_path, capsys):
    found = solved()
    for vector in read_file(BLIND):
        leaves = KIND.solve(vector.case.problem.cast(np.float32), "plain").leaves
        assert {value.dtype for value in leaves.values()} == {np.dtype(np.float32)}
        found[vector.case.name] = leaves | {"states/spikes": leaves["states/spikes"].astype(np.uint8)}
    assert check(write_results(tmp_path / "results.h5", found), VECTORS) == 0
    of_floats = sum(len(leaves) - 1 for leaves in found.values())
    assert f"{of_floats} leaves came in single precision" in capsys.readouterr().out


def test_missing_leaves_cases_and_unknown_ones(tmp_path, capsys):
    found = solved()
    del found["random/soft-detached"]["rate"], found["random/soft-attached"]
    found["random/hard-detached"]["mood"] = np.ones(3)
    found["randon/hard-attached"] = found.pop("random/hard-attached")
    assert check(write_results(tmp_path / "results.h5", found), VECTORS) == 1
    out = capsys.readouterr().out
    assert "random/soft-detached  rate  missing" in out
    assert re.search(r"random/soft-attached +absent", out)
    assert "Not asked for, not looked at: mood." in out
    assert "Cases that are not among the vectors, not looked at: randon/hard-attached." in out
    assert "28 of 31 cases right, 2 absent." in out


def truncated(path):
    path.write_bytes(path.read_bytes()[:-2000])


def other_version(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "3.0.0"


def no_version(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["format"]


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("hello")


def tampered(path):
    with h5py.File(path, "r+") as file:
        file["random/soft-detached/expected/rate"][0] += 0.125


def renamed(path):
    with h5py.File(path, "r+") as file:
        file.move("random/soft-detached", "random/other")


def no_cases(path):
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT


def huge(path):
    with h5py.File(path, "r+") as file:
        case = file["random/soft-detached"]
        case.create_dataset("inputs/huge", shape=(2**20, 2**20), dtype="f8", chunks=(1024, 1024))


def without_shape(path):
    with h5py.File(path, "r+") as file:
        del file["random/soft-detached/inputs/current"]
        file["random/soft-detached/inputs/current"] = h5py.Empty("f8")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_shape, "inputs/current: expected an array, found a data set without a shape"),
        (truncated, "expected a whole HDF5 file"),
        (empty, "expected a whole HDF5 file"),
        (text, "expected a whole HDF5 file"),
        (other_version, "expected format 2.x, got 3.0.0"),
        (no_version, "expected the attribute 'format'"),
        (tampered, "the case was changed"),
        (renamed, "expected the case 'random/soft-detached' under that name"),
        (no_cases, "expected cases, found none"),
        (huge, "expected at most 2147483648 bytes"),
    ],
)
def test_damaged_vectors_are_refused(results, tmp_path, capsys, damage, says):
    path = tmp_path / "vectors.h5"
    shutil.copy(VECTORS, path)
    damage(path)
    json_file = tmp_path / "grades.json"
    json_file.write_text("old")
    assert check(results, path, "--json", json_file) == 2
    assert says in capsys.readouterr().err
    assert json_file.read_text() == "old"


def text_leaf(path):
    with h5py.File(path, "r+") as file:
        del file["random/soft-detached/results/rate"]
        file["random/soft-detached/results/rate"] = "fast"


def huge_leaf(path):
    with h5py.File(path, "r+") as file:
        room = file["random/soft-detached/results"]
        room.create_dataset("huge", shape=(2**20, 2**20), dtype="f8", chunks=(1024, 1024))


def wrong_names(path):
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file["case 1/results/rate"] = 1.0


def test_one_leaf_that_is_a_text_does_not_hide_the_others(results, capsys):
    text_leaf(results)
    assert check(results, VECTORS) == 1
    out = capsys.readouterr().out
    assert "random/soft-detached  rate  dtype   expected float64 or float32, got object" in out
    assert "30 of 31 cases right." in out


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncated, "expected a whole HDF5 file"),
        (other_version, "expected format 2.x, got 3.0.0"),
        (no_version, "copy it from the file of vectors"),
        (huge_leaf, "no case asks for so many"),
        (wrong_names, "in another of the cases, found those of case 1; name cases as"),
    ],
)
def test_damaged_results_are_refused(results, capsys, damage, says):
    damage(results)
    assert check(results, VECTORS) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "nowhere.h5", VECTORS], "found none of that name"),
        (["check", "RESULTS", "nowhere.h5"], "found none of that name"),
        (["check", "RESULTS", VECTORS, "--only", "nothing*"], "--only: expected a pattern"),
        (["check", "RESULTS", BLIND], "got one of an inputs-only file"),
        (
            ["check", "RESULTS", VECTORS, "--json", "nowhere/file.json"],
            "--json: expected a file in an existing",
        ),
        (["list", "nonsense"], "KIND: expected names among spiking_neuron"),
        (["make", "nowhere"], "folder: expected an existing folder"),
        (["export", VECTORS, "."], "folder: expected a new or an empty one"),
        (["check", VECTORS, "."], "got a folder; results come first, then vectors"),
        (["check", VECTORS, VECTORS], "expected leaves under carried/hard-attached/results"),
        (["check", "RESULTS", VECTORS.with_name("recurrent_network.h5")], "expected leaves under"),
        (["check", ".", VECTORS], "vectors.json: expected the file that"),
    ],
)
def test_bad_arguments(results, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(results.parent)
    arguments = [str(results) if argument == "RESULTS" else str(argument) for argument in arguments]
    assert cli.main(["vectors", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_mistake_that_right_leaves_contradict_is_not_named(tmp_path, capsys):
    """The initial state is used, its gradient is missing: not "the initial state is ignored"."""
    found = solved()["carried/soft-attached"]
    found |= {"gradients/start": np.zeros(4), "rate": found["rate"] * 1.2345}
    path = write_results(tmp_path / "results.h5", {"carried/soft-attached": found})
    assert check(path, VECTORS, "--only", "carried/soft-attached") == 1
    out = capsys.readouterr().out
    assert "ignored" not in out
    assert "no known mistake; the first leaf that differs is gradients/start" in out
    assert "gradients/start: all zero" in out
    assert "rate: 1.2345 times what is expected" in out


def test_patterns_of_cases_add_up(results, capsys):
    assert check(results, VECTORS, "--only", "random/*", "--only", "silent/*") == 0
    assert "5 of 5 cases right" in capsys.readouterr().out


def test_an_export_goes_into_a_folder_of_its_own(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    for _ in range(2):  # again of the same kind
        assert cli.main(["vectors", "export", str(BLIND), str(folder)]) == 0
    other = VECTORS.with_name("recurrent_network.h5")
    assert cli.main(["vectors", "export", str(other), str(folder)]) == 2
    assert "expected a new or an empty one" in capsys.readouterr().err
    assert check(folder, other) == 2
    assert "expected results of the kind 'recurrent_network', got 'spiking_neuron'" in capsys.readouterr().err


def test_names_are_whole_on_a_narrow_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    pytest.importorskip("rich")
    kind, stream = KINDS["recurrent_network"], Terminal()
    lines = [(leaf.path, leaf.shape, leaf.meaning, leaf.equation) for leaf in kind.leaves]
    show([Block("Asked", ("leaf", "shape", "meaning", "equation"), lines, True)], stream)
    text = stream.getvalue()
    assert "…" not in text
    assert all(leaf.path in text for leaf in kind.leaves if len(leaf.path) <= 24)
    assert all(leaf.shape in text for leaf in kind.leaves if len(leaf.shape) <= 24)


def test_list_names_everything(capsys):
    assert cli.main(["vectors", "list"]) == 0
    out = capsys.readouterr().out
    assert all(kind in out for kind in KINDS)
    assert cli.main(["vectors", "list", "spiking_neuron"]) == 0
    out = capsys.readouterr().out
    assert all(leaf.path in out for leaf in KIND.leaves)
    assert all(case.name in out for case in KIND.cases(False))


def test_make_keeps_other_kinds_in_the_manifest(tmp_path):
    (tmp_path / "other.h5").write_bytes(b"")
    entry = {"sha256": "", "kind": "other", "cases": []}
    manifest = {"format": FORMAT, "files": {"other.h5": entry, "gone.h5": entry}, "flags": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["vectors", "make", str(tmp_path), "spiking_neuron"]) == 0
    files = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert set(files) == {"other.h5", "spiking_neuron.h5", "spiking_neuron.inputs.h5"}


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    shutil.copy(VECTORS, tmp_path)
    before = VECTORS.read_bytes()
    code = (
        "import os, signal, h5py\n"
        "create, count = h5py.Group.create_dataset, [0]\n"
        "def counted(*a, **k):\n"
        "    count[0] += 1\n"
        "    if count[0] == 40: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return create(*a, **k)\n"
        "h5py.Group.create_dataset = counted\n"
        f"from refsnn.cli import main; main(['vectors', 'make', {str(tmp_path)!r}, 'spiking_neuron'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "spiking_neuron.h5").read_bytes() == before
    assert not (tmp_path / "manifest.json").exists()


def test_an_implementation_in_c_from_the_page_alone(tmp_path, capsys):
    """Whoever has the wheel, a file of inputs and a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    source = (ROOT / "tests" / "other_languages" / "spiking_neuron.c").read_text()
    right, folder = tmp_path / "right.c", tmp_path / "folder"
    right.write_text(source)
    folder.mkdir()
    assert cli.main(["vectors", "export", str(BLIND), str(folder)]) == 0
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-ffp-contract=off"]

    def build_and_run(path):
        program = path.with_suffix("")
        subprocess.run([compiler, *flags, str(path), "-o", str(program), "-lm"], check=True)
        subprocess.run([str(program), str(folder)], check=True)

    build_and_run(right)
    assert check(folder, VECTORS) == 0
    wrong = tmp_path / "wrong.c"
    planted = "h.at[i] > n.threshold : h.at[i] >= n.threshold"
    assert planted in source
    wrong.write_text(source.replace(planted, "h.at[i] > n.threshold : h.at[i] > n.threshold"))
    build_and_run(wrong)
    capsys.readouterr()
    assert check(folder, VECTORS) == 1
    out = capsys.readouterr().out
    assert "30 of 31 cases right" in out
    assert "a potential equal to the threshold is decided the other way (fires)" in out
    (folder / "random" / "soft-detached" / "results" / "rate.npy").write_bytes(b"\x93NUMPY")
    assert check(folder, VECTORS) == 2
    assert "expected a whole .npy file" in capsys.readouterr().err
    os.remove(folder / "vectors.json")
    assert check(folder, VECTORS) == 2
