"""DVS-Gesture: long recordings, and tables of which gesture was made when (Amir et al. 2017)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from refsnn.datasets.aedat import WHERE_3, read_aedat3
from refsnn.datasets.events import Events, between
from refsnn.datasets.files import content

CLASSES = 11
COLUMNS = "class,startTime_usec,endTime_usec"


class Interval(NamedTuple):
    """A gesture: label from 0 to 10, and start <= time < end in microseconds."""

    label: int
    start: int
    end: int


def read_gestures(
    path: str | os.PathLike[str], labels_path: str | os.PathLike[str] | None = None
) -> list[tuple[Events, int]]:
    """Return the gestures of one recording of DVS-Gesture, events and label of each.

    Parameters
    ----------
    path : path-like
        The recording, such as ``user01_led.aedat``.
    labels_path : path-like, optional
        Its table; ``user01_led_labels.csv`` beside it if it is not given.

    Returns
    -------
    list of (Events, int)
        In the order of the table; times are those of the recording, labels run from 0 to 10.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If one is broken, or the recording has no event in an interval.

    Examples
    --------
    >>> read_gestures("user01_led.aedat")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    FileNotFoundError: path: expected a table of DVS-Gesture, got user01_led_labels.csv, which is not ...
    """
    path = Path(path)
    labels = path.with_name(f"{path.stem}_labels.csv") if labels_path is None else Path(labels_path)
    intervals = read_intervals(labels)
    events = read_aedat3(path)
    gestures = [(between(events, interval.start, interval.end), interval.label) for interval in intervals]
    for interval, (part, _) in zip(intervals, gestures, strict=True):
        if not len(part):
            span = f"{events.time.min()} to {events.time.max()}" if len(events) else "no time at all"
            raise ValueError(
                f"{labels}: expected events from {interval.start} to {interval.end}, found none in "
                f"{path.name}, which has events from {span}; check that both files are of one recording"
            )
    return gestures


def read_intervals(path: str | os.PathLike[str]) -> list[Interval]:
    """Return the intervals of a table of DVS-Gesture; classes 1 to 11 become labels 0 to 10.

    Intervals may overlap: some of the data set's do.

    Parameters
    ----------
    path : path-like
        A text file with a line ``class,startTime_usec,endTime_usec``, then one line a gesture.

    Returns
    -------
    list of Interval

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such table: other columns, no gesture, something else than integers, a class out of
        range, an end that is not after its start.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "user01_led_labels.csv")
    ...     _ = path.write_text("class,startTime_usec,endTime_usec\\n1,100,250\\n")
    ...     read_intervals(path)
    [Interval(label=0, start=100, end=250)]
    """
    path = Path(path)
    text = content(path, "a table of DVS-Gesture", WHERE_3).decode("utf-8-sig", errors="replace")
    first, *lines = [line.strip() for line in text.splitlines()] or [""]
    if first.replace(" ", "") != COLUMNS:
        raise ValueError(f"{path}: expected the columns {COLUMNS}, found {first[:60]!r}; name the right file")
    intervals = [_interval(path, number, line) for number, line in enumerate(lines, 2) if line]
    if not intervals:
        raise ValueError(f"{path}: expected at least one gesture, found none; get the file again")
    return intervals


def _interval(path: Path, number: int, line: str) -> Interval:
    """One line of the table."""
    try:
        label, start, end = (int(entry) for entry in line.split(","))
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: expected three integers, found {line[:60]!r}") from error
    if not 1 <= label <= CLASSES:
        raise ValueError(f"{path}, line {number}: expected a class from 1 to {CLASSES}, found {label}")
    if not 0 <= start < end:
        raise ValueError(f"{path}, line {number}: expected an end after the start, found {start} to {end}")
    return Interval(label - 1, start, end)
