"""Results of an implementation: an HDF5 file, or a folder of `.npy` files for languages without HDF5.

HDF5      attribute format at the root; data sets /CASE/results/PATH
folder    vectors.json as `refsnn vectors export` wrote it; files CASE/results/PATH.npy
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import h5py
import numpy as np

from refsnn.files import plain, replacing, write_whole
from refsnn.vectors.case import Leaves
from refsnn.vectors.format import FORMAT, LARGEST, Vector, check_format, opened

ROOM = "results"
INDEX = "vectors.json"
DEEPEST = 50  # groups in groups

Above = tuple[h5py.h5g.GroupID, ...]


def read_results(path: str | os.PathLike[str], vectors: Sequence[Vector]) -> dict[str, Leaves]:
    """What came, for the cases that were asked.

    Parameters
    ----------
    path : path-like
        An HDF5 file, or a folder.
    vectors : sequence of Vector
        The cases; the leaves of others are not read.

    Returns
    -------
    dict of str to dict of str to ndarray
        Leaves by case; a case of which nothing came is left out, one that is not among `vectors` is there
        without leaves.  In the place of what is no array of numbers stands an empty array of its dtype.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it is broken, of another version, far larger than what was asked, or refers to other files.
    """
    path = Path(path)
    return _from_folder(path, vectors) if path.is_dir() else _from_hdf5(path, vectors)


def _from_hdf5(path: Path, vectors: Sequence[Vector]) -> dict[str, Leaves]:
    found: dict[str, Leaves] = {}
    with opened(path) as file:
        _check_kind(str(path), file.attrs.get("kind"), vectors)
        asked = {vector.case.name for vector in vectors}
        for case, group in _rooms(f"{path}: ", "", file, ()):
            label = f"{path}: {case}/{ROOM}/"
            sets = _data_sets(label, "", group, ()) if case in asked else ()
            found[case] = {leaf: _read(f"{label}{leaf}", entry) for leaf, entry in sets}
    return found


def _rooms(label: str, case: str, group: h5py.Group, above: Above) -> Iterator[tuple[str, h5py.Group]]:
    """Groups called results, by the names of their cases."""
    for name, entry in _members(label, group, above):
        if isinstance(entry, h5py.Group):
            if case and name == ROOM:
                yield case, entry
            else:
                path = f"{case}/{name}" if case else name
                yield from _rooms(f"{label}{name}/", path, entry, (*above, group.id))


def _data_sets(
    label: str, prefix: str, group: h5py.Group, above: Above
) -> Iterator[tuple[str, h5py.Dataset]]:
    for name, entry in _members(label, group, above):
        if isinstance(entry, h5py.Group):
            yield from _data_sets(f"{label}{name}/", f"{prefix}{name}/", entry, (*above, group.id))
        elif isinstance(entry, h5py.Dataset):
            yield f"{prefix}{name}", entry


def _members(label: str, group: h5py.Group, above: Above) -> Iterator[tuple[str, Any]]:
    """What a group holds by its names: one thing may have several, `visititems` would give one of them."""
    if group.id in above or len(above) > DEEPEST:
        raise ValueError(
            f"{label}: expected groups in groups, found one that holds itself; write the file again"
        )
    for name in group:
        try:
            link = group.get(name, getlink=True)
        except TypeError:  # of a sort that h5py does not know
            link = None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(
                f"{label}{name}: expected a group or a data set, found a soft or external link; write the "
                "numbers themselves"
            )
        yield name, group[name]


def _read(label: str, entry: h5py.Dataset) -> np.ndarray:
    if entry.shape is None:
        raise ValueError(f"{label}: expected an array, found a data set without a shape (null); leave it out")
    if entry.is_virtual or entry.external:
        raise ValueError(
            f"{label}: expected numbers in this file, found a data set whose numbers are in another"
        )
    _check_size(label, entry.size * entry.dtype.itemsize)
    return entry[()] if _is_number(entry.dtype) else np.empty(0, entry.dtype)


def _is_number(dtype: np.dtype) -> bool:
    return dtype.kind in "fiubc"


def _from_folder(path: Path, vectors: Sequence[Vector]) -> dict[str, Leaves]:
    index = path / INDEX
    if not index.is_file():
        raise FileNotFoundError(f"{index}: expected the file that `refsnn vectors export` wrote, found none")
    try:
        entry = json.loads(index.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{index}: expected JSON, found it broken ({error}); export the vectors again"
        ) from None
    check_format(str(index), entry.get("format") if isinstance(entry, dict) else None)
    _check_kind(str(index), entry.get("kind"), vectors)
    asked = {vector.case.name for vector in vectors}
    return {
        case: dict(_files(room, "", ())) if case in asked else {}
        for case, room in _room_folders(path, "", ())
    }


def _room_folders(folder: Path, case: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Folders called results, by the names of their cases; links to folders are followed."""
    for entry in _entries(folder, above):
        if entry.is_dir():
            if case and entry.name == ROOM:
                yield case, entry
            else:
                path = f"{case}/{entry.name}" if case else entry.name
                yield from _room_folders(entry, path, (*above, folder.resolve()))


def _files(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for entry in _entries(folder, above):
        if entry.suffix == ".npy":
            yield f"{prefix}{entry.stem}", _load(entry)
        elif entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/", (*above, folder.resolve()))


def _entries(folder: Path, above: tuple[Path, ...]) -> list[Path]:
    if folder.resolve() in above:
        raise ValueError(
            f"{folder}: expected folders in folders, found a link to one that holds it; remove it"
        )
    return sorted(folder.iterdir())


def _check_kind(label: str, kind: Any, vectors: Sequence[Vector]) -> None:
    """Where results say of which kind they are."""
    if kind is not None and kind != vectors[0].kind:
        raise ValueError(f"{label}: expected results of the kind {vectors[0].kind!r}, got {kind!r}")


def _load(path: Path) -> np.ndarray:
    if not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path}: expected a regular file, found a folder, a link to nothing or a pipe")
    size = path.stat().st_size
    _check_size(str(path), size)
    try:
        with open(path, "rb") as stream:
            _check_header(stream, size)
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, TypeError, SyntaxError, TokenError, EOFError, OSError, OverflowError) as error:
        raise ValueError(
            f"{path}: expected a whole .npy file, found it broken ({error}); write it again"
        ) from None
    return array if _is_number(array.dtype) else np.empty(0, array.dtype)


def _check_header(stream: BinaryIO, size: int) -> None:
    """Refuse a shape of more numbers than the file holds, before there is room made for them."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    declared, left = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if not dtype.hasobject and (min(shape, default=0) < 0 or declared > left):
        raise ValueError(f"the shape {shape} asks for {declared} bytes, it holds {left}")
    stream.seek(0)


def _check_size(label: str, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"{label}: expected at most {LARGEST} bytes, got {size}; no case asks for so many")


def write_results(
    path: str | os.PathLike[str], results: Mapping[str, Mapping[str, np.ndarray]], implementation: str = ""
) -> Path:
    """Write results as HDF5, as `read_results` and the page on vectors have them.

    Parameters
    ----------
    path : path-like
        Of the file, in an existing folder.
    results : dict of str to dict of str to ndarray
        Leaves by case.
    implementation : str
        Name and version of what gave them.

    Returns
    -------
    Path
    """
    path = Path(path)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"], file.attrs["implementation"] = FORMAT, implementation
        for case, leaves in results.items():
            for leaf, value in leaves.items():
                file.create_dataset(f"{case}/{ROOM}/{leaf}", data=value)
    return path


def export(folder: str | os.PathLike[str], vectors: Sequence[Vector]) -> Path:
    """Write the inputs of cases as `.npy` files, their hyper-parameters as text: nothing of the answers.

    Parameters
    ----------
    folder : path-like
        A new or empty folder, or one with an export of the same kind.  What is written: ``cases.txt``, a
        name a line; ``CASE/hyperparameters.txt``, a line ``name = value`` each, truth values as 0 and 1;
        ``CASE/inputs/PATH.npy``; all but the arrays in ``vectors.json``.
    vectors : sequence of Vector
        Cases of one kind.

    Returns
    -------
    Path
        Of the index, `vectors.json`.

    Raises
    ------
    ValueError
        If other things are in the folder.
    """
    folder = Path(folder)
    _check_free(folder, vectors[0].kind)
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for vector in vectors:
        problem = vector.case.problem
        for path, array in problem.inputs.items():
            file = folder / vector.case.name / "inputs" / f"{path}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, array, allow_pickle=False)
        constants = "".join(f"{name} = {_text(value)}\n" for name, value in problem.hyperparameters.items())
        write_whole(folder / vector.case.name / "hyperparameters.txt", constants)
        cases.append(
            {
                "name": vector.case.name,
                "purpose": vector.case.purpose,
                "flags": vector.case.flags,
                "hyperparameters": problem.hyperparameters,
                "inputs": {path: list(array.shape) for path, array in problem.inputs.items()},
                "asked": vector.asked,
            }
        )
    index = {"format": FORMAT, "kind": vectors[0].kind, "cases": cases}
    write_whole(folder / "cases.txt", "".join(f"{vector.case.name}\n" for vector in vectors))
    return write_whole(folder / INDEX, json.dumps(plain(index), indent=1) + "\n")


def _check_free(folder: Path, kind: str) -> None:
    """An export beside that of another kind, or among other things, would be graded with them."""
    index = folder / INDEX
    if index.is_file() and json.loads(index.read_text(encoding="utf-8")).get("kind") == kind:
        return
    if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise ValueError(f"folder: expected a new or an empty one, got {folder}, which holds other things")


def _text(value: Any) -> str:
    """A number with all its digits, a text on one line."""
    if isinstance(value, (bool, int)):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return " ".join(_text(entry) for entry in value)
    return repr(value) if isinstance(value, float) else str(value).replace("\n", " ")
