"""Events and frames: the record, the reader of N-MNIST, and counting into frames against plain loops."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import Events, between, load_nmnist, read_nmnist, sort_events, to_frames

Written = tuple[int, int, int, int]  # x, y, polarity, time


def nmnist_bytes(events: list[Written]) -> bytes:
    """The format by its description: bits 39-32 x, 31-24 y, 23 polarity, 22-0 time, high byte first."""
    data = b""
    for x, y, polarity, time in events:
        word = x << 32 | y << 24 | polarity << 23 | time
        data += struct.pack(">Q", word)[3:]
    return data


def drawn(seed: int, count: int, sensor: tuple[int, int] = (34, 34), span: int = 300_000) -> list[Written]:
    """Random events, sorted."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, span, count))
    return [
        (int(rng.integers(sensor[1])), int(rng.integers(sensor[0])), int(rng.integers(2)), int(time))
        for time in times
    ]


def as_list(events: Events) -> list[Written]:
    rows = zip(events.x, events.y, events.polarity, events.time, strict=True)
    return [tuple(int(entry) for entry in row) for row in rows]


def as_events(written: list[Written], sensor: tuple[int, int] = (34, 34)) -> Events:
    return Events(*np.array(written, np.int64).reshape(-1, 4).T, sensor)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), packed=st.booleans())
def test_nmnist_returns_what_was_written(tmp_path_factory, seed, count, packed):
    # times up to the last bit, so that a byte in the wrong place shows
    written = drawn(seed, count, span=2**23)
    path = tmp_path_factory.mktemp("nmnist") / f"00001.bin{'.gz' if packed else ''}"
    data = nmnist_bytes(written)
    path.write_bytes(gzip.compress(data) if packed else data)
    events = read_nmnist(path)
    assert as_list(events) == written
    assert events.sensor == (34, 34)
    assert (events.x.dtype, events.polarity.dtype, events.time.dtype) == (np.int32, np.int8, np.int64)


def test_nmnist_overflows_count_for_all_that_follow(tmp_path):
    path = tmp_path / "00001.bin"
    overflow = (0, 240, 0, 0)
    path.write_bytes(
        nmnist_bytes(
            [(1, 2, 1, 8000), overflow, (3, 4, 0, 5), overflow, overflow, (33, 33, 1, 7), (0, 0, 1, 8)]
        )
    )
    assert as_list(read_nmnist(path)) == [
        (1, 2, 1, 8000), (3, 4, 0, 8192 + 5), (33, 33, 1, 3 * 8192 + 7), (0, 0, 1, 3 * 8192 + 8),
    ]  # fmt: skip


def test_nmnist_by_hand(tmp_path):
    """One record spelled out in bytes, the time 0x0a1b2c."""
    (tmp_path / "a.bin").write_bytes(bytes([12, 7, 0x8A, 0x1B, 0x2C, 12, 8, 0x0A, 0x1B, 0x2D]))
    assert as_list(read_nmnist(tmp_path / "a.bin")) == [(12, 7, 1, 0x0A1B2C), (12, 8, 0, 0x0A1B2D)]


def test_nmnist_refuses(tmp_path):
    path = tmp_path / "a.bin"
    whole = nmnist_bytes(drawn(1, 4))
    for data, message in (
        (whole[:-1], r"a\.bin: expected records of 5 bytes, at least one, found 19 bytes, 4 over"),
        (b"", "found 0 bytes"),
        (nmnist_bytes([(3, 3, 1, 1), (34, 0, 1, 2)]), r"a\.bin: x: .* from 0 to 33, got 34 at event 1"),
        (nmnist_bytes([(0, 200, 1, 2)]), r"y: expected pixels .* got 200 at event 0 \(1 of 1"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read_nmnist(path)
    path.write_bytes(nmnist_bytes([(200, 150, 1, 2)]))
    assert read_nmnist(path, sensor=(180, 240)).sensor == (180, 240)  # N-Caltech101
    with pytest.raises(FileNotFoundError, match=r"no\.bin, which is not there; get Train\.zip"):
        read_nmnist(tmp_path / "no.bin")


def write_nmnist(folder: Path) -> dict[str, list[Written]]:
    """Two recordings a class and part; the second file is written first."""
    written = {}
    for part in ("Train", "Test"):
        for label in range(10):
            (folder / part / str(label)).mkdir(parents=True)
            for name in ("00011.bin", "00002.bin"):
                key = f"{part}/{label}/{name}"
                written[key] = drawn(len(written), 40 + label)
                (folder / key).write_bytes(nmnist_bytes(written[key]))
            (folder / part / str(label) / "notes.txt").write_text("no recording")
    return written


def test_the_folders_of_nmnist(tmp_path, monkeypatch):
    written = write_nmnist(tmp_path / "nmnist")
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    for part in ("train", "test"):
        files = load_nmnist(part=part)
        assert len(files) == 20
        assert files.labels.tolist() == [label for label in range(10) for _ in range(2)]
        for place in (0, 1, 7, 19):
            name = ("00002.bin", "00011.bin")[place % 2]
            assert as_list(files[place]) == written[f"{part.capitalize()}/{place // 2}/{name}"]
        frames = files.frames([3, 0], 4, size=(17, 17), dtype=np.float32)
        assert frames.shape == (4, 2, 2, 17, 17)
        assert frames.dtype == np.float32
        for place, index in enumerate([3, 0]):
            np.testing.assert_array_equal(frames[:, place], to_frames(files[index], 4, size=(17, 17)))
        np.testing.assert_array_equal(files.frames(slice(0, 2), 3, split="time", clip=1)[:, 1],
                                      to_frames(files[1], 3, "time", clip=1))  # fmt: skip


def test_the_folders_of_nmnist_refuse(tmp_path, monkeypatch):
    monkeypatch.delenv("REFSNN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"REFSNN_DATA is not set; get Train\.zip .* folder nmnist"):
        load_nmnist()
    write_nmnist(tmp_path)
    with pytest.raises(ValueError, match="part: expected one of 'train', 'test', got 'valid'"):
        load_nmnist(tmp_path, "valid")
    files = load_nmnist(tmp_path)
    with pytest.raises(
        ValueError, match=r"Train/0/00002\.bin: steps: expected at most as many frames as events"
    ):
        files.frames([0], 1000)
    with pytest.raises(ValueError, match="at least one recording, got none"):
        files.frames(slice(5, 5), 4)
    with pytest.raises(IndexError, match="out of bounds"):
        files.frames([20], 4)
    for path in (tmp_path / "Test" / "4").glob("*.bin"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Test/0 to Test/9 of .*, none in Test/4; get Train\.zip"):
        load_nmnist(tmp_path, "test")


def test_events_check_their_fields():
    fields = {"x": [0, 1], "y": [2, 0], "polarity": [True, False], "time": [5, 4], "sensor": (3, 2)}
    events = Events(**fields)
    assert len(events) == 2
    assert as_list(events) == [(0, 2, 1, 5), (1, 0, 0, 4)]
    assert len(Events([], [], [], [], (3, 2))) == 0
    for change, error, message in (
        ({"x": [0, 2]}, ValueError, "x: expected pixels of the sensor, from 0 to 1, got 2 at event 1"),
        ({"x": [2, 0], "sensor": [2, 3]}, ValueError, "y: expected pixels .* from 0 to 1, got 2"),
        ({"y": [-1, 0]}, ValueError, "y: .* got -1 at event 0"),
        ({"polarity": [1, -1]}, ValueError, "polarity: expected 0 or 1, got -1 at event 1"),
        ({"time": [5.0, 4.0]}, TypeError, "time: expected integers, got dtype float64"),
        ({"x": [0.0, 1.0]}, TypeError, "x: expected integers"),
        ({"y": [1]}, ValueError, r"y: expected shape \(2,\) like the times, got \(1,\)"),
        ({"time": [[5, 4]]}, ValueError, r"time: expected shape \(N,\)"),
        ({"sensor": (3, 2, 2)}, ValueError, "sensor: expected two numbers, height and width"),
        ({"sensor": (3, 0)}, ValueError, r"sensor\[1\]: expected an integer of at least 1"),
        ({"sensor": 3}, TypeError, "sensor: expected a sequence"),
    ):
        with pytest.raises(error, match=message):
            Events(**fields | change)


def test_between_and_sort_events():
    written = [(0, 0, 1, 30), (1, 0, 0, 10), (2, 0, 1, 20), (3, 0, 0, 10), (4, 0, 1, 40)]
    events = as_events(written)
    assert as_list(sort_events(events)) == [written[1], written[3], written[2], written[0], written[4]]
    assert as_list(between(events, 10, 30)) == [written[1], written[2], written[3]]
    assert len(between(events, 50, 60)) == 0
    with pytest.raises(ValueError, match="end: expected a time after the start 10, got 10"):
        between(events, 10, 10)


def plain_frames(written: list[Written], steps: int, split: str, sensor: tuple[int, int]) -> np.ndarray:
    """The published rule, event by event."""
    frames = np.zeros((steps, 2, *sensor))
    first, last = written[0][3], written[-1][3]
    for place, (x, y, polarity, time) in enumerate(written):
        if split == "number":
            frame = place // (len(written) // steps)
        else:
            frame = (time - first) // ((last - first) // steps)
        frames[min(frame, steps - 1), polarity, y, x] += 1
    return frames


@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 12),
    more=st.integers(0, 200),
    split=st.sampled_from(["number", "time"]),
    sensor=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    span=st.sampled_from([30, 1000, 10**7]),  # a short one has many events at one time
)
def test_frames_agree_with_the_plain_loop(seed, steps, more, split, sensor, span):
    written = drawn(seed, steps + more, sensor, span)
    written = [(0, 0, 1, 0), *written, (0, 0, 0, span)]
    frames = to_frames(as_events(written, sensor), steps, split)
    assert frames.dtype == np.float64
    np.testing.assert_array_equal(frames, plain_frames(written, steps, split, sensor))
    assert frames.sum() == len(written)


def test_the_last_frame_takes_the_rest():
    written = [(0, 0, 1, 100 + time) for time in (0, 9, 10, 19, 20, 29, 30, 31, 32, 35)]
    events = as_events(written, (1, 1))
    # ten events in three frames: 3, 3, 4
    assert to_frames(events, 3)[:, 1, 0, 0].tolist() == [3, 3, 4]
    # 35 microseconds in three frames of 11: [0, 11), [11, 22), and from 22 on
    assert to_frames(events, 3, "time")[:, 1, 0, 0].tolist() == [3, 2, 5]
    # a slice without events is an empty frame
    assert to_frames(as_events([(0, 0, 0, 0), (0, 0, 0, 9)], (1, 1)), 3, "time")[:, 0, 0, 0].tolist() == [
        1,
        0,
        1,
    ]


def test_frames_of_another_size_and_clipped():
    written = drawn(5, 500, (7, 10))
    events = as_events(written, (7, 10))
    small = to_frames(events, 2, size=(3, 5))
    expected = np.zeros((2, 2, 3, 5))
    for place, (x, y, polarity, _) in enumerate(written):
        expected[place // 250, polarity, y * 3 // 7, x * 5 // 10] += 1
    np.testing.assert_array_equal(small, expected)
    assert small.max() > 9  # alive: cutting has something to cut
    np.testing.assert_array_equal(to_frames(events, 2, size=(3, 5), clip=9), np.minimum(small, 9))
    binary = to_frames(events, 2, size=(3, 5), clip=1, dtype=np.float32)
    assert binary.dtype == np.float32
    np.testing.assert_array_equal(binary, small > 0)


def test_frames_refuse():
    events = as_events(drawn(6, 20))
    unsorted = as_events([(0, 0, 1, 5), (0, 0, 1, 9), (0, 0, 1, 7)])
    assert to_frames(unsorted, 3).sum() == 3  # by number the order of the file is what counts
    nothing = Events([], [], [], [], (2, 2))
    for arguments, error, message in (
        ((events, 21), ValueError, "steps: expected at most as many frames as events, 20, got 21"),
        ((nothing, 1), ValueError, "as many frames as events, 0"),
        ((nothing, 1, "time"), ValueError, "events: expected at least one event"),
        ((events, 0), ValueError, "steps: expected an integer of at least 1"),
        ((events, 4, "count"), ValueError, "split: expected one of 'number', 'time'"),
        (
            (unsorted, 1, "time"),
            ValueError,
            "expected sorted times .* got 7 after 9 at event 2 .*sort_events",
        ),
        (
            (between(events, 0, 2 + int(events.time[0])), 3, "time"),
            ValueError,
            "at least a microsecond a frame",
        ),
        ((events, 4, "number", (35, 34)), ValueError, r"size: expected at most the sensor's \(34, 34\)"),
        ((events, 4, "number", 17), TypeError, "size: expected a sequence"),
        ((events, 4, "number", None, 0), ValueError, "clip: expected an integer of at least 1"),
        ((events, 4, "number", None, None, np.int64), TypeError, "dtype: expected float32 or float64"),
        (([1, 2], 4), TypeError, "events: expected a Events"),
    ):
        with pytest.raises(error, match=message):
            to_frames(*arguments)
