"""An implementation's results against the vectors: leaf by leaf, shapes and dtypes before values.

A leaf is right if max |found - expected| <= tolerance max |expected|, with the tolerance of the precision
that the result is in; a leaf of zeros takes 1 for the maximum.  Spikes and other whole numbers must be equal.
A case is right if every leaf was graded, and is right.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from refsnn.vectors.case import Leaves
from refsnn.vectors.format import Expected, Vector
from refsnn.vectors.making import relative_error

RIGHT, NOT_GRADED = "right", "not graded"


@dataclass(frozen=True)
class Grade:
    """Of one leaf.

    Attributes
    ----------
    path, equation : str
        Which, and where it is defined.
    status : str
        "right", "differs", "missing", "shape", "dtype", "not finite", or "not graded" (single precision where
        the case allows double precision only).
    error, tolerance : float
        Relative to the largest entry; NaN where nothing could be compared.
    says : str
        Where and how it differs.
    single : bool
        Whether it came in single precision, and was compared with that tolerance.
    """

    path: str
    equation: str
    status: str
    error: float = float("nan")
    tolerance: float = float("nan")
    says: str = ""
    single: bool = False

    @property
    def bad(self) -> bool:
        """Whether something is wrong with it."""
        return self.status not in (RIGHT, NOT_GRADED)


@dataclass(frozen=True)
class CaseReport:
    """Of one case: right, wrong, absent, not graded, or graded in part.

    Attributes
    ----------
    vector : Vector
        What was asked.
    found : dict of str to ndarray
        What came.
    grades : tuple of Grade
        One a leaf.
    unknown : tuple of str
        Leaves that came and were not asked for.
    diagnosis : tuple of str
        What explains the differences, the best explanation first.
    """

    vector: Vector
    found: Leaves
    grades: tuple[Grade, ...]
    unknown: tuple[str, ...]
    diagnosis: tuple[str, ...] = field(default=())

    @property
    def right(self) -> bool:
        """Whether every leaf was graded, and is right."""
        return all(grade.status == RIGHT for grade in self.grades)

    @property
    def wrong(self) -> bool:
        """Whether a leaf is bad."""
        return any(grade.bad for grade in self.grades)

    @property
    def not_graded(self) -> bool:
        """Whether no leaf could be graded: a case for double precision, all of it in single."""
        return all(grade.status == NOT_GRADED for grade in self.grades)

    @property
    def absent(self) -> bool:
        """Whether nothing came at all."""
        return all(grade.status == "missing" for grade in self.grades)


def graded(vector: Vector, found: Mapping[str, np.ndarray]) -> CaseReport:
    """Grade one case.

    Parameters
    ----------
    vector : Vector
        With its answers.
    found : dict of str to ndarray
        The implementation's leaves.

    Returns
    -------
    CaseReport
        Without a diagnosis.

    Raises
    ------
    ValueError
        For a vector of an inputs-only file.

    Examples
    --------
    >>> from refsnn.vectors.kinds import KINDS
    >>> from refsnn.vectors.making import vectors_of
    >>> vector = next(vectors_of(KINDS["spiking_neuron"]))
    >>> answers = {path: leaf.value for path, leaf in vector.expected.items()}
    >>> graded(vector, answers).right
    True
    >>> [g.path for g in graded(vector, answers | {"rate": answers["rate"] / 2}).grades if g.bad]
    ['rate']
    """
    if not vector.expected:
        raise ValueError(
            f"{vector.case.name}: expected a case with answers, got one of an inputs-only file; "
            "grade with its twin"
        )
    in_double_only = "float64-only" in vector.case.flags
    counted = in_double_only and _in_single(vector, found)
    grades = tuple(
        _grade(path, leaf, found.get(path), in_double_only, counted and not leaf.tolerance)
        for path, leaf in vector.expected.items()
    )
    unknown = tuple(sorted(set(found) - set(vector.expected)))
    return CaseReport(vector, dict(found), grades, unknown)


def _in_single(vector: Vector, found: Mapping[str, np.ndarray]) -> bool:
    """Whether all real and complex numbers came in single precision: spikes are of that precision then."""
    real = [
        np.asarray(found[path]) for path, leaf in vector.expected.items() if path in found and leaf.tolerance
    ]
    return bool(real) and all(array.dtype in (np.float32, np.complex64) for array in real)


def _grade(
    path: str, leaf: Expected, found: np.ndarray | None, in_double_only: bool, whole_in_single: bool
) -> Grade:
    """Of one leaf; `whole_in_single` for whole numbers that single precision has decided."""

    def bad(status: str, says: str) -> Grade:
        return Grade(path, leaf.equation, status, says=says)

    truth = leaf.value
    if found is None:
        return bad("missing", "nothing of that name among the results")
    found = np.asarray(found)
    kinds = {"c": "c"}.get(truth.dtype.kind, "f" if leaf.tolerance else "fiub")
    if found.dtype.kind not in kinds or found.dtype == np.float16:
        return bad("dtype", f"expected {_named(leaf)}, got {found.dtype}")
    if found.shape != truth.shape:
        return bad("shape", f"expected {truth.shape}, got {found.shape}{_arrangement(found, truth)}")
    if found.dtype.kind in "fc" and not np.isfinite(found).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        return bad(
            "not finite", f"{found[where]} at {where}, the first of {int((~np.isfinite(found)).sum())}"
        )
    single = found.dtype.kind in "fc" and found.dtype.itemsize < truth.dtype.itemsize
    if in_double_only and (single or whole_in_single):
        return Grade(
            path, leaf.equation, NOT_GRADED, says="in single precision; the case is for double precision only"
        )
    tolerance = leaf.tolerance_float32 if single else leaf.tolerance
    error = relative_error(found, truth)
    if error <= tolerance:
        return Grade(path, leaf.equation, RIGHT, error, tolerance, single=single)
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.abs(found.astype(truth.dtype) - truth)
    where = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), truth.shape))
    allowed = tolerance * (float(np.abs(truth).max()) or 1.0)
    share = f"{int((difference > allowed).sum())} of {truth.size} entries"
    says = f"{share}; the worst at {where}: expected {truth[where]:.10g}, got {found[where]:.10g}"
    return Grade(path, leaf.equation, "differs", error, tolerance, says, single)


def _named(leaf: Expected) -> str:
    if leaf.value.dtype.kind == "c":
        return "complex128 or complex64"
    return "float64 or float32" if leaf.tolerance else "numbers, whole or floating, or truth values"


def _arrangement(found: np.ndarray, truth: np.ndarray) -> str:
    """Whether the axes are only in another order."""
    from itertools import permutations

    if found.ndim == truth.ndim and sorted(found.shape) == sorted(truth.shape) and truth.ndim <= 5:
        for order in permutations(range(truth.ndim)):
            turned = np.transpose(found, order)
            if turned.shape == truth.shape and relative_error(turned, truth) <= 1e-4:
                return f": the axes are in another order, transpose({list(order)}) agrees"
    if found.size == truth.size and relative_error(found.reshape(truth.shape), truth) <= 1e-4:
        return ": the numbers agree, reshape it"
    return ""


def grade_all(
    vectors: Sequence[Vector], results: Mapping[str, Mapping[str, np.ndarray]], only: Sequence[str] = ("*",)
) -> list[CaseReport]:
    """Grade all cases that a pattern chooses.

    Parameters
    ----------
    vectors : sequence of Vector
        With answers.
    results : dict of str to dict of str to ndarray
        Leaves by the names of the cases.
    only : sequence of str
        Patterns of names such as ``random/*``.

    Returns
    -------
    list of CaseReport

    Raises
    ------
    ValueError
        If a pattern names no case, or results are there for no case.
    """
    for pattern in only:
        if not any(fnmatch.fnmatch(vector.case.name, pattern) for vector in vectors):
            raise ValueError(
                f"--only: expected a pattern of case names, got {pattern!r}, which names none; "
                "`refsnn vectors list KIND` shows them"
            )
    chosen = [v for v in vectors if any(fnmatch.fnmatch(v.case.name, pattern) for pattern in only)]
    if not any(vector.case.name in results for vector in chosen):
        found = f"those of {', '.join(sorted(results)[:3])}" if results else "none"
        raise ValueError(
            f"results: expected leaves under {chosen[0].case.name}/results or in another of the cases, found "
            f"{found}; name cases as the vectors do, and what an implementation gives `results`"
        )
    return [graded(vector, results.get(vector.case.name, {})) for vector in chosen]
