"""What wrong numbers look like, whatever they are: patterns that need no knowledge of the computation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refsnn.vectors.grading import CaseReport, Grade
from refsnn.vectors.making import relative_error

SINGLE = 1e-6  # relative to the entry: numbers that were float32 on the way
FEW = 0.1  # share of the entries that cancellation makes less exact than that


def patterns(report: CaseReport, grade: Grade) -> Iterator[str]:
    """What a wrong leaf looks like, whatever it is.

    Parameters
    ----------
    report : CaseReport
        Of the case.
    grade : Grade
        Of the leaf; its values differ.

    Yields
    ------
    str
        In words.
    """
    with np.errstate(all="ignore"):  # numbers may be huge
        found = list(_patterns(report, grade))
    yield from found


def _patterns(report: CaseReport, grade: Grade) -> Iterator[str]:
    truth = np.asarray(report.vector.expected[grade.path].value)
    found = np.asarray(report.found[grade.path]).astype(truth.dtype)
    single = np.asarray(report.found[grade.path]).dtype.itemsize < truth.dtype.itemsize
    near = 1e-4 if single else 1e-7
    if not found.any():
        yield "all zero; nothing comes back here"
        return
    if truth.any() and found.dtype.kind != "c":
        factor = float((found * truth).sum() / (truth * truth).sum())
        named = _named_factor(report, factor)
        if (
            (truth.size > 1 or named)
            and abs(factor - 1) > near
            and relative_error(found, factor * truth) <= near * abs(factor)
        ):
            yield f"{factor:.6g} times what is expected{named}"
            return
    if truth.dtype.kind == "f" and not single and _as_in_single(found, truth):
        yield "right to single precision; somewhere on the way numbers are float32"
        return
    if truth.ndim and len(truth) > 2:
        for text, mine, theirs in (
            ("one step late", found[1:], truth[:-1]),
            ("one step early", found[:-1], truth[1:]),
            ("in reverse order", found, truth[::-1]),
        ):
            if relative_error(mine, theirs) <= near and theirs.any():
                yield f"{text} along the first axis"
                return
        steps = [t for t in range(len(truth)) if relative_error(found[t], truth[t]) > near]
        if len(steps) <= len(truth) // 2:
            shown = ", ".join(str(t) for t in steps[:6]) + (", ..." if len(steps) > 6 else "")
            yield f"right but for {len(steps)} of {len(truth)} entries along the first axis: {shown}"
    if truth.ndim == 2 and truth.shape[0] == truth.shape[1] and relative_error(found.T, truth) <= near:
        yield "transposed"


def _as_in_single(found: np.ndarray, truth: np.ndarray) -> bool:
    """Whether nearly all entries that differ do so by the rounding of float32, here and there in the leaf."""
    difference = np.abs(found - truth)
    differ = difference > 1e-10 * np.abs(truth)
    if not differ.any():
        return False
    near = difference[differ] <= SINGLE * np.abs(truth[differ])
    scattered = (
        all(len(set(where)) > 1 for where in np.nonzero(differ.squeeze())) if differ.size > 1 else True
    )
    return near.mean() >= 1 - FEW and scattered and relative_error(found, truth) < 1e-5


def _named_factor(report: CaseReport, factor: float) -> str:
    """Which length of the problem it is, if it is one."""
    if abs(factor + 1) < 1e-6:
        return ": the sign is wrong"
    for path, array in report.vector.case.problem.inputs.items():
        for axis, length in enumerate(np.shape(array)):
            for text, value in ((f"{length}", length), (f"1/{length}", 1 / max(length, 1))):
                if length > 1 and abs(factor / value - 1) < 1e-6:
                    length_of = f"the length of axis {axis} of inputs/{path}"
                    return f": {text}, {length_of} (a sum for a mean, or the reverse?)"
    return ""
