"""Arrays for a network from a file: inputs, targets and, where they are given, parameters; npz or HDF5.

    inputs              (T, B, ...)    float32 or float64, what each step sees
    targets             (B,)           integer labels, or (B, classes) real targets, as the loss needs them
    parameters/<name>                  one array a parameter, named as `graph.parameter_shapes()` says

In HDF5 these are data sets, the last in a group; in npz they are the names of the arrays.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from refsnn import checks

_ROOM = "parameters/"
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_AGAIN = "write it again with numpy.savez or h5py"


@dataclass(frozen=True)
class Arrays:
    """What a file of arrays holds.

    Attributes
    ----------
    inputs : ndarray, (T, B, ...)
        Finite.
    targets : ndarray, (B, ...)
        Labels or real targets.
    parameters : dict of str to ndarray or None
        None where the file has none.
    """

    inputs: np.ndarray
    targets: np.ndarray
    parameters: dict[str, np.ndarray] | None


def load_arrays(path: str | os.PathLike[str]) -> Arrays:
    """Read inputs, targets and parameters; what kind of file it is is told by its first bytes.

    Parameters
    ----------
    path : path-like
        An npz or HDF5 file.

    Returns
    -------
    Arrays
        Names and numbers are checked; whether shapes fit a network is for `SpikingGraph.check`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        For another kind of file, a broken one, missing or unknown names, wrong dtypes, NaN and infinity.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/arrays.npz"
    ...     np.savez(path, inputs=np.zeros((5, 2, 4)), targets=np.array([0, 1]))
    ...     load_arrays(path).inputs.shape
    (5, 2, 4)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of arrays, found none of that name")
    with open(path, "rb") as file:
        beginning = file.read(8)
    if beginning.startswith(_ZIP):
        arrays = _from_npz(path)
    elif beginning == _HDF5:
        arrays = _from_hdf5(path)
    else:
        raise ValueError(
            f"{path}: expected npz or HDF5, found a file that begins with "
            f"{beginning[:4].hex(' ') or 'nothing'}; {_AGAIN}"
        )
    return _sorted(path, arrays)


def _sorted(path: Path, arrays: dict[str, np.ndarray]) -> Arrays:
    """Each array in its place."""
    parameters = {name[len(_ROOM) :]: value for name, value in arrays.items() if name.startswith(_ROOM)}
    missing = [name for name in ("inputs", "targets") if name not in arrays]
    unknown = [name for name in arrays if name not in ("inputs", "targets") and not name.startswith(_ROOM)]
    if missing or unknown:
        raise ValueError(
            f"{path}: expected 'inputs', 'targets' and perhaps 'parameters/<name>'; missing {missing}, "
            f"unknown {unknown}"
        )
    inputs = arrays["inputs"]
    if inputs.ndim < 3:
        raise ValueError(f"{path}: inputs: expected shape (T, B, ...), got {inputs.shape}")
    inputs = checks.float_array(f"{path}: inputs", inputs, ("T", "B", *("N" for _ in inputs.shape[2:])))
    targets = arrays["targets"]
    if targets.dtype.kind not in "iu":
        targets = checks.float_array(f"{path}: targets", targets)
    for name, value in parameters.items():
        checks.float_array(f"{path}: {_ROOM}{name}", value)
    return Arrays(inputs, targets, parameters or None)


def _from_npz(path: Path) -> dict[str, np.ndarray]:
    # NumPy does not close what it opened itself if it finds it broken
    with _whole(path, "npz"), open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        found = {}
        for name in file.files:
            try:
                found[name] = file[name]
            except ValueError as error:
                if "Object arrays" not in str(error):
                    raise
                objects = name
                break
        else:
            return found
    raise TypeError(
        f"{path}: {objects}: expected an array of numbers, got an object array (of lists of unequal lengths, "
        "or of None); make it a rectangular array of one dtype before it is saved"
    )


def _from_hdf5(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def visit(name: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset):
            found[name] = np.asarray(entry[()])

    with _whole(path, "HDF5"), h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Say which file is broken, in whatever words its reader has."""
    try:
        yield
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole {kind} file, found it broken: {error}; {_AGAIN}"
        ) from None
