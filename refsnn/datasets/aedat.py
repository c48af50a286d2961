"""Recordings of the DVS128 sensor in the formats AEDAT 2.0 (CIFAR10-DVS) and AEDAT 3.1 (DVS-Gesture).

Both begin with lines of text that begin with ``#``, the first with the version.  Then

- in 2.0, pairs of an address and a time in microseconds, 32 bits each, big-endian;
- in 3.1, packets, little-endian: a header of 28 bytes says what the events are, how many, and how often
  the clock of 31 bits has overflowed; an event is 32 bits of address and 32 of time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refsnn import checks
from refsnn.datasets.events import Events, recording
from refsnn.datasets.files import AGAIN, content

SENSOR = (128, 128)
WHERE_2 = (
    "get CIFAR10-DVS from https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671 and unpack its ten "
    "archives, one a class"
)
WHERE_3 = "get DvsGesture.tar.gz from https://research.ibm.com/dvsgesture and unpack it"

_VERSION = b"#!AER-DAT"
_END = b"#!END-HEADER"
_SPECIAL = 0x8000_8000  # bits 15 and 31: a signal on a pin and the like, no pixel
_UNUSED = 0x7FFF_0000  # bits that no address of a DVS128 has
_POLARITY_EVENTS = 1


def read_aedat2(path: str | os.PathLike[str], axes: str = "spikingjelly") -> Events:
    """Return the events of an AEDAT 2.0 file of a DVS128, such as those of CIFAR10-DVS.

    The address has the polarity in bit 0 (0 is brighter, ON), a in bits 1 to 7 and b in bits 8 to 14.
    Entries with bit 15 or 31 are signals to the camera, no events, and left out.

    Parameters
    ----------
    path : path-like
        The file.
    axes : str
        What is row and what is column.  ``"spikingjelly"``: x = 127 - b, y = 127 - a, as that framework has
        it, whose frames much of the literature trains on.  ``"jaer"``: x = 127 - a, y = b with row 0 at the
        bottom, as the camera's own software and the data set's Matlab reader have it.

    Returns
    -------
    Events
        In the file's order, sensor (128, 128).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is another version or sensor, has no event, or was cut short.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "cifar10_cat_0.aedat")
    ...     _ = path.write_bytes(b"#!AER-DAT2.0\\r\\n" + struct.pack(">II", 5 << 8 | 3 << 1, 260))
    ...     events = read_aedat2(path, axes="jaer")
    >>> int(events.x[0]), int(events.y[0]), int(events.polarity[0]), int(events.time[0])
    (124, 5, 1, 260)
    """
    path = Path(path)
    axes = checks.choice("axes", axes, ("spikingjelly", "jaer"))
    data = content(path, "a file of CIFAR10-DVS", WHERE_2)
    start = _header(path, data, "2.0")
    if len(data) == start or (len(data) - start) % 8:
        raise ValueError(
            f"{path}: expected pairs of a 32-bit address and a 32-bit time after the header, at least one, "
            f"found {len(data) - start} bytes, {(len(data) - start) % 8} over the last whole pair: it was "
            f"cut short; {AGAIN}"
        )
    address, time = np.frombuffer(data, ">u4", offset=start).reshape(-1, 2).T.astype(np.int64)
    wrong = np.flatnonzero((address & _SPECIAL == 0) & (address & _UNUSED != 0))
    if wrong.size:
        raise ValueError(
            f"{path}: expected addresses of a DVS128, 15 bits, found {address[wrong[0]]:#x} at event "
            f"{wrong[0]} ({wrong.size} of {address.size}): it is of another sensor, or broken; {AGAIN}"
        )
    pixel = address & _SPECIAL == 0
    address, time = address[pixel], time[pixel]
    low, high, polarity = 127 - (address >> 1 & 127), address >> 8 & 127, 1 - (address & 1)
    x, y = (127 - high, low) if axes == "spikingjelly" else (low, high)
    return recording(path, x, y, polarity, time, SENSOR)


def read_aedat3(path: str | os.PathLike[str], sensor: tuple[int, int] = SENSOR) -> Events:
    """Return the polarity events of an AEDAT 3.1 file, such as those of DVS-Gesture.

    The address has a mark of validity in bit 0, the polarity in bit 1 (1 is brighter, ON), the row in bits
    2 to 16 and the column in bits 17 to 31.  Packets of other events are passed over.  Events without the
    mark were withdrawn by a filter and are left out, as libcaer does; some frameworks keep them.

    Parameters
    ----------
    path : path-like
        The file.
    sensor : tuple of int
        Height and width.

    Returns
    -------
    Events
        In the file's order, row 0 at the top, times of up to 62 bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is another version, a packet was cut short or its header contradicts itself, or an event is
        outside the sensor.

    Examples
    --------
    >>> import tempfile
    >>> header = struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, 1, 1, 1)
    >>> event = struct.pack("<II", 12 << 17 | 7 << 2 | 3, 260)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "user01_led.aedat")
    ...     _ = path.write_bytes(b"#!AER-DAT3.1\\r\\n#!END-HEADER\\r\\n" + header + event)
    ...     events = read_aedat3(path)
    >>> int(events.x[0]), int(events.y[0]), int(events.polarity[0]), int(events.time[0])
    (12, 7, 1, 260)
    """
    path = Path(path)
    data = content(path, "a file of DVS-Gesture", WHERE_3)
    start = _header(path, data, "3.1")
    addresses, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for packet in _packets(path, data, start):
        if packet.kind == _POLARITY_EVENTS:
            pairs = (
                np.frombuffer(data, "<u4", 2 * packet.number, packet.start).reshape(-1, 2).astype(np.int64)
            )
            if pairs.size and pairs[:, 1].max() >> 31:
                raise ValueError(
                    f"{path}: expected times of 31 bits, found one of 32 in the packet at byte "
                    f"{packet.start - _Packet.HEADER}: it is broken; {AGAIN}"
                )
            addresses.append(pairs[:, 0])
            times.append(packet.overflow << 31 | pairs[:, 1])
    address, time = np.concatenate(addresses), np.concatenate(times)
    valid = address & 1 == 1
    address, time = address[valid], time[valid]
    return recording(path, address >> 17, address >> 2 & 0x7FFF, address >> 1 & 1, time, sensor)


@dataclass(frozen=True)
class _Packet:
    """What the header of a packet says, and where its events begin."""

    HEADER = 28

    kind: int
    overflow: int
    number: int
    start: int


def _packets(path: Path, data: bytes, start: int) -> Iterator[_Packet]:
    """The packets in their order."""
    while start < len(data):
        where = f"{path}: packet at byte {start}"
        body = start + _Packet.HEADER
        if body > len(data):
            raise ValueError(
                f"{where}: expected a header of {_Packet.HEADER} bytes, found {len(data) - start}: the file "
                f"was cut short; {AGAIN}"
            )
        # type, source, size of an event, offset of its time, overflow, capacity, number, number of valid ones
        kind, _, size, offset, overflow, capacity, number, valid = struct.unpack_from(
            "<hhiiiiii", data, start
        )
        if not (size >= 1 and overflow >= 0 and 0 <= valid <= number <= capacity):
            raise ValueError(
                f"{where}: expected a header with 0 <= valid <= number <= capacity, found event size {size}, "
                f"overflow {overflow}, capacity {capacity}, number {number}, valid {valid}: it is broken; "
                f"{AGAIN}"
            )
        if number != capacity:
            raise ValueError(
                f"{where}: expected a full packet, found {number} events in room for {capacity}; readers of "
                "the format disagree on what follows then, so that this one does not guess"
            )
        if kind == _POLARITY_EVENTS and (size, offset) != (8, 4):
            raise ValueError(
                f"{where}: expected polarity events of 8 bytes with the time at byte 4, found {size} and "
                f"{offset}: it is broken; {AGAIN}"
            )
        if body + size * number > len(data):
            raise ValueError(
                f"{where}: expected {number} events of {size} bytes, found {len(data) - body} bytes: the "
                f"file was cut short; {AGAIN}"
            )
        yield _Packet(kind, overflow, number, body)
        start = body + size * number


def _header(path: Path, data: bytes, version: str) -> int:
    """Check the lines of text; where the events begin."""
    line, start = _line(data, 0)
    if line != _VERSION + version.encode():
        raise ValueError(
            f"{path}: expected a file that begins with {_VERSION.decode()}{version}, found one that begins "
            f"with {line[:16].decode('latin-1')!r}; take the reader of its version, or get the file again"
        )
    while version != "2.0" or data[start : start + 1] == b"#":
        # Version 3.1 says where the text ends; in 2.0 the first address does, whose first byte is no '#'
        # in a DVS128.
        line, start = _line(data, start)
        if version == "3.1" and line == _END:
            return start
        if not line.startswith(b"#"):
            raise ValueError(
                f"{path}: expected the header to end with a line {_END.decode()}, found none; "
                f"it was cut short, or is of another version; {AGAIN}"
            )
    return start


def _line(data: bytes, start: int) -> tuple[bytes, int]:
    """The line that begins at this byte, without its end, and where the next begins."""
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end + 1
    return data[start:end].rstrip(b"\r\n"), end
