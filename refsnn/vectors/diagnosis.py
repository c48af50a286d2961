"""Why results differ: the mistakes that a kind knows, and where none explains it, patterns.

A known mistake is tried by being made: the reference is run with it, and what it gives is compared with what
came.  If they agree where the right answer does not, that is the diagnosis, with the equation it points to.
Where no single mistake explains all, pairs are tried.  What several mistakes give alike is said of all of
them, and the wrong cases of a run are read together: what one suggests others may contradict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from refsnn.vectors.case import Kind, Leaves, Mistake, Problem
from refsnn.vectors.grading import NOT_GRADED, CaseReport
from refsnn.vectors.making import relative_error
from refsnn.vectors.patterns import patterns

PAIRED = 2000  # numbers of a problem on which pairs of mistakes are tried
PAIRED_CASES = 3  # cases that no pair explains, after which pairs are no longer searched for
HANDFUL = 5  # explanations that are named, of those that explain alike
ALIKE, ALIKE_SINGLE = 1e-8, 1e-4  # relative: results that agree with a mistake
COARSE = {"rate", "loss"}  # numbers that mistakes share by chance, as they share whole numbers

Make = Callable[[Kind, Problem, Sequence[Mistake]], Leaves | None]
Several = tuple[Mistake, ...]


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


@dataclass
class _Tries:
    """What mistakes do to the wrong cases of one run, each tried once.

    A try is None where the mistakes do not apply or change nothing, False where they are made and it is not
    what came, else what they explain.
    """

    kind: Kind
    make: Make
    known: dict[tuple[str, tuple[str, ...]], Explanation | bool | None] = field(default_factory=dict)

    def of(self, report: CaseReport, mistakes: Several) -> Explanation | bool | None:
        case = report.vector.case
        key = case.name, tuple(mistake.name for mistake in mistakes)
        if key not in self.known:
            self.known[key] = _tried(report, mistakes, self.make(self.kind, case.problem, mistakes))
        return self.known[key]

    def singles(self, report: CaseReport) -> list[Explanation]:
        tried = (self.of(report, (mistake,)) for mistake in self.kind.mistakes)
        return [found for found in tried if isinstance(found, Explanation)]

    def whole(self, report: CaseReport, mistakes: Several) -> Explanation | None:
        found = self.of(report, mistakes)
        return found if isinstance(found, Explanation) and found.whole else None

    def solved(self, report: CaseReport, twos: Sequence[Several]) -> bool:
        """Whether something explains all of a case."""
        return any(found.whole for found in self.singles(report)) or any(
            self.whole(report, pair) for pair in twos
        )

    def pairs(self, report: CaseReport) -> list[Several]:
        """All that explain everything, where the problem is small."""
        if sum(array.size for array in report.vector.case.problem.inputs.values()) > PAIRED:
            return []
        return [pair for pair in combinations(self.kind.mistakes, 2) if self.whole(report, pair)]


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
    return diagnosed_together([report], kind, pairs)[0]


def diagnosed_together(reports: Sequence[CaseReport], kind: Kind, pairs: bool = True) -> list[CaseReport]:
    """Reports of one run with what explains them.

    Of what explains a case, that is named which no other wrong case contradicts, rather one mistake than
    two, rather what explains many cases than few.  A wrong case contradicts a mistake that makes a
    difference there, and explains nothing of it, neither alone nor with another, or a part of what others
    explain whole.

    Parameters
    ----------
    reports : sequence of CaseReport
        Of `grading.graded`.
    kind : Kind
        That of all of them.
    pairs : bool
        Whether to try two mistakes at once where one does not explain all.

    Returns
    -------
    list of CaseReport
        In their order; unchanged where no value differs.
    """
    wrong = [report for report in reports if any(grade.status == "differs" for grade in report.grades)]
    tries = _Tries(kind, made)
    twos = _pairs(wrong, tries) if pairs else []
    texts = {report.vector.case.name: _texts(report, wrong, twos, tries) for report in wrong}
    return [replace(report, diagnosis=texts.get(report.vector.case.name, ())) for report in reports]


def _pairs(wrong: Sequence[CaseReport], tries: _Tries) -> list[Several]:
    """Pairs that explain a case which no single mistake explains; a case searches where those known fail."""
    found: list[Several] = []
    failed = 0
    for report in wrong:
        if any(single.whole for single in tries.singles(report)) or failed == PAIRED_CASES:
            continue
        if not any(tries.whole(report, pair) for pair in found):
            new = tries.pairs(report)
            failed += not new
            found += new
    return found


def _texts(
    report: CaseReport, wrong: Sequence[CaseReport], twos: Sequence[Several], tries: _Tries
) -> tuple[str, ...]:
    """The explanations of the first rank as one text, then patterns if they leave something open."""
    single = tries.singles(report)
    candidates = [found for found in single if found.whole]
    candidates += [found for pair in twos if (found := tries.whole(report, pair))]
    ranks = [_rank(found, wrong, twos, tries) for found in candidates or single]
    texts, settled = [], False
    if ranks:
        first = [found for found, rank in zip(candidates or single, ranks, strict=True) if rank == min(ranks)]
        contradicted = min(ranks)[0]
        settled = bool(candidates) and not contradicted
        texts.append(_joined(first) + ("; other wrong cases contradict it" if contradicted else ""))
    if not settled:
        differ = [grade for grade in report.grades if grade.status == "differs"]
        where = f"{differ[0].path} [{differ[0].equation}]"
        texts.append(
            f"{'otherwise ' if texts else ''}no known mistake; the first leaf that differs is {where}"
        )
        texts += [f"{grade.path}: {pattern}" for grade in differ for pattern in patterns(report, grade)]
    return tuple(texts)


def _rank(
    found: Explanation, wrong: Sequence[CaseReport], twos: Sequence[Several], tries: _Tries
) -> tuple[bool, int, int, int]:
    """Contradicted or not, how many mistakes, leaves of a part, cases explained: the least is the best."""
    explained = against = 0
    wider = [pair for pair in twos if set(found.mistakes) < set(pair)]
    for report in wrong:
        tried = [tries.of(report, found.mistakes)]
        tried += [tries.of(report, (mistake,)) for mistake in found.mistakes]
        if any(isinstance(one, Explanation) and one.whole for one in tried):
            explained += 1
        elif all(one is None for one in tried) or any(tries.whole(report, pair) for pair in wider):
            continue
        elif any(isinstance(one, Explanation) for one in tried) and not tries.solved(report, twos):
            explained += not found.whole
        else:
            against += 1
    leaves = 0 if found.whole else len(found.leaves)
    contradicted = against > (0 if found.whole else explained)  # what explains a part is not all there is
    return contradicted, len(found.mistakes), -leaves, -explained


def _joined(alike: Sequence[Explanation]) -> str:
    """A handful of explanations, none of which is better than the others."""
    said = [found.text for found in alike[:HANDFUL]]
    more = len(alike) - len(said)
    return "; or ".join(said) + (f"; or {more} others that give the same" if more else "")


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
        All whole ones, if there are any; else those with the most leaves.
    """
    tries = _Tries(kind, make or made)
    single = tries.singles(report)
    if whole := [found for found in single if found.whole]:
        return whole
    twos = [tries.whole(report, pair) for pair in tries.pairs(report)] if pairs else []
    if twos:
        return [found for found in twos if found]
    most = max((len(found.leaves) for found in single), default=0)
    return [found for found in single if len(found.leaves) == most]


def _tried(report: CaseReport, mistakes: Several, wrong: Leaves | None) -> Explanation | bool | None:
    """What mistakes explain, given what they give; see `_Tries`."""
    if wrong is None:
        return None
    status = {grade.path: grade for grade in report.grades}
    explained: list[str] = []
    left_over = spoils = changes = False
    for path, leaf in report.vector.expected.items():
        if path not in report.found or path not in wrong or status[path].status == NOT_GRADED:
            continue
        found = np.asarray(report.found[path])
        if found.dtype.kind not in "fiubc":
            left_over = True
            continue
        single = found.dtype.kind in "fc" and found.dtype.itemsize < leaf.value.dtype.itemsize
        allowed = leaf.tolerance_float32 if single else leaf.tolerance
        near = max(ALIKE_SINGLE if single else ALIKE, allowed)
        error = relative_error(found, wrong[path])
        alike = error <= (near if leaf.tolerance else 0)
        changes = changes or not relative_error(wrong[path], leaf.value) <= allowed
        if status[path].bad:  # a mistake that changes next to nothing explains nothing
            alike = alike and error <= relative_error(found, leaf.value) / 10
            explained += [path] if alike else []
            left_over = left_over or not alike
        elif not alike:
            spoils = True  # what is right
    if spoils or not explained or (left_over and not any(_tells(report, path) for path in explained)):
        return False if changes else None
    return Explanation(mistakes, tuple(explained), not left_over)


def _tells(report: CaseReport, path: str) -> bool:
    """Whether a leaf alone is evidence: real numbers, not all zero, that are no coarse mean or sum."""
    coarse = not report.vector.expected[path].tolerance or COARSE & set(path.split("/"))
    return not coarse and bool(np.any(report.found[path]))


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
