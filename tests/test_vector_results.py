"""Results as they come: single precision where it cannot be graded, names and links, files that are none."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

from refsnn import cli
from refsnn.vectors.format import read_file, write_file
from refsnn.vectors.grading import graded
from refsnn.vectors.results import export, write_results

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "data" / "vectors" / "spiking_neuron.h5"
MAPS = VECTORS.with_name("manifold_maps.h5")


def check(*arguments):
    return cli.main(["vectors", "check", *map(str, arguments)])


@cache
def chosen(pattern, file=VECTORS):
    return [vector for vector in read_file(file) if fnmatch.fnmatch(vector.case.name, pattern)]


def answers(vectors):
    return {
        vector.case.name: {path: leaf.value for path, leaf in vector.expected.items()} for vector in vectors
    }


def solved():
    return answers(chosen("random/*"))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A file of few cases: those of four live layers."""
    path = tmp_path_factory.mktemp("vectors") / "few.h5"
    return write_file(path, "spiking_neuron", chosen("random/*"))


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results.h5", solved())


def maps(change):
    """Right answers to all maps; of the cases for double precision only, leaves as `change` has them."""
    found = {}
    for vector in chosen("*", MAPS):
        leaves = {path: leaf.value for path, leaf in vector.expected.items()}
        only = "float64-only" in vector.case.flags
        found[vector.case.name] = change(leaves) if only else leaves
    return found


def sevens(leaves):
    return {path: np.full(value.shape, 7, np.float32) for path, value in leaves.items()}


def sevens_but_one(leaves):
    first = next(iter(leaves))
    return sevens(leaves) | {first: leaves[first]}


@pytest.mark.parametrize(
    ("change", "pattern", "status", "last", "verdict"),
    [
        (sevens, "near/*", 1, "0 of 4 cases right, 4 not graded.", "not graded"),
        (sevens, "*", 0, "16 of 20 cases right, 4 not graded.", "not graded"),
        (sevens_but_one, "near/*", 1, "0 of 4 cases right, 4 graded in part.", "1 of 7 graded"),
        (sevens_but_one, "*", 1, "16 of 20 cases right, 4 graded in part.", "1 of 7 graded"),
    ],
)
def test_what_cannot_be_graded_is_not_called_right(tmp_path, capsys, change, pattern, status, last, verdict):
    path, file = write_results(tmp_path / "results.h5", maps(change)), tmp_path / "grades.json"
    assert check(path, MAPS, "--only", pattern, "--json", file) == status
    out = capsys.readouterr().out
    assert out.strip().endswith(last)
    assert "4: near/hyperbolic, near/hyperbolic-quarter, near/spherical" in out
    assert "for double precision only" in out
    grades = json.loads(file.read_text())
    near = [case for case in grades["cases"] if case["name"].startswith("near/")]
    assert {case["verdict"] for case in near} == {verdict}
    assert (grades["not_graded"], grades["graded_in_part"]) == ((4, 0) if change is sevens else (0, 4))


@pytest.mark.parametrize("wrong", [lambda x: x.T[..., :1], lambda x: x * np.float32(np.nan)])
def test_shapes_and_finiteness_are_seen_in_any_precision(tmp_path, wrong):
    path = write_results(
        tmp_path / "results.h5",
        maps(lambda leaves: {name: wrong(np.atleast_1d(value)) for name, value in sevens(leaves).items()}),
    )
    assert check(path, MAPS) == 1


def test_whole_numbers_of_a_case_in_single_precision_are_not_graded():
    """A spike that float32 decides otherwise is no error where all the rest is float32, in any dtype."""
    (vector,) = chosen("random/soft-detached")
    vector = replace(vector, case=replace(vector.case, flags=("float64-only",)))
    right = {path: leaf.value for path, leaf in vector.expected.items()}
    single = {path: value.astype(np.float32) for path, value in right.items()}
    flipped = {"states/spikes": (1 - right["states/spikes"]).astype(np.uint8)}
    assert graded(vector, single | flipped).not_graded
    assert graded(vector, right | flipped).wrong
    assert graded(vector, right).right


def test_one_data_set_may_have_several_names(tmp_path, capsys):
    some = chosen("zero-upstream/bptt", VECTORS.with_name("adaptive_network.h5"))
    vectors = write_file(tmp_path / "vectors.h5", some[0].kind, some)
    path = write_results(tmp_path / "results.h5", answers(some))
    with h5py.File(path, "r+") as file:
        room = file["zero-upstream/bptt/results/gradients/start"]
        assert np.array_equal(room["trace"], room["adaptation"])
        del room["trace"]
        room["trace"] = room["adaptation"]
        file["aaa"] = file["zero-upstream/bptt"]
    assert check(path, vectors) == 0
    assert "Cases that are not among the vectors, not looked at: aaa." in capsys.readouterr().out


def soft(file, room):
    del room["rate"]
    room["rate"] = h5py.SoftLink("/random/hard-detached/results/rate")


def external(file, room):
    del room["rate"]
    room["rate"] = h5py.ExternalLink(str(VECTORS), "/random/soft-detached/expected/rate")


def external_case(file, room):
    del file["random"]
    file["random"] = h5py.ExternalLink(str(VECTORS), "/random")


def cycle(file, room):
    room["again"] = file["random"]


def null(file, room):
    del room["rate"]
    room["rate"] = h5py.Empty("f8")


def virtual(file, room):
    layout = h5py.VirtualLayout((8,), "f8")
    layout[:] = h5py.VirtualSource(str(VECTORS), "/random/soft-detached/expected/rate", (8,))
    del room["rate"]
    room.create_virtual_dataset("rate", layout)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (soft, "random/soft-detached/results/rate: expected a group or a data set, found a soft or external"),
        (external, "random/soft-detached/results/rate: expected a group or a data set, found a soft or"),
        (external_case, "random: expected a group or a data set, found a soft or external link"),
        (cycle, "found one that holds itself"),
        (null, "random/soft-detached/results/rate: expected an array, found a data set without a shape"),
        (virtual, "random/soft-detached/results/rate: expected numbers in this file"),
    ],
)
def test_links_and_data_sets_of_no_numbers_are_refused_by_name(results, few, capsys, change, says):
    with h5py.File(results, "r+") as file:
        change(file, file["random/soft-detached/results"])
    assert check(results, few) == 2
    assert says in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path):
    """Right results as `.npy` files."""
    path = tmp_path / "folder"
    export(path, chosen("random/*"))
    for case, leaves in solved().items():
        for leaf, value in leaves.items():
            file = path / case / "results" / f"{leaf}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, value)
    return path


def npz(path):
    with open(path, "wb") as stream:
        np.savez(stream, rate=np.ones(8))


def with_header(shape):
    def write(path):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))

    return write


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_folder(path):
    path.unlink()
    path.mkdir()


def link_to_nothing(path):
    path.unlink()
    path.symlink_to("nowhere.npy")


def link_to_above(path):
    (path.parent / "above").symlink_to(path.parent.parent)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (npz, "rate.npy: expected a whole .npy file, found it broken (the magic string is not correct"),
        (with_header("(10**14,)"), "rate.npy: expected a whole .npy file, found it broken"),
        (with_header("(100000000000000,)"), "asks for 800000000000000 bytes, it holds 64"),
        (with_header("(-1,)"), "asks for -8 bytes, it holds 64"),
        (with_header("('"), "rate.npy: expected a whole .npy file, found it broken"),
        (lambda path: path.write_bytes(b""), "rate.npy: expected a whole .npy file, found it broken"),
        (pipe, "rate.npy: expected a regular file"),
        (a_folder, "rate.npy: expected a regular file"),
        (link_to_nothing, "rate.npy: expected a regular file"),
        (link_to_above, "found a link to one that holds it"),
    ],
)
def test_files_that_hold_no_array_are_refused_by_name(folder, few, capsys, damage, says):
    damage(folder / "random" / "soft-detached" / "results" / "rate.npy")
    assert check(folder, few) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("part", ["random", "random/soft-detached", "random/soft-detached/results"])
def test_links_to_folders_are_followed(folder, few, tmp_path, capsys, part):
    shutil.move(folder / part, tmp_path / "elsewhere")
    (folder / part).symlink_to(tmp_path / "elsewhere")
    assert check(folder, few) == 0
    assert "4 of 4 cases right." in capsys.readouterr().out


def test_huge_numbers_are_graded_without_a_warning(few, tmp_path, capsys):
    found = {path: np.full(value.shape, 1e308) for path, value in solved()["random/soft-detached"].items()}
    path = write_results(tmp_path / "results.h5", {"random/soft-detached": found})
    assert check(path, few, "--only", "random/soft-detached", "--json", tmp_path / "grades.json") == 1
    assert "8 of 8 leaves wrong" in capsys.readouterr().out


def test_every_pattern_must_name_a_case(results, few, capsys):
    assert check(results, few, "--only", "random/*", "--only", "foo*") == 2
    assert "--only: expected a pattern of case names, got 'foo*', which names none" in capsys.readouterr().err
