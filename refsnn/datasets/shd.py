"""Spiking Heidelberg Digits and Spiking Speech Commands: spikes of a cochlea in HDF5 (Cramer et al. 2020).

``spikes/times`` and ``spikes/units`` have a row a recording, of differing lengths: when (seconds, stored in
half precision) and which of 700 units.  ``labels`` has the classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn import checks

CLASSES = 20
UNITS = 700
DURATION = 1.4
WHERE = (
    "get shd_train.h5 and shd_test.h5 (or those of ssc) from https://zenkelab.org/datasets and unpack them"
)


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Recordings that stay in their file; what is asked for is read and counted into steps.

    ``trains[i]`` is one recording (T, units), ``trains[2:5]`` or ``trains[[7, 1]]`` some (N, T, units);
    memory is taken for those only.

    Attributes
    ----------
    path : Path
        The file.
    labels : ndarray of int64, shape (N,)
        Class of each recording.
    steps : int
        Number T of steps.
    units : int
        Number of units.
    duration : float
        Seconds that the steps span together.
    late : str
        ``"error"`` or ``"drop"``: what becomes of spikes at or after the duration.
    clip : int or None
        Counts above it are cut to it; 1 gives binary spikes.
    dtype : numpy.dtype
        Of the spikes.
    """

    path: Path
    labels: np.ndarray
    steps: int
    units: int
    duration: float
    late: str
    clip: int | None
    dtype: np.dtype

    def __len__(self) -> int:
        """Number of recordings."""
        return self.labels.size

    def __getitem__(self, indices: Any) -> np.ndarray:
        """Spike counts of one recording (T, units), or of some (N, T, units)."""
        chosen = np.arange(len(self))[indices]
        spikes = np.zeros((*chosen.shape, self.steps, self.units), self.dtype)
        with _open(self.path) as file:
            for place in np.ndindex(chosen.shape):
                spikes[place] = self._counts(file, int(chosen[place]))
        return spikes

    def batches(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield spikes (T, B, units), time first as the models take them, and labels (B,).

        Parameters
        ----------
        size : int
            Recordings a batch; the last batch has what remains.
        rng : numpy.random.Generator, optional
            Shuffles; without it the order is the file's.

        Yields
        ------
        spikes, labels : ndarray

        Raises
        ------
        TypeError, ValueError
            For something else than a count and a Generator, and for a broken recording.
        """
        size = checks.count("size", size)
        order = np.arange(len(self)) if rng is None else checks.generator("rng", rng).permutation(len(self))
        for start in range(0, len(self), size):
            chosen = order[start : start + size]
            yield np.ascontiguousarray(self[chosen].swapaxes(0, 1)), self.labels[chosen]

    def _counts(self, file: h5py.File, index: int) -> np.ndarray:
        """One recording, spikes in each step of each unit."""
        # Half precision has 11 bits: the division into steps needs more.
        times = np.asarray(file["spikes/times"][index], np.float64)
        units = np.asarray(file["spikes/units"][index], np.int64)
        where = f"{self.path}: recording {index}"
        if times.size != units.size:
            raise ValueError(f"{where}: expected a unit a time, found {units.size} for {times.size} times")
        wrong = np.flatnonzero(~(np.isfinite(times) & (times >= 0)))
        if wrong.size:
            raise ValueError(
                f"{where}: expected finite times from 0, found {times[wrong[0]]} at spike {wrong[0]}"
            )
        if units.size and not (units.min() >= 0 and units.max() < self.units):
            raise ValueError(
                f"{where}: expected units from 0 to {self.units - 1}, found {units.min()} to {units.max()}; "
                "set units to the number that the file has"
            )
        early = times < self.duration
        if self.late == "error" and not early.all():
            raise ValueError(
                f"{where}: expected times below the duration of {self.duration} seconds, found "
                f"{times.max():g} ({times.size - early.sum()} of {times.size} spikes are late); times are "
                "seconds: take a longer duration, or late='drop' to leave them out"
            )
        # min: the division may round the last time before the duration up to `steps`
        step = np.minimum(times[early] * self.steps / self.duration, self.steps - 1).astype(np.int64)
        size = self.steps * self.units
        counts = np.bincount(step * self.units + units[early], minlength=size).reshape(self.steps, self.units)
        return counts if self.clip is None else np.minimum(counts, self.clip)


def load_shd(
    path: str | os.PathLike[str],
    steps: int,
    units: int = UNITS,
    duration: float = DURATION,
    classes: int = CLASSES,
    late: str = "error",
    clip: int | None = None,
    dtype: Any = np.float64,
) -> SpikeTrains:
    """Return the recordings of an SHD or SSC file, counted into steps when they are asked for.

    A spike of unit u at t seconds counts in step floor(t * steps / duration) of column u: the steps are
    equally long and cover [0, duration).

    Parameters
    ----------
    path : path-like
        The file; a name that is not there is looked for under ``$REFSNN_DATA/shd`` as well.
    steps : int
        Number T of steps.
    units : int
        Number of units: 700 in both data sets.
    duration : float
        Seconds that the steps span together; 1.4 is what the data set's authors take for SHD.
    classes : int
        20 in SHD, 35 in SSC.
    late : str
        ``"error"`` refuses a recording with spikes at or after the duration, ``"drop"`` leaves them out.
    clip : int, optional
        Counts above it are cut to it; 1 gives binary spikes.
    dtype : dtype
        Of the spikes: float64 or float32.

    Returns
    -------
    SpikeTrains
        With the labels of all; spikes stay in the file.

    Raises
    ------
    FileNotFoundError
        Saying where it was looked for, and where to get it.
    TypeError
        For arguments of a wrong type.
    ValueError
        If it is no HDF5 file or of another layout, or a label is out of range.  What is wrong inside a
        recording is said when it is read.

    Examples
    --------
    >>> load_shd("no/such/shd_train.h5", steps=100)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    FileNotFoundError: path: expected a file of SHD, got no/such/shd_train.h5, which is not there...
    """
    steps, units = checks.count("steps", steps), checks.count("units", units)
    duration = checks.number("duration", duration, low=0, low_open=True)
    classes, late = checks.count("classes", classes), checks.choice("late", late, ("error", "drop"))
    clip = None if clip is None else checks.count("clip", clip)
    kind = checks.float_dtype("dtype", dtype)
    found = _find(Path(path))
    with _open(found) as file:
        labels = _labels(found, file, classes)
    return SpikeTrains(found, labels, steps, units, duration, late, clip, kind)


def _find(path: Path) -> Path:
    """The file, here or under the folder of the data."""
    root = os.environ.get("REFSNN_DATA")
    candidates = [path, *([Path(root) / "shd" / path] if root else [])]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    also = f", nor is {candidates[1]}" if root else ", and REFSNN_DATA is not set"
    raise FileNotFoundError(f"path: expected a file of SHD, got {path}, which is not there{also}; {WHERE}")


def _open(path: Path) -> h5py.File:
    """The file, open for reading."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path}: expected a whole HDF5 file, found something else: {error}; get it again (the archives "
            "are packed: unpack them first)"
        ) from error


def _labels(path: Path, file: h5py.File, classes: int) -> np.ndarray:
    """Check the layout; the classes."""
    names = ("spikes/times", "spikes/units", "labels")
    missing = [name for name in names if not isinstance(file.get(name), h5py.Dataset)]
    if missing:
        raise ValueError(
            f"{path}: expected the arrays {', '.join(names)}, missing {', '.join(missing)}; "
            f"found {sorted(file)}; name a file of SHD or SSC"
        )
    times, units, labels = (file[name] for name in names)
    for name, rows, kinds, what in (("times", times, "f", "floats"), ("units", units, "iu", "integers")):
        entries = h5py.check_vlen_dtype(rows.dtype)
        if rows.ndim != 1 or entries is None or np.dtype(entries).kind not in kinds:
            raise ValueError(
                f"{path}: expected spikes/{name} as rows of {what} of differing lengths, found dtype "
                f"{rows.dtype if entries is None else entries} of shape {rows.shape}"
            )
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(times) == len(units) == len(labels) > 0:
        raise ValueError(
            f"{path}: expected an integer label a recording, found {labels.dtype} of shape {labels.shape} "
            f"for {len(times)} rows of times and {len(units)} of units"
        )
    classes_found = labels[:].astype(np.int64)
    wrong = np.flatnonzero((classes_found < 0) | (classes_found >= classes))
    if wrong.size:
        raise ValueError(
            f"{path}: expected labels from 0 to {classes - 1}, found {classes_found[wrong[0]]} at recording "
            f"{wrong[0]}; set classes to the data set's number (SHD 20, SSC 35)"
        )
    return classes_found
