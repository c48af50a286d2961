"""From kinds to files: every case is solved, held against its oracle, and written with its tolerances.

data/vectors/KIND.h5            cases with their answers
data/vectors/KIND.inputs.h5     the same without answers, for grading blind
data/vectors/manifest.json      SHA-256 of each file, the names of the cases, what the flags mean
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from refsnn.files import check_folder, write_whole
from refsnn.vectors.case import FLAGS, Case, Kind, Leaves
from refsnn.vectors.format import FORMAT, Expected, Vector, write_file

MANIFEST = "manifest.json"
SINGLE = 1e-5  # relative tolerance of results in single precision, where they are no less exact by themselves
HOPELESS = 1e-2  # a leaf that is less exact in single precision says nothing


def built(kind: Kind, case: Case) -> Vector:
    """A case with its answers, after its oracle has agreed.

    Parameters
    ----------
    kind : Kind
        What solves it.
    case : Case
        What is to be solved, in float64.

    Returns
    -------
    Vector

    Raises
    ------
    ArithmeticError
        If solution and oracle disagree, or a leaf is not finite.

    Examples
    --------
    >>> from refsnn.vectors.kinds import KINDS
    >>> kind = KINDS["spiking_neuron"]
    >>> built(kind, next(kind.cases(False))).verified_by
    'affine spikes'
    """
    found = kind.solve(case.problem, "plain")
    verify(kind, case, found.leaves)
    single = _in_single_precision(kind, case)
    errors = {path: relative_error(single[path], value) for path, value in found.leaves.items()}
    flags = case.flags
    if any(error > (HOPELESS if kind.leaf(path).tolerance else 0) for path, error in errors.items()):
        flags += ("float64-only",)
    expected = {
        path: Expected(
            value,
            kind.leaf(path).equation,
            kind.leaf(path).tolerance,
            _rounded_up(max(SINGLE, 8 * errors[path])) if kind.leaf(path).tolerance else 0.0,
        )
        for path, value in found.leaves.items()
    }
    final = Case(case.name, case.purpose, flags, case.problem)
    return Vector(kind.name, final, expected, found.margin, kind.oracle, tuple(expected))


def verify(kind: Kind, case: Case, leaves: Leaves) -> None:
    """Hold a solution against the kind's oracle, leaf by leaf.

    Parameters
    ----------
    kind : Kind
        Whose oracle.
    case : Case
        The problem.
    leaves : dict of str to ndarray
        Of `Kind.solve`.

    Raises
    ------
    ArithmeticError
        If a leaf is not finite, unknown flags are set, or the oracle says something else or nothing.
    """
    label = f"{kind.name}/{case.name}"
    if unknown := set(case.flags) - set(FLAGS):
        raise ArithmeticError(f"{label}: unknown flags {sorted(unknown)}")
    for path, value in leaves.items():
        kind.leaf(path)
        if not np.isfinite(value).all():
            raise ArithmeticError(f"{label}: {path} is not finite")
    truth = kind.truth(case.problem)
    gradients = {path for path in leaves if path.startswith("gradients/")}
    if not truth or gradients - set(truth):
        raise ArithmeticError(
            f"{label}: the oracle says nothing of {sorted(gradients - set(truth)) or 'anything'}"
        )
    if unasked := set(truth) - set(leaves):
        raise ArithmeticError(f"{label}: the oracle speaks of {sorted(unasked)}, the solution does not")
    for path, value in truth.items():
        error = relative_error(leaves[path], value)
        if not error <= kind.agreement:
            raise ArithmeticError(
                f"{label}: {path} differs from the oracle ({kind.oracle}) by {error:.1e}, relative"
            )


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest difference, relative to the largest entry; infinity for another shape.

    Parameters
    ----------
    found, truth : ndarray
        Of one shape.

    Returns
    -------
    float
        0 where both are 0, or have no entries.

    Examples
    --------
    >>> relative_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    0.5
    """
    found, truth = np.asarray(found), np.asarray(truth)
    if found.shape != truth.shape:
        return float("inf")
    if truth.size == 0:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        difference = float(
            np.abs(np.subtract(found, truth, dtype=np.result_type(found, truth, np.float64))).max()
        )
    if difference == 0:
        return 0.0
    return difference / (float(np.abs(truth).max()) or 1.0)


def _in_single_precision(kind: Kind, case: Case) -> Leaves:
    with np.errstate(all="ignore"):
        return kind.solve(case.problem.cast(np.float32), "plain").leaves


def _rounded_up(value: float) -> float:
    """To one digit of 1, 2, 5: a tolerance that a table can show, and that rounding does not move."""
    decade = 10.0 ** np.floor(np.log10(value))
    return float(next(step * decade for step in (1, 2, 5, 10) if step * decade >= value * (1 - 1e-9)))


def vectors_of(kind: Kind, large: bool = False) -> Iterator[Vector]:
    """All cases of a kind with their answers.

    Parameters
    ----------
    kind : Kind
        Which.
    large : bool
        The large set, not the one in the repository.

    Yields
    ------
    Vector
    """
    for case in kind.cases(large):
        yield built(kind, case)


def make(
    folder: str | os.PathLike[str],
    kinds: Iterable[Kind],
    large: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write all files of some kinds, and the manifest.

    Parameters
    ----------
    folder : path-like
        An existing folder.
    kinds : iterable of Kind
        What to write; the manifest keeps its entries of other kinds.
    large : bool
        The large set.
    tell : callable
        Told what is being written.

    Returns
    -------
    Path
        Of the manifest.

    Raises
    ------
    ValueError
        If there is no such folder, or a manifest of another format in it.
    ArithmeticError
        If a case and its oracle disagree: nothing of that kind is written.
    """
    folder = Path(folder)
    check_folder("folder", folder)
    files = _entries(folder)
    for kind in kinds:
        tell(kind.name)
        vectors = list(vectors_of(kind, large))
        names = [vector.case.name for vector in vectors]
        if len(set(names)) < len(names):
            raise ArithmeticError(f"{kind.name}: two cases have one name")
        for inputs_only in (False, True):
            path = write_file(folder / file_name(kind.name, inputs_only), kind.name, vectors, inputs_only)
            files[path.name] = {"sha256": sha256(path), "kind": kind.name, "cases": names}
    manifest = {"format": FORMAT, "files": dict(sorted(files.items())), "flags": FLAGS}
    return write_whole(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def _entries(folder: Path) -> dict[str, dict[str, object]]:
    """What the manifest says of files that are there."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if str(manifest.get("format", "")).split(".")[0] != FORMAT.split(".")[0]:
        raise ValueError(
            f"{path}: expected format {FORMAT}, got {manifest.get('format')!r}; write into another folder"
        )
    return {name: entry for name, entry in manifest["files"].items() if (folder / name).exists()}


def file_name(kind: str, inputs_only: bool = False) -> str:
    """Of a kind's file.

    Parameters
    ----------
    kind : str
        Its name.
    inputs_only : bool
        The twin without answers.

    Returns
    -------
    str

    Examples
    --------
    >>> file_name("spiking_neuron", inputs_only=True)
    'spiking_neuron.inputs.h5'
    """
    return f"{kind}.inputs.h5" if inputs_only else f"{kind}.h5"


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file.

    Parameters
    ----------
    path : path-like
        Any file.

    Returns
    -------
    str
        Hexadecimal digest.
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
