"""Spiking Heidelberg Digits: rows of differing lengths counted into steps, a few recordings at a time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import load_shd


def ragged(group: h5py.Group, name: str, rows: list[np.ndarray], dtype: type) -> None:
    """Rows of differing lengths, as the data set has them."""
    data = group.create_dataset(name, (len(rows),), h5py.vlen_dtype(dtype))
    for place, row in enumerate(rows):
        data[place] = np.asarray(row, dtype)


def write_shd(
    path: Path,
    times: list[np.ndarray],
    units: list[np.ndarray],
    labels: list[int],
    kind: type = np.float16,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        spikes = file.create_group("spikes")
        ragged(spikes, "times", times, kind)
        ragged(spikes, "units", units, np.uint16)
        file["labels"] = np.array(labels, np.uint16)
        file.create_group("extra")["speaker"] = np.zeros(len(labels), np.uint16)
    return path


def drawn(seed: int, recordings: int, units: int = 700, most: int = 200) -> tuple[list, list, list[int]]:
    """Random recordings, one of them without spikes."""
    rng = np.random.default_rng(seed)
    counts = [0, *rng.integers(1, most, recordings - 1)]
    times = [np.sort(1.39 * rng.random(count)).astype(np.float16) for count in counts]
    channels = [rng.integers(0, units, count) for count in counts]
    return times, channels, rng.integers(0, 20, recordings).tolist()


def plain_counts(
    times: np.ndarray, channels: np.ndarray, steps: int, units: int, duration: float
) -> np.ndarray:
    """Spike by spike, each step's limits tried in turn."""
    counts = np.zeros((steps, units))
    for time, unit in zip(times, channels, strict=True):
        inside = [step for step in range(steps) if step <= float(time) * steps / duration < step + 1]
        assert len(inside) == 1
        counts[inside[0], unit] += 1
    return counts


@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 250),
    units=st.integers(1, 30),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_spikes_are_counted_in_their_steps(tmp_path_factory, seed, steps, units, dtype):
    times, channels, labels = drawn(seed, 4, units, most=60)
    path = write_shd(tmp_path_factory.mktemp("shd") / "shd_train.h5", times, channels, labels)
    trains = load_shd(path, steps, units=units, dtype=dtype)
    assert len(trains) == 4
    assert trains.labels.tolist() == labels
    assert trains.labels.dtype == np.int64
    everything = trains[:]
    assert everything.dtype == dtype
    assert everything.shape == (4, steps, units)
    for place in range(4):
        expected = plain_counts(times[place], channels[place], steps, units, 1.4)
        np.testing.assert_array_equal(everything[place], expected)
        np.testing.assert_array_equal(trains[place], expected)
    np.testing.assert_array_equal(trains[[2, 0, 2]], everything[[2, 0, 2]])
    np.testing.assert_array_equal(trains[-1], everything[3])


def test_times_are_taken_from_half_precision_before_they_are_divided(tmp_path):
    """Half precision knows no steps between 4096 and 4100: spikes of many steps would fall into one."""
    half = np.arange(0.5, 1.4, 2**-10).astype(np.float16)
    assert half.size == 922
    path = write_shd(tmp_path / "a.h5", [half], [np.zeros(922, int)], [0])
    counts = load_shd(path, 7000)[0][:, 0]
    steps = [int(float(time) * 7000 / 1.4) for time in half]
    assert np.repeat(np.arange(7000), counts.astype(int)).tolist() == steps
    assert steps != np.floor(half * np.float16(7000) / np.float16(1.4)).astype(float).tolist()


def test_the_last_time_before_the_duration_is_in_the_last_step(tmp_path):
    last = np.nextafter(1.4, 0)
    path = write_shd(tmp_path / "a.h5", [np.array([0.0, last])], [np.array([0, 1])], [0], kind=np.float64)
    for steps in (1, 3, 23, 46, 100):  # 23 and 46: the product is rounded up to the number of steps
        counts = load_shd(path, steps, units=2)[0]
        assert counts[0, 0] == counts[-1, 1] == 1


def test_several_spikes_in_a_step_add_up_or_are_clipped(tmp_path):
    times, channels = [np.full(5, 0.25)], [np.array([1, 1, 1, 1, 0])]
    path = write_shd(tmp_path / "a.h5", times, channels, [0])
    assert load_shd(path, 2, units=2)[0].tolist() == [[1, 4], [0, 0]]
    assert load_shd(path, 2, units=2, clip=3)[0].tolist() == [[1, 3], [0, 0]]
    assert load_shd(path, 2, units=2, clip=1)[0].tolist() == [[1, 1], [0, 0]]


def test_late_spikes_are_refused_or_dropped(tmp_path):
    path = write_shd(tmp_path / "a.h5", [np.array([0.1, 0.5, 0.9])], [np.array([0, 1, 2])], [0])
    with pytest.raises(
        ValueError, match=r"recording 0: expected times below the duration of 0\.5 seconds, found"
    ):
        load_shd(path, 2, units=3, duration=0.5)[0]
    kept = load_shd(path, 2, units=3, duration=0.5, late="drop")[0]
    assert kept.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_batches_are_time_first_and_cover_all(tmp_path):
    times, channels, labels = drawn(1, 7, 9)
    path = write_shd(tmp_path / "a.h5", times, channels, labels)
    trains = load_shd(path, 10, units=9)
    everything = trains[:]
    assert len(np.unique(everything.sum(axis=(1, 2)))) == 7  # each is known by its number of spikes
    batches = list(trains.batches(3))
    assert [spikes.shape for spikes, _ in batches] == [(10, 3, 9), (10, 3, 9), (10, 1, 9)]
    assert all(spikes.flags.c_contiguous for spikes, _ in batches)
    np.testing.assert_array_equal(np.concatenate([s for s, _ in batches], axis=1), everything.swapaxes(0, 1))
    assert np.concatenate([found for _, found in batches]).tolist() == labels
    shuffled = list(trains.batches(4, np.random.default_rng(3)))
    order = np.random.default_rng(3).permutation(7)
    assert order.tolist() != list(range(7))
    np.testing.assert_array_equal(
        np.concatenate([s for s, _ in shuffled], axis=1), everything[order].swapaxes(0, 1)
    )
    assert np.concatenate([found for _, found in shuffled]).tolist() == np.array(labels)[order].tolist()
    with pytest.raises(TypeError, match="rng: expected a numpy"):
        next(trains.batches(3, 3))
    with pytest.raises(ValueError, match="size: expected an integer of at least 1"):
        next(trains.batches(0))


def test_memory_is_that_of_a_batch(tmp_path):
    times, channels, labels = drawn(2, 60)
    path = write_shd(tmp_path / "a.h5", times, channels, labels)
    one = 100 * 700 * 4
    tracemalloc.start()
    trains = load_shd(path, 100, dtype=np.float32)
    total = sum(float(spikes.sum()) for spikes, _ in trains.batches(4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == sum(row.size for row in times)
    assert 4 * one < peak < 20 * one  # 60 recordings would be 60


def test_a_name_is_looked_for_under_the_folder_of_the_data(tmp_path, monkeypatch):
    times, channels, labels = drawn(3, 3)
    write_shd(tmp_path / "shd" / "shd_train.h5", times, channels, labels)
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    assert len(load_shd("shd_train.h5", 10)) == 3
    with pytest.raises(FileNotFoundError, match=r"nor is .*shd_test\.h5; get shd_train\.h5 and .* https://"):
        load_shd("shd_test.h5", 10)
    monkeypatch.delenv("REFSNN_DATA")
    with pytest.raises(FileNotFoundError, match="which is not there, and REFSNN_DATA is not set; get"):
        load_shd("shd_train.h5", 10)


def test_broken_recordings_are_refused_when_they_are_read(tmp_path):
    good_times, good_units = np.array([0.1, 0.2]), np.array([3, 4])
    for bad_times, bad_units, message in (
        ([0.1], [3, 4], "recording 1: expected a unit a time, found 2 for 1 times"),
        ([0.1, np.nan], [3, 4], "recording 1: expected finite times from 0, found nan at spike 1"),
        ([-0.125, 0.2], [3, 4], r"found -0\.125 at spike 0"),
        ([0.1, np.inf], [3, 4], "found inf at spike 1"),
        ([0.1, 0.2], [3, 700], "recording 1: expected units from 0 to 699, found 3 to 700; set units"),
        ([100, 200], [3, 4], r"below the duration of 1\.4 seconds, found 200 \(2 of 2 .* times are seconds"),
    ):
        path = write_shd(tmp_path / "a.h5", [good_times, bad_times], [good_units, bad_units], [0, 1])
        trains = load_shd(path, 10)
        assert trains[0].sum() == 2
        for late in ("error", "drop") if "duration" not in message else ("error",):
            with pytest.raises(ValueError, match=message) as error:
                load_shd(path, 10, late=late)[:]
            assert str(path) in str(error.value)


def test_other_layouts_are_refused(tmp_path):
    times, channels, labels = drawn(4, 3)

    def changed(change) -> Path:
        path = write_shd(tmp_path / "a.h5", times, channels, labels)
        with h5py.File(path, "a") as file:
            change(file)
        return path

    def replace(name: str, value: np.ndarray):
        def change(file: h5py.File) -> None:
            del file[name]
            file[name] = value

        return change

    def integer_times(file: h5py.File) -> None:
        del file["spikes/times"]
        ragged(file["spikes"], "times", [row * 1000 for row in times], np.int64)

    def no_spikes(file: h5py.File) -> None:
        del file["spikes"]

    for change, message in (
        (no_spikes, r"missing spikes/times, spikes/units; found \['extra', 'labels'\]; name a file of SHD"),
        (lambda file: file.move("labels", "y"), "missing labels; found"),
        (
            replace("labels", np.array([1, 20, 3])),
            "labels from 0 to 19, found 20 at recording 1; set classes",
        ),
        (replace("labels", np.array([1, -1, 3])), "found -1 at recording 1"),
        (replace("labels", np.array([1.0, 2.0, 3.0])), "an integer label a recording, found float64"),
        (
            replace("labels", np.array([1, 2])),
            r"found int64 of shape \(2,\) for 3 rows of times and 3 of units",
        ),
        (replace("labels", np.zeros((3, 1), int)), r"found int64 of shape \(3, 1\)"),
        (
            replace("spikes/times", np.zeros((3, 5))),
            r"spikes/times as rows of floats .* float64 of shape \(3, 5\)",
        ),
        (replace("spikes/units", np.zeros(3, int)), "spikes/units as rows of integers"),
        (integer_times, "spikes/times as rows of floats of differing lengths, found dtype int64"),
    ):
        path = changed(change)
        with pytest.raises(ValueError, match=message) as error:
            load_shd(path, 10)
        assert str(path) in str(error.value)
    assert len(load_shd(changed(replace("labels", np.array([1, 34, 3]))), 10, classes=35)) == 3


def test_other_files_are_refused(tmp_path):
    path = write_shd(tmp_path / "a.h5", *drawn(5, 3))
    data = path.read_bytes()
    for content in (b"PK\x03\x04" + data, data[: len(data) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"a\.h5: expected a whole HDF5 file, found something else: .* unpack"
        ):
            load_shd(path, 10)


def test_bad_arguments_are_refused(tmp_path):
    path = write_shd(tmp_path / "a.h5", *drawn(6, 3))
    for arguments, error, message in (
        ({"steps": 0}, ValueError, "steps: expected an integer of at least 1"),
        ({"units": 1.5}, TypeError, "units: expected an integer"),
        ({"duration": 0}, ValueError, "duration: expected a finite number in"),
        ({"classes": 0}, ValueError, "classes: expected"),
        ({"late": "keep"}, ValueError, "late: expected one of 'error', 'drop'"),
        ({"clip": 0}, ValueError, "clip: expected"),
        ({"dtype": np.int64}, TypeError, "dtype: expected float32 or float64"),
    ):
        with pytest.raises(error, match=message):
            load_shd(path, **{"steps": 10} | arguments)
    with pytest.raises(IndexError, match="out of bounds"):
        load_shd(path, 10)[3]
