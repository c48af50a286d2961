"""Why results differ: patterns that need no knowledge of the computation, and the mistakes a kind knows.

A known mistake is tried by being made: the reference is run with it, and what it gives is compared with what
came.  If they agree where the right answer does not, that is the diagnosis, with the equation it points to.
Where no single mistake explains all, pairs are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from refsnn.vectors.case import Kind, Leaves, Mistake, Problem
from refsnn.vectors.grading import CaseReport, Grade
from refsnn.vectors.making import relative_error

PAIRED = 2000  # numbers of a problem on which pairs of mistakes are tried
ALIKE, ALIKE_SINGLE = 1e-8, 1e-4  # relative: results that agree with a mistake

Make = Callable[[Kind, Problem, Sequence[Mistake]], Leaves | None]


@dataclass(frozen=True)
class Explanation:
    """What one mistake, or two, explain.

    Attributes
    ----------
    mistakes : tuple of Mistake
        Made together.
    leaves : tuple of str
        Bad leaves that are as the mistakes give them.
    whole : bool
        Whether no bad leaf is left over.
    """

    mistakes: tuple[Mistake, ...]
    leaves: tuple[str, ...]
    whole: bool

    @property
    def text(self) -> str:
        """In words, with the equations."""
        said = "; and ".join(f"{mistake.says} [{mistake.equation}]" for mistake in self.mistakes)
        return said if self.whole else f"{said}; explains {', '.join(self.leaves)} only"


def diagnosed(report: CaseReport, kind: Kind, pairs: bool = True) -> CaseReport:
    """The report with what explains it.

    Parameters
    ----------
    report : CaseReport
        Of `grading.graded`.
    kind : Kind
        That of the case.
    pairs : bool
        Whether to try two mistakes at once where one does not explain all.

    Returns
    -------
    CaseReport
        Unchanged if no value differs.
    """
    wrong = [grade for grade in report.grades if grade.status == "differs"]
    if not wrong:
        return report
    known = explanations(report, kind, pairs=pairs)
    texts = [explanation.text for explanation in known]
    if not any(explanation.whole for explanation in known):
        first = f"{wrong[0].path} [{wrong[0].equation}]"
        texts.append(
            f"{'no' if not known else 'otherwise no'} known mistake; the first leaf that differs is {first}"
        )
        texts += [f"{grade.path}: {pattern}" for grade in wrong for pattern in patterns(report, grade)]
    return replace(report, diagnosis=tuple(texts))


def explanations(
    report: CaseReport, kind: Kind, make: Make | None = None, pairs: bool = True
) -> list[Explanation]:
    """Known mistakes that give what came: single ones, else pairs, else those that explain a part.

    Parameters
    ----------
    report : CaseReport
        Of a case with bad leaves.
    kind : Kind
        Its kind.
    make : callable, optional
        Stands for `made`; one that remembers, where many results of one case are to be explained.
    pairs : bool
        Whether to try two mistakes at once.

    Returns
    -------
    list of Explanation
        Whole ones only, if there are any.
    """
    problem, make = report.vector.case.problem, make or made
    single = [
        found
        for mistake in kind.mistakes
        if (found := _tried(report, (mistake,), make(kind, problem, (mistake,))))
    ]
    if whole := [found for found in single if found.whole]:
        return whole
    size = sum(array.size for array in problem.inputs.values())
    twos = (
        found
        for pair in combinations(kind.mistakes if pairs and size <= PAIRED else (), 2)
        if (found := _tried(report, pair, make(kind, problem, pair))) and found.whole
    )
    if (pair := next(twos, None)) is not None:
        return [pair]
    return sorted(single, key=lambda found: -len(found.leaves))[:1]


def _tried(report: CaseReport, mistakes: tuple[Mistake, ...], wrong: Leaves | None) -> Explanation | None:
    if wrong is None:
        return None
    bad = {grade.path for grade in report.grades if grade.bad}
    explained: list[str] = []
    left_over = False
    for path, leaf in report.vector.expected.items():
        if path not in report.found or path not in wrong:
            continue
        found = np.asarray(report.found[path])
        if found.dtype.kind not in "fiubc":
            left_over = True
            continue
        single = found.dtype.kind in "fc" and found.dtype.itemsize < leaf.value.dtype.itemsize
        near = max(ALIKE_SINGLE, leaf.tolerance_float32) if single else max(ALIKE, leaf.tolerance)
        error = relative_error(found, wrong[path])
        alike = error <= (near if leaf.tolerance else 0)
        if path in bad:  # a mistake that changes next to nothing explains nothing
            alike = alike and error <= relative_error(found, leaf.value) / 10
            explained += [path] if alike else []
            left_over = left_over or not alike
        elif not alike:
            return None  # it would have spoiled what is right
    return Explanation(mistakes, tuple(explained), not left_over) if explained else None


def made(kind: Kind, problem: Problem, mistakes: Sequence[Mistake]) -> Leaves | None:
    """What the reference gives with mistakes made.

    Parameters
    ----------
    kind : Kind
        Whose reference.
    problem : Problem
        Of a case.
    mistakes : sequence of Mistake
        Made one after the other.

    Returns
    -------
    dict of str to ndarray, or None
        None where one of them does not apply to the problem.
    """
    changed: Problem | None = problem
    for mistake in mistakes:
        if mistake.changes is not None and changed is not None:
            changed = mistake.changes(changed)
    if changed is None:
        return None
    solve = kind.wrongly or (lambda given: kind.solve(given, "plain").leaves)
    with np.errstate(all="ignore"):
        leaves = solve(changed)
    for mistake in mistakes:
        if mistake.spoils is not None:
            leaves = mistake.spoils(problem, dict(leaves))
    return leaves


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
    if truth.dtype.kind == "f" and not single and relative_error(found, truth) < 1e-5:
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


def summary(reports: Sequence[CaseReport]) -> list[tuple[str, list[str]]]:
    """Diagnoses with the cases that each explains, the most frequent first.

    Parameters
    ----------
    reports : sequence of CaseReport
        Diagnosed.

    Returns
    -------
    list of (str, list of str)
    """
    cases: dict[str, list[str]] = {}
    for report in reports:
        for text in report.diagnosis:
            cases.setdefault(text, []).append(report.vector.case.name)
    return sorted(cases.items(), key=lambda entry: -len(entry[1]))
