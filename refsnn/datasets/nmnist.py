"""N-MNIST: the digits of MNIST, seen by a sensor that moved (Orchard et al. 2015).

A file is a row of records of five bytes: column, row, then 24 bits with the polarity first (1 is brighter)
and 23 bits of time in microseconds, high byte first.  A record in row 240 is no event: the clock passed
2^13 microseconds once more, which counts for all that follow.  The same format serves N-Caltech101.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.events import Events, recording
from refsnn.datasets.files import AGAIN, content, data_folder
from refsnn.datasets.frames import to_frames

CLASSES = 10
SENSOR = (34, 34)
RECORD = 5
OVERFLOW_ROW = 240
OVERFLOW = 1 << 13  # microseconds
WHERE = (
    "get Train.zip and Test.zip from https://www.garrickorchard.com/datasets/n-mnist and unpack them, so "
    "that there are folders Train/0 to Train/9 and Test/0 to Test/9"
)


@dataclass(frozen=True, eq=False)
class EventFiles:
    """Recordings that stay on disk until they are asked for: ``files[i]`` reads one.

    Attributes
    ----------
    paths : tuple of Path
        One a recording.
    labels : ndarray of int64, shape (N,)
        Class of each recording.
    read : callable
        From a path to `Events`.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    read: Callable[[Path], Events]

    def __len__(self) -> int:
        """Number of recordings."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Events:
        """The recording at this place."""
        return self.read(self.paths[index])

    def frames(self, indices: Any, steps: int, **options: Any) -> np.ndarray:
        """Return a batch of recordings as frames, time first as the models take it.

        Parameters
        ----------
        indices : array_like of int, shape (B,)
            Which recordings; a slice does too.
        steps : int
            Number T of frames of each.
        **options
            Of `to_frames`: ``split``, ``size``, ``clip``, ``dtype``.

        Returns
        -------
        ndarray, shape (T, B, 2, H, W)

        Raises
        ------
        ValueError
            If there is no recording to take, or one cannot be cut so; the file is named.
        """
        chosen = np.atleast_1d(np.arange(len(self))[indices])
        if not chosen.size:
            raise ValueError("indices: expected at least one recording, got none")
        return np.stack([self._frames(self.paths[index], steps, options) for index in chosen], axis=1)

    def _frames(self, path: Path, steps: int, options: dict[str, Any]) -> np.ndarray:
        """One recording as frames."""
        events = self.read(path)
        try:
            return to_frames(events, steps, **options)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def read_nmnist(path: str | os.PathLike[str], sensor: tuple[int, int] = SENSOR) -> Events:
    """Return the events of a ``.bin`` file of N-MNIST.

    Parameters
    ----------
    path : path-like
        The file.
    sensor : tuple of int
        Height and width; N-Caltech101 needs larger ones.

    Returns
    -------
    Events
        In the file's order; row 0 is the top one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, not a whole number of records, or has an event outside the sensor.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "00001.bin")
    ...     _ = path.write_bytes(bytes([12, 7, 0x80, 1, 4]))
    ...     events = read_nmnist(path)
    >>> int(events.x[0]), int(events.y[0]), int(events.polarity[0]), int(events.time[0])
    (12, 7, 1, 260)
    """
    path = Path(path)
    data = content(path, "a file of N-MNIST", WHERE)
    if not data or len(data) % RECORD:
        raise ValueError(
            f"{path}: expected records of {RECORD} bytes, at least one, found {len(data)} bytes, "
            f"{len(data) % RECORD} over the last whole record: it was cut short, or is no file of N-MNIST; "
            f"{AGAIN}"
        )
    x, y, high, middle, low = np.frombuffer(data, np.uint8).reshape(-1, RECORD).T.astype(np.int64)
    polarity, time = high >> 7, (high & 0x7F) << 16 | middle << 8 | low
    overflow = y == OVERFLOW_ROW
    time += OVERFLOW * np.cumsum(overflow)
    pixel = ~overflow
    return recording(path, x[pixel], y[pixel], polarity[pixel], time[pixel], sensor)


def load_nmnist(folder: str | os.PathLike[str] | None = None, part: str = "train") -> EventFiles:
    """Return the recordings of N-MNIST, class by class, each class by file name.

    Nothing is read yet: all 70000 recordings together take about 5 GB of memory.

    Parameters
    ----------
    folder : path-like, optional
        Where the folders ``Train`` and ``Test`` are; ``$REFSNN_DATA/nmnist`` if it is not given.
    part : str
        ``"train"`` (60000 recordings) or ``"test"`` (10000).

    Returns
    -------
    EventFiles
        Of files ``Train/0/*.bin`` to ``Train/9/*.bin``, or ``Test/...``.

    Raises
    ------
    FileNotFoundError
        Naming the folders that are missing or have no ``.bin`` file, and where to get them.
    ValueError
        For another part.

    Examples
    --------
    >>> load_nmnist("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    FileNotFoundError: folder: expected the folders of N-MNIST in no/such/folder, which is not there; ...
    """
    part = checks.choice("part", part, ("train", "test")).capitalize()
    root = data_folder(folder, "nmnist", "the folders of N-MNIST", WHERE)
    found = [sorted((root / part / str(label)).glob("*.bin")) for label in range(CLASSES)]
    missing = [f"{part}/{label}" for label, paths in enumerate(found) if not paths]
    if missing:
        raise FileNotFoundError(
            f"folder: expected .bin files in {part}/0 to {part}/{CLASSES - 1} of {root}, none in "
            f"{', '.join(missing)}; {WHERE}"
        )
    labels = np.repeat(np.arange(CLASSES), [len(paths) for paths in found])
    return EventFiles(tuple(path for paths in found for path in paths), labels, read_nmnist)
