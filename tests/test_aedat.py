"""AEDAT 2.0, AEDAT 3.1 and the tables of DVS-Gesture: files written here field by field."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import Events, read_aedat2, read_aedat3, read_gestures, read_intervals

Written = tuple[int, int, int, int]  # x, y, polarity, time

HEADER_2 = (
    b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
    b"# Timestamps tick is 1 us\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
)
HEADER_3 = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-11-22 13:42:11 (TZ-0800)\r\n#!END-HEADER\r\n"
)


def drawn(seed: int, count: int, span: int = 10**6) -> list[Written]:
    """Random events of a DVS128, sorted."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, span, count))
    return [
        (int(rng.integers(128)), int(rng.integers(128)), int(rng.integers(2)), int(time)) for time in times
    ]


def as_list(events: Events) -> list[Written]:
    rows = zip(events.x, events.y, events.polarity, events.time, strict=True)
    return [tuple(int(entry) for entry in row) for row in rows]


def aedat2_bytes(events: list[Written]) -> bytes:
    """Events given as jAER shows them (origin below left, ON is 1): the camera counts columns from the right
    in bits 1 to 7, rows in bits 8 to 14, and has ON as 0 in bit 0."""
    return HEADER_2 + b"".join(
        struct.pack(">I", (127 - x) * 2 + y * 256 + (1 - polarity)) + struct.pack(">I", time)
        for x, y, polarity, time in events
    )


def packet(
    events: list[Written], kind: int = 1, overflow: int = 0, valid: list[int] | None = None, **header
) -> bytes:
    """A packet of AEDAT 3.1, times beyond 31 bits cut; `header` replaces fields."""
    marks = [1] * len(events) if valid is None else valid
    fields = {
        "size": 8,
        "offset": 4,
        "capacity": len(events),
        "number": len(events),
        "valid": sum(marks),
    } | header
    head = struct.pack("<h", kind) + struct.pack("<h", 1)
    for value in (
        fields["size"],
        fields["offset"],
        overflow,
        fields["capacity"],
        fields["number"],
        fields["valid"],
    ):
        head += struct.pack("<i", value)
    assert len(head) == 28
    for (x, y, polarity, time), mark in zip(events, marks, strict=True):
        head += struct.pack("<I", x * 2**17 + y * 4 + polarity * 2 + mark)
        head += struct.pack("<I", time % 2**31)
    return head


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), packed=st.booleans())
def test_aedat2_returns_what_was_written(tmp_path_factory, seed, count, packed):
    written = drawn(seed, count, span=2**32)
    path = tmp_path_factory.mktemp("aedat") / f"cifar10_cat_0.aedat{'.gz' if packed else ''}"
    data = aedat2_bytes(written)
    path.write_bytes(gzip.compress(data) if packed else data)
    events = read_aedat2(path, axes="jaer")
    assert as_list(events) == written
    assert events.sensor == (128, 128)
    # the other convention exchanges the axes: its column is ours counted from the other side of the rows
    assert as_list(read_aedat2(path)) == [(127 - y, x, polarity, time) for x, y, polarity, time in written]


def test_aedat2_by_hand(tmp_path):
    """Address 0x0507: bit 0 set (OFF), 3 in bits 1 to 7, 5 in bits 8 to 14."""
    path = tmp_path / "a.aedat"
    path.write_bytes(HEADER_2 + bytes([0, 0, 0x05, 0x07, 0, 1, 2, 3]) + bytes([0, 0, 0x05, 0x06, 0, 1, 2, 4]))
    assert as_list(read_aedat2(path, "jaer")) == [(124, 5, 0, 0x010203), (124, 5, 1, 0x010204)]
    assert as_list(read_aedat2(path)) == [(122, 124, 0, 0x010203), (122, 124, 1, 0x010204)]


def test_aedat2_leaves_signals_out(tmp_path):
    path = tmp_path / "a.aedat"
    first, last = (3, 4, 1, 10), (5, 6, 0, 12)
    signals = struct.pack(">IIII", 0x8000, 11, 0x8000_0000, 11)
    path.write_bytes(aedat2_bytes([first]) + signals + aedat2_bytes([last])[len(HEADER_2) :])
    assert as_list(read_aedat2(path, "jaer")) == [first, last]


def test_aedat2_refuses(tmp_path):
    path = tmp_path / "a.aedat"
    whole = aedat2_bytes(drawn(1, 5))
    davis = HEADER_2 + struct.pack(">II", 1 << 22 | 2 << 12, 3)
    for data, message in (
        (whole[:-3], r"a\.aedat: expected pairs of a 32-bit address .* found 37 bytes, 5 over"),
        (HEADER_2, "at least one, found 0 bytes"),
        (whole[len(HEADER_2) :], r"begins with #!AER-DAT2\.0, found one that begins with"),
        (
            HEADER_3 + packet(drawn(1, 3)),
            r"found one that begins with '#!AER-DAT3\.1'; take the reader of its",
        ),
        (b"", "found one that begins with ''"),
        (davis, r"addresses of a DVS128, 15 bits, found 0x402000 at event 0 \(1 of 1\)"),
        (HEADER_2 + struct.pack("<II", 0x0507, 3), "found 0x7050000 at event 0"),  # the other byte order
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read_aedat2(path)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="axes: expected one of 'spikingjelly', 'jaer'"):
        read_aedat2(path, axes="xy")
    with pytest.raises(
        FileNotFoundError, match=r"no\.aedat, which is not there; get CIFAR10-DVS from https://"
    ):
        read_aedat2(tmp_path / "no.aedat")


@given(seed=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(0, 20), max_size=5), special=st.booleans())
def test_aedat3_returns_what_was_written(tmp_path_factory, seed, counts, special):
    written = drawn(seed, sum(counts), span=2**31)
    path = tmp_path_factory.mktemp("aedat") / "user01_led.aedat"
    data, start = HEADER_3, 0
    for count in counts:
        data += packet(written[start : start + count])
        if special:  # packets of another kind and event size between them
            data += struct.pack("<hhiiiiii", 0, 1, 12, 8, 0, 2, 2, 2) + b"#" * 24
        start += count
    path.write_bytes(data)
    events = read_aedat3(path)
    assert as_list(events) == written
    assert events.sensor == (128, 128)


def test_aedat3_by_hand(tmp_path):
    """Column 12, row 7, ON, valid: 12 * 2^17 + 7 * 4 + 3 = 0x0018001f, least byte first."""
    path = tmp_path / "a.aedat"
    header = "01000100" + "08000000" + "04000000" + "00000000" + "01000000" * 3
    path.write_bytes(HEADER_3 + bytes.fromhex(header + "1f001800" + "04010000"))
    assert as_list(read_aedat3(path)) == [(12, 7, 1, 260)]


def test_aedat3_overflows_and_marks_of_validity(tmp_path):
    path = tmp_path / "a.aedat"
    early, withdrawn, late = (1, 2, 0, 2**31 - 1), (3, 4, 1, 2**31 + 5), (5, 6, 1, 2**31 + 6)
    path.write_bytes(HEADER_3 + packet([early]) + packet([withdrawn, late], overflow=1, valid=[0, 1]))
    assert as_list(read_aedat3(path)) == [early, late]
    far = (5, 6, 1, 3 * 2**31 + 6)
    path.write_bytes(HEADER_3 + packet([far], overflow=3))
    assert as_list(read_aedat3(path)) == [far]


def test_aedat3_refuses(tmp_path):
    path = tmp_path / "a.aedat"
    events = drawn(2, 4)
    whole, at = HEADER_3 + packet(events), len(HEADER_3)
    swapped = struct.pack(">hhiiiiii", 1, 1, 8, 4, 0, 1, 1, 1) + struct.pack(">II", 3, 4)
    clock = packet(events[:1])[:-4] + struct.pack("<I", 1 << 31)
    for data, message in (
        (
            whole[:-1],
            rf"a\.aedat: packet at byte {at}: expected 4 events of 8 bytes, found 31 bytes: the file",
        ),
        (whole + packet(events)[:20], rf"packet at byte {at + 60}: expected a header of 28 bytes, found 20"),
        (HEADER_2 + b"\0" * 8, r"begins with #!AER-DAT3\.1, found one that begins with '#!AER-DAT2\.0'"),
        (HEADER_3.replace(b"3.1", b"3.0") + packet(events), r"found one that begins with '#!AER-DAT3\.0'"),
        (
            HEADER_3.replace(b"#!END-HEADER\r\n", b"") + packet(events),
            "expected the header to end with a line",
        ),
        (HEADER_3[:40], "expected the header to end with a line #!END-HEADER, found none"),
        (
            HEADER_3 + packet(events, size=12),
            "polarity events of 8 bytes with the time at byte 4, found 12 and 4",
        ),
        (HEADER_3 + packet(events, offset=0), "found 8 and 0"),
        (HEADER_3 + packet(events, capacity=6), "expected a full packet, found 4 events in room for 6"),
        (
            HEADER_3 + packet(events, capacity=3),
            "0 <= valid <= number <= capacity, found .* capacity 3, number 4",
        ),
        (HEADER_3 + packet(events, valid=None, overflow=-1), "overflow -1"),
        (HEADER_3 + swapped, f"packet at byte {at}: expected"),
        (HEADER_3 + clock, "expected times of 31 bits, found one of 32"),
        (HEADER_3 + packet([(128, 5, 1, 1)]), r"a\.aedat: x: .* got 128 at event 0"),
        (HEADER_3 + packet([(5, 2**14, 1, 1)]), r"a\.aedat: y: .* got 16384 at event 0"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read_aedat3(path)
    path.write_bytes(HEADER_3 + packet([(200, 150, 1, 1)]))
    assert as_list(read_aedat3(path, sensor=(180, 240))) == [(200, 150, 1, 1)]
    with pytest.raises(FileNotFoundError, match=r"no\.aedat, which is not there; get DvsGesture\.tar\.gz"):
        read_aedat3(tmp_path / "no.aedat")


TABLE = "class,startTime_usec,endTime_usec\n"


def write_gestures(folder: Path, table: str, events: list[Written]) -> Path:
    path = folder / "user01_led.aedat"
    path.write_bytes(HEADER_3 + packet(events))
    (folder / "user01_led_labels.csv").write_text(TABLE + table)
    return path


def test_gestures_are_the_events_of_their_intervals(tmp_path):
    written = drawn(3, 300, span=1000)
    # windows line ends and an overlap, as the data set has them
    path = write_gestures(tmp_path, "1,100,250\r\n11,240,600\r\n\r\n", written)
    gestures = read_gestures(path)
    assert [label for _, label in gestures] == [0, 10]
    for (events, _), (start, end) in zip(gestures, [(100, 250), (240, 600)], strict=True):
        expected = [event for event in written if start <= event[3] < end]
        assert len(expected) > 10
        assert as_list(events) == expected
    (tmp_path / "user01_led_labels.csv").rename(tmp_path / "table.csv")
    assert len(read_gestures(path, tmp_path / "table.csv")) == 2
    assert read_intervals(tmp_path / "table.csv")[1] == (10, 240, 600)
    with pytest.raises(
        FileNotFoundError, match=r"user01_led_labels\.csv, which is not there; get DvsGesture"
    ):
        read_gestures(path)


def test_gestures_refuse(tmp_path):
    written = drawn(4, 50, span=1000)
    for table, message in (
        ("0,100,200\n", r"labels\.csv, line 2: expected a class from 1 to 11, found 0"),
        ("1,100,200\n12,300,400\n", "line 3: expected a class from 1 to 11, found 12"),
        ("1,200,200\n", "line 2: expected an end after the start, found 200 to 200"),
        ("1,200\n", "line 2: expected three integers, found '1,200'"),
        ("1,200,x\n", "line 2: expected three integers"),
        ("", "expected at least one gesture, found none"),
        (
            "1,5000,6000\n",
            r"expected events from 5000 to 6000, found none in user01_led\.aedat, which has events",
        ),
    ):
        path = write_gestures(tmp_path, table, written)
        with pytest.raises(ValueError, match=message):
            read_gestures(path)
    for text in ("1,100,200\n", ""):
        (tmp_path / "user01_led_labels.csv").write_text(text)
        with pytest.raises(ValueError, match="expected the columns class,startTime_usec,endTime_usec, found"):
            read_gestures(path)
    write_gestures(tmp_path, "1,100,200\n", [])
    with pytest.raises(ValueError, match="which has events from no time at all"):
        read_gestures(path)
