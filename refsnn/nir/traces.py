"""Recorded traces: what one neuron did on some platform, a line for each step: input, potential, spike."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_MOST_BYTES = 2**28
_GET = "get lif_norse.nir and the lif_*.csv of the NIR paper's repository (neuromorphs/NIR, paper/01_lif)"


@dataclass(frozen=True)
class Trace:
    """What a platform recorded.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    inputs, potential, spikes : ndarray, (T,)
        The three columns.
    stored : str
        "integer", "float32" or "float64": the shortest numbers that hold all potentials.
    """

    name: str
    inputs: np.ndarray
    potential: np.ndarray
    spikes: np.ndarray
    stored: str

    @property
    def spike_steps(self) -> tuple[int, ...]:
        """Steps with a spike, counted from 0."""
        return tuple(int(step) for step in np.flatnonzero(self.spikes))


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read a CSV file with the columns input, potential, spike and no header.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Trace

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        For a file that is too large, empty, or has lines that are not three finite numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "lif.csv")
    ...     _ = path.write_text("1,0.25,0\\n1,0.5,1\\n")
    ...     read_trace(path).spike_steps
    (1,)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a CSV file with a trace, found none of that name; {_GET}")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path}: expected at most {_MOST_BYTES} bytes, got {path.stat().st_size}")
    rows: list[tuple[float, float, float]] = []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for cells in csv.reader(file):
                rows.append(_row(cells))
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: line {len(rows) + 1}: expected three numbers (input, potential, spike): {error}"
        ) from None
    if not rows:
        raise ValueError(f"{path}: expected a line for each step, found an empty file")
    inputs, potential, spikes = np.array(rows).T
    stored = _stored(potential)
    if stored == "float32":  # as decimals some are a little off the float32 that they stand for
        potential = potential.astype(np.float32).astype(np.float64)
    return Trace(path.stem, inputs, potential, spikes, stored)


def _row(cells: list[str]) -> tuple[float, float, float]:
    if len(cells) != 3:
        raise ValueError(f"got {len(cells)} cells")
    first, second, third = (float(cell) for cell in cells)
    if not np.isfinite([first, second, third]).all():
        raise ValueError(f"got {cells}")
    if third < 0 or third != round(third):
        raise ValueError(f"got {third} spikes")
    return first, second, third


def _stored(potential: np.ndarray) -> str:
    """Which numbers hold all of them: as they are, or as the shortest decimals that a float32 prints as."""
    if (potential == np.rint(potential)).all():
        return "integer"
    single = potential.astype(np.float32)
    printed = np.array([float(str(value)) for value in single])
    return "float32" if ((single == potential) | (printed == potential)).all() else "float64"
