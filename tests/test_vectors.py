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


def test_flags_say_what_is_there():
    seen = set()
    for case in CASES.values():
        results, threshold = expected(case), case.neuron.threshold
        margin = np.abs(results["charged"] - threshold).min()
        seen |= set(case.flags)
        assert set(case.flags) <= set(FLAGS)
        assert ("exact-threshold" in case.flags) == (margin == 0)
        if "residual-above-threshold" in case.flags:
            assert (results["charged"] - threshold * results["spikes"] > threshold).any()
        if "silent" in case.flags:
            assert results["spikes"].sum() == 0
        if "saturated" in case.flags:
            assert results["spikes"].min() == 1
        if "random" in case.flags:
            assert 0.05 < results["spikes"].mean() < 0.95
        if "zero-upstream" in case.flags:
            assert not results["current_adjoint"].any()
    assert seen == set(FLAGS)


def test_manifest_pins_the_file():
    manifest = json.loads((DATA / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["files"][FILE]["sha256"] == sha256(DATA / FILE)
    assert manifest["files"][FILE]["cases"] == list(CASES)


def test_a_changed_number_is_noticed(tmp_path):
    write_vectors(tmp_path)
    with h5py.File(tmp_path / FILE, "r+") as file:
        stored = file["random/hard-live/expected/current_adjoint"]
        stored[3, 2] *= 1 + 1e-9
        changed = stored[()]
    found = expected(CASES["random/hard-live"])["current_adjoint"]
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
