"""Golden vectors as HDF5: one file a kind, one group a case; see `docs/vectors.md` for the schema.

    /                       attributes  format, kind, made_by, inputs_only
    /CASE                   attributes  name, kind, purpose, flags, equations, asked, margin,
                                        verified_by, digest
    /CASE/hyperparameters   attributes  one each
    /CASE/inputs/PATH       data sets
    /CASE/expected/PATH     data sets; attributes equation, tolerance, tolerance_float32

The last is left out of an inputs-only file.  Files are written under a temporary name and moved into
place.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn.files import replacing
from refsnn.vectors.case import Case, Leaves, Problem

FORMAT = "2.1.0"  # major: the format changed; minor: more cases; patch: a case was wrong
LARGEST = 2**31  # bytes of one case that are read: a reader is not to be drowned


@dataclass(frozen=True)
class Expected:
    """One leaf that must come out.

    Attributes
    ----------
    value : ndarray
        float64, complex128, or whole numbers.
    equation : str
        Where it is defined.
    tolerance, tolerance_float32 : float
        Relative to the largest entry; of results in double and in single precision.
    """

    value: np.ndarray
    equation: str
    tolerance: float
    tolerance_float32: float


@dataclass(frozen=True)
class Vector:
    """A case with its answers.

    Attributes
    ----------
    kind : str
        Whose case it is.
    case : Case
        Name, purpose, flags, problem.
    expected : dict of str to Expected
        Empty in an inputs-only file.
    margin : float
        Smallest distance to a decision that could go the other way.
    verified_by : str
        The oracle that agreed with it.
    asked : tuple of str
        The leaves that must come out, also in an inputs-only file.
    """

    kind: str
    case: Case
    expected: Mapping[str, Expected]
    margin: float
    verified_by: str
    asked: tuple[str, ...]


def write_file(
    path: str | os.PathLike[str], kind: str, vectors: Iterable[Vector], inputs_only: bool = False
) -> Path:
    """Write the cases of one kind; the old file stays until the new one is whole.

    Parameters
    ----------
    path : path-like
        Of the file, in an existing folder.
    kind : str
        Of all of them.
    vectors : iterable of Vector
        Cases.
    inputs_only : bool
        Leave out what must come out.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in an existing folder, got {path}; create it first")
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": FORMAT, "kind": kind, "made_by": "refsnn", "inputs_only": inputs_only})
        for vector in vectors:
            _write_vector(file.create_group(vector.case.name), vector, inputs_only)
    return path


def _write_vector(group: h5py.Group, vector: Vector, inputs_only: bool) -> None:
    case = vector.case
    equations = sorted({leaf.equation for leaf in vector.expected.values()})
    group.attrs["name"], group.attrs["kind"], group.attrs["purpose"] = case.name, vector.kind, case.purpose
    _put_list(group, "flags", case.flags)
    _put_list(group, "equations", equations)
    _put_list(group, "asked", vector.asked)
    group.attrs["margin"], group.attrs["verified_by"] = vector.margin, vector.verified_by
    constants = group.create_group("hyperparameters")
    for name, value in case.problem.hyperparameters.items():
        constants.attrs[name] = value
    for name, array in case.problem.inputs.items():
        group.create_dataset(f"inputs/{name}", data=array)
    if not inputs_only:
        for name, leaf in vector.expected.items():
            stored = group.create_dataset(f"expected/{name}", data=leaf.value)
            stored.attrs["equation"] = leaf.equation
            stored.attrs["tolerance"], stored.attrs["tolerance_float32"] = (
                leaf.tolerance,
                leaf.tolerance_float32,
            )
    group.attrs["digest"] = digest(group)


def _put_list(group: h5py.Group, name: str, texts: Iterable[str]) -> None:
    group.attrs.create(name, data=list(texts), dtype=h5py.string_dtype())


def digest(group: h5py.Group) -> str:
    """SHA-256 of all that a group holds, its own digest left out: names, attributes, numbers.

    Parameters
    ----------
    group : h5py.Group
        A case.

    Returns
    -------
    str
        Hexadecimal.
    """
    found = hashlib.sha256()

    def add(name: str, entry: h5py.Group | h5py.Dataset) -> None:
        found.update(name.encode())
        for key in sorted(entry.attrs):
            if key != "digest":
                value = np.asarray(entry.attrs[key])
                found.update(key.encode() + repr(value.tolist()).encode())
        if isinstance(entry, h5py.Dataset):
            array = np.ascontiguousarray(entry[()])
            found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())

    add("", group)
    group.visititems(add)
    return found.hexdigest()


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """An HDF5 file of vectors or results, whose version this code can read.

    Parameters
    ----------
    path : path-like
        Of the file.

    Yields
    ------
    h5py.File

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        For a file that is broken, no HDF5, or of another version of the format.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: expected an HDF5 file, got a folder; results come first, then vectors")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected an HDF5 file, found none of that name")
    try:
        with h5py.File(path, "r") as file:
            check_format(str(path), file.attrs.get("format"))
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path}: expected a whole HDF5 file, found it broken or of another kind ({error}); "
            "fetch or write it again"
        ) from None


def check_format(label: str, found: Any) -> None:
    """Refuse another major version.

    Parameters
    ----------
    label : str
        Of the file.
    found : Any
        Its attribute ``format``.

    Raises
    ------
    ValueError
        If it is none, or another major version.
    """
    if not isinstance(found, str) or not found.split(".")[0].isdigit():
        raise ValueError(
            f"{label}: expected the attribute 'format', such as {FORMAT!r}, at the root, got {found!r}; "
            "copy it from the file of vectors"
        )
    if found.split(".")[0] != FORMAT.split(".")[0]:
        raise ValueError(
            f"{label}: expected format {FORMAT.split('.')[0]}.x, got {found}; use vectors, results and "
            "refsnn of one major version"
        )


def read_file(path: str | os.PathLike[str]) -> list[Vector]:
    """All cases of a file, each checked against its digest.

    Parameters
    ----------
    path : path-like
        Of `write_file`.

    Returns
    -------
    list of Vector

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        For a broken file, another version, or a case that was changed.
    """
    with opened(path) as file:
        names = [str(name) for name in case_names(file)]
        if not names:
            raise ValueError(f"{path}: expected cases, found none; fetch the file again")
        return [_read_vector(f"{path}: {name}", file[name]) for name in names]


def case_names(file: h5py.File) -> list[str]:
    """Paths of the groups that are cases.

    Parameters
    ----------
    file : h5py.File
        Of vectors.

    Returns
    -------
    list of str
    """
    names: list[str] = []
    file.visititems(lambda name, entry: names.append(name) if "digest" in entry.attrs else None)
    return names


def _read_vector(label: str, group: h5py.Group) -> Vector:
    size = 0

    def count(name: str, entry: h5py.Group | h5py.Dataset) -> None:
        nonlocal size
        if isinstance(entry, h5py.Dataset):
            if entry.shape is None:
                raise ValueError(
                    f"{group.file.filename}: {group.name}/{name}: expected an array, found a data set "
                    "without a shape (null); fetch or make the file again"
                )
            size += entry.size * entry.dtype.itemsize

    group.visititems(count)
    if size > LARGEST:
        raise ValueError(
            f"{label}: expected at most {LARGEST} bytes, the file declares {size}; it is no file of vectors"
        )
    if digest(group) != group.attrs["digest"]:
        raise ValueError(
            f"{label}: expected the contents of the digest, found others; the case was changed, "
            "fetch it again"
        )
    name = str(group.attrs["name"])
    if group.name != f"/{name}":
        raise ValueError(f"{label}: expected the case {name!r} under that name, found it as {group.name}")
    case = Case(
        name,
        str(group.attrs["purpose"]),
        tuple(str(flag) for flag in group.attrs["flags"]),
        Problem(_hyperparameters(group["hyperparameters"]), leaves_of(group.get("inputs"))),
    )
    expected = {}
    asked = tuple(str(path) for path in group.attrs["asked"])
    leaves = leaves_of(group.get("expected"))
    for path, array in sorted(leaves.items(), key=lambda leaf: asked.index(leaf[0])):
        attrs = group[f"expected/{path}"].attrs
        expected[path] = Expected(
            array, str(attrs["equation"]), float(attrs["tolerance"]), float(attrs["tolerance_float32"])
        )
    return Vector(
        str(group.attrs["kind"]),
        case,
        expected,
        float(group.attrs["margin"]),
        str(group.attrs["verified_by"]),
        asked,
    )


def _hyperparameters(group: h5py.Group) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value

    return {str(name): plain(value) for name, value in group.attrs.items()}


def leaves_of(group: h5py.Group | None) -> Leaves:
    """All data sets under a group, by their paths.

    Parameters
    ----------
    group : h5py.Group or None
        None holds nothing.

    Returns
    -------
    dict of str to ndarray
    """
    found: Leaves = {}
    if group is not None:

        def add(name: str, entry: h5py.Group | h5py.Dataset) -> None:
            if isinstance(entry, h5py.Dataset):
                found[name] = entry[()]

        group.visititems(add)
    return found
