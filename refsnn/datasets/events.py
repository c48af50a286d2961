"""Events of a dynamic vision sensor: where, when, brighter or darker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import checks


@dataclass(frozen=True, eq=False)
class Events:
    """A recording: one entry an event in each array.

    Attributes
    ----------
    x : ndarray of int32, shape (N,)
        Column, from 0 on the left.
    y : ndarray of int32, shape (N,)
        Row, from 0.
    polarity : ndarray of int8, shape (N,)
        1 for brighter (ON), 0 for darker (OFF).
    time : ndarray of int64, shape (N,)
        Microseconds, in the order of the file, which need not be sorted.
    sensor : tuple of int
        Height and width of the sensor in pixels.

    Raises
    ------
    TypeError
        If the arrays are not integers.
    ValueError
        If they are not rows of one length, an event is outside the sensor, or a polarity is not 0 or 1.

    Examples
    --------
    >>> events = Events(x=[0, 3], y=[1, 1], polarity=[1, 0], time=[10, 25], sensor=(2, 4))
    >>> len(events), events.time
    (2, array([10, 25]))
    """

    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    time: np.ndarray
    sensor: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the fields and bring them to their types."""
        height, width = sensor_shape("sensor", self.sensor)
        time = _row("time", self.time, None)
        object.__setattr__(self, "sensor", (height, width))
        object.__setattr__(self, "time", time.astype(np.int64))
        for name, size in (("x", width), ("y", height), ("polarity", 2)):
            row = _row(name, getattr(self, name), time.size)
            wrong = np.flatnonzero((row < 0) | (row >= size))
            if wrong.size:
                what = "0 or 1" if name == "polarity" else f"pixels of the sensor, from 0 to {size - 1}"
                raise ValueError(
                    f"{name}: expected {what}, got {row[wrong[0]]} at event {wrong[0]} "
                    f"({wrong.size} of {row.size} events are outside)"
                )
            object.__setattr__(self, name, row.astype(np.int8 if name == "polarity" else np.int32))

    def __len__(self) -> int:
        """Number of events."""
        return self.time.size


def between(events: Events, start: int, end: int) -> Events:
    """Return the events with start <= time < end, in their order, times as they are.

    Parameters
    ----------
    events : Events
        The recording.
    start, end : int
        Microseconds.

    Returns
    -------
    Events

    Raises
    ------
    ValueError
        If the end is not after the start.

    Examples
    --------
    >>> events = Events([0, 1, 2], [0, 0, 0], [1, 1, 1], [10, 20, 30], (1, 3))
    >>> between(events, 10, 30).time
    array([10, 20])
    """
    if not start < end:
        raise ValueError(f"end: expected a time after the start {start}, got {end}")
    return _take(events, (events.time >= start) & (events.time < end))


def sort_events(events: Events) -> Events:
    """Return the events by time; those of one time keep their order.

    For recordings with a few events out of order.  A clock that started again is another matter: cut there.

    Examples
    --------
    >>> sort_events(Events([0, 1], [0, 0], [1, 0], [20, 10], (1, 2))).x
    array([1, 0], dtype=int32)
    """
    return _take(events, np.argsort(events.time, kind="stable"))


def recording(path: Path, x: Any, y: Any, polarity: Any, time: Any, sensor: tuple[int, int]) -> Events:
    """Return the `Events` that a file holds; what is wrong with them is said of the file.

    Parameters
    ----------
    path : Path
        The file, for the message.
    x, y, polarity, time, sensor
        The fields of `Events`.

    Returns
    -------
    Events

    Raises
    ------
    ValueError
        If an event is outside the sensor.

    Examples
    --------
    >>> recording(Path("a.bin"), [9], [0], [1], [0], (4, 4))
    Traceback (most recent call last):
    ...
    ValueError: a.bin: x: expected pixels of the sensor, from 0 to 3, got 9 at event 0 (1 of 1 events are
    outside); the file is of another sensor or format, or broken
    """
    sensor = sensor_shape("sensor", sensor)
    try:
        return Events(x, y, polarity, time, sensor)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; the file is of another sensor or format, or broken") from error


def sensor_shape(name: str, value: Any) -> tuple[int, int]:
    """Return `value` as height and width, two positive integers.

    Raises
    ------
    TypeError, ValueError
        If it is something else.

    Examples
    --------
    >>> sensor_shape("sensor", [34, 34])
    (34, 34)
    """
    shape = checks.widths(name, value)
    if len(shape) != 2:
        raise ValueError(f"{name}: expected two numbers, height and width, got {shape!r}")
    return shape[0], shape[1]


def _row(name: str, value: Any, size: int | None) -> np.ndarray:
    """A row of integers."""
    row = np.asarray(value)
    if row.size == 0:  # an empty list is a float array to NumPy
        row = row.astype(np.int64)
    if row.dtype.kind not in "iub":
        raise TypeError(f"{name}: expected integers, got dtype {row.dtype}")
    if row.ndim != 1 or (size is not None and row.size != size):
        wanted = "(N,)" if size is None else f"({size},) like the times"
        raise ValueError(f"{name}: expected shape {wanted}, got {row.shape}; one entry an event")
    return row


def _take(events: Events, chosen: np.ndarray) -> Events:
    """Some of the events."""
    return Events(
        events.x[chosen], events.y[chosen], events.polarity[chosen], events.time[chosen], events.sensor
    )
