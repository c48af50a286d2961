"""The golden vectors are what the code gives, on every backend, and the manifest pins them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from refsnn.vectors import FILE, FLAGS, MANIFEST, cases, expected, sha256, write_vectors

DATA = Path(__file__).resolve().parent.parent / "data"
CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize("backend", ["plain", "cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("name", CASES)
def test_code_gives_what_the_file_says(name, backend):
    if backend == "cuda" and "long" in CASES[name].flags:
        backend = "cpu"  # a thousand steps in the simulator say nothing new
    found = expected(CASES[name], backend)
    with h5py.File(DATA / FILE) as file:
        stored = {key: file[f"{name}/expected/{key}"][()] for key in file[f"{name}/expected"]}
    assert sorted(stored) == sorted(found)
    for key, truth in stored.items():
        assert found[key].dtype == truth.dtype
        assert found[key].shape == truth.shape
        if key in ("spikes", "rate"):
            assert (found[key] == truth).all(), key
        else:
            np.testing.assert_allclose(
                found[key], truth, rtol=1e-12, atol=1e-12 * max(np.abs(truth).max(), 1e-300), err_msg=key
            )


def test_every_flag_is_there_if_and_only_if_it_holds():
    of_purpose = {"random", "negative-drive", "residual-above-threshold"}  # may hold elsewhere by chance
    seen = set()
    for case in CASES.values():
        results, neuron = expected(case), case.neuron
        holds = {
            "exact-threshold": (results["charged"] == neuron.threshold).any(),
            "reset-value": neuron.reset == "hard" and neuron.reset_value != 0,
            "attached-reset": not neuron.detach_reset,
            "silent": results["spikes"].max() == 0,
            "saturated": results["spikes"].min() == 1,
            "one-step": case.current.shape[0] == 1,
            "one-neuron": case.current.shape[1] == 1,
            "carried-state": not (case.start == neuron.reset_value).all(),
            "zero-upstream": not results["current_adjoint"].any(),
            "long": case.current.shape[0] == 1000,
        }
        found = {flag for flag, value in holds.items() if value}
        assert found == set(case.flags) - of_purpose, case.name
        if "random" in case.flags:
            assert 0.05 < results["spikes"].mean() < 0.95
        if "negative-drive" in case.flags:
            assert case.current.mean() < -1
        if "residual-above-threshold" in case.flags:
            after = results["charged"] - neuron.threshold * results["spikes"]
            assert neuron.reset == "soft"
            assert (after > neuron.threshold).any()
        seen |= set(case.flags)
    assert seen == set(FLAGS)


def test_manifest_pins_the_file():
    manifest = json.loads((DATA / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["files"][FILE]["sha256"] == sha256(DATA / FILE)
    assert manifest["files"][FILE]["cases"] == list(CASES)


def test_a_changed_number_is_noticed(tmp_path):
    write_vectors(tmp_path)
    with h5py.File(tmp_path / FILE, "r+") as file:
        stored = file["random/hard-attached/expected/current_adjoint"]
        stored[3, 2] *= 1 + 1e-9
        changed = stored[()]
    found = expected(CASES["random/hard-attached"])["current_adjoint"]
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(changed, found, rtol=1e-12)
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["files"][FILE]["sha256"] != sha256(tmp_path / FILE)


def test_nothing_is_half_written(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="folder"):
        write_vectors(tmp_path / "nowhere")
    write_vectors(tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("refsnn.vectors._write_case", broken)
    with pytest.raises(KeyboardInterrupt):
        write_vectors(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([FILE, MANIFEST])
