"""Run vectors through a framework, and tell the differences that are known from those that are new."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, Run, versions, warnings
from refsnn.crosscheck.conventions.measuring import ConventionOutcome
from refsnn.crosscheck.known import Known, known_of
from refsnn.crosscheck.rules import RULES
from refsnn.vectors.case import Leaves, Problem
from refsnn.vectors.diagnosis import diagnosed
from refsnn.vectors.format import Vector
from refsnn.vectors.grading import NOT_GRADED, CaseReport, Grade, graded
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.making import vectors_of

SHORT = 100  # steps of a case on which all rules are tried: the work grows with their square
RIGHT, KNOWN, NEW, REFUSED, BROKEN = "right", "known", "differs", "not expressible", "error"
STATUSES = (RIGHT, KNOWN, REFUSED, NOT_GRADED, NEW, BROKEN)


@dataclass(frozen=True)
class Outcome:
    """Of one case.

    Attributes
    ----------
    name : str
        Of the case.
    status : str
        "right", "known" (wrong as the file of known differences says), "differs", "not expressible",
        "not graded" (single precision in a case for double precision only), or "error" (the framework raised
        something, or ended the program).
    says : str
        The reason of a refusal, the error, or that of a known difference.
    report : CaseReport or None
        Its grades, with a diagnosis where it differs; None where nothing came.
    new : tuple of Grade
        Bad leaves that no known difference covers.
    known : tuple of Known
        Differences that explain what came, also where more is new.
    altered : tuple of str
        What the framework changed in place of the problem that it was given.
    """

    name: str
    status: str
    says: str = ""
    report: CaseReport | None = None
    new: tuple[Grade, ...] = ()
    known: tuple[Known, ...] = ()
    altered: tuple[str, ...] = ()

    @property
    def single(self) -> tuple[str, ...]:
        """Leaves that came in single precision; spikes are not counted, which are exact in both."""
        grades = self.report.grades if self.report else ()
        return tuple(g.path for g in grades if g.status == NOT_GRADED or (g.single and g.tolerance > 0))


@dataclass(frozen=True)
class Crosscheck:
    """Of one framework.

    Attributes
    ----------
    name, title, kind : str
        Of the adapter.
    versions : dict of str to str
        By distribution.
    warnings : tuple of str
        Of untested versions.
    outcomes : tuple of Outcome
        One a case.
    gone : tuple of (Known, str)
        Known differences with a case that is right now.
    unmatched : tuple of Known
        Known differences that name no case or no leaf.
    conventions : tuple of ConventionOutcome
        What was measured of the framework's own neurons.
    elsewhere : tuple of (Known, str)
        Known differences with a case that they explain, of which the file does not say that they were seen in
        the installed version.
    """

    name: str
    title: str
    kind: str
    versions: Mapping[str, str]
    warnings: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    gone: tuple[tuple[Known, str], ...] = ()
    unmatched: tuple[Known, ...] = ()
    conventions: tuple[ConventionOutcome, ...] = field(default=())
    elsewhere: tuple[tuple[Known, str], ...] = ()

    def count(self, status: str) -> int:
        """Cases of a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def compared(self) -> int:
        """Cases of which something came that could be graded."""
        return sum(o.report is not None and o.status != NOT_GRADED for o in self.outcomes)

    @property
    def single(self) -> tuple[str, ...]:
        """Names of the cases with leaves in single precision."""
        return tuple(outcome.name for outcome in self.outcomes if outcome.single)

    @property
    def good(self) -> bool:
        """Whether nothing new was found, all conventions hold, and something was compared at all."""
        no_news = not self.count(NEW) and not self.count(BROKEN) and self.compared > 0
        return no_news and all(outcome.holds for outcome in self.conventions)


def crosscheck(
    framework: Adapter | Run,
    vectors: Sequence[Vector] | None = None,
    *,
    name: str = "mine",
    known: Iterable[Known] | None = None,
    only: str = "*",
    tell: Callable[[str], None] = lambda text: None,
) -> Crosscheck:
    """Run vectors through a framework.

    Parameters
    ----------
    framework : Adapter or callable
        Of `refsnn.crosscheck.adapters`, or a function `problem -> leaves`; it raises
        `NotExpressibleError` for what it has no words for.  It is given a copy of each problem, and what it
        changes of that is told.
    vectors : sequence of Vector, optional
        With their answers; by default all of the adapter's kind, made afresh.
    name : str
        Of a function.
    known : iterable of Known, optional
        Differences that are known; by default those of the package.
    only : str
        A pattern of case names.
    tell : callable
        Told the name of each case.

    Returns
    -------
    Crosscheck

    Raises
    ------
    ImportError
        If the framework is not installed.
    ValueError
        If no case has such a name, or the vectors are of another kind.

    Examples
    --------
    >>> from refsnn.crosscheck import crosscheck
    >>> from refsnn.vectors.kinds import KINDS
    >>> solve = KINDS["spiking_neuron"].solve
    >>> found = crosscheck(lambda problem: solve(problem, "plain").leaves, only="one-*")
    >>> found.good, found.count("right")
    (True, 1)
    """
    adapter = framework if isinstance(framework, Adapter) else Adapter(name, name, (), {}, framework)
    found = versions(adapter)
    kind = KINDS[adapter.kind]
    vectors = list(vectors_of(kind)) if vectors is None else list(vectors)
    if others := sorted({vector.kind for vector in vectors} - {kind.name}):
        raise ValueError(f"vectors: expected those of {kind.name}, got {', '.join(others)}")
    chosen = [vector for vector in vectors if fnmatch.fnmatchcase(vector.case.name, only)]
    if not chosen:
        raise ValueError(f"only: expected a pattern of case names such as 'random/*', got {only!r}")
    entries = tuple(known_of(adapter.name) if known is None else known)
    outcomes, gone = [], []
    for vector in chosen:
        tell(vector.case.name)
        about = [entry for entry in entries if entry.names_case(kind.name, vector.case.name)]
        outcomes.append(_outcome(adapter, vector, about))
        report = outcomes[-1].report
        gone += [(entry, vector.case.name) for entry in about if report is not None and _gone(entry, report)]
    unmatched = tuple(entry for entry in entries if not _matches(entry, vectors))
    here = found[adapter.distributions[-1]] if adapter.distributions else None
    elsewhere = tuple(
        (entry, outcome.name)
        for outcome in outcomes
        for entry in outcome.known
        if here is not None and here not in entry.versions
    )
    return Crosscheck(
        adapter.name,
        adapter.title,
        kind.name,
        found,
        tuple(warnings(adapter, found)),
        tuple(outcomes),
        tuple(gone),
        unmatched,
        elsewhere=elsewhere,
    )


def _outcome(adapter: Adapter, vector: Vector, about: Sequence[Known]) -> Outcome:
    # a copy: what a framework changes in place must not change what it is compared with
    problem = vector.case.problem
    given = Problem(copy.deepcopy(dict(problem.hyperparameters)), copy.deepcopy(dict(problem.inputs)))
    return replace(_compared(adapter, vector, about, given), altered=_altered(problem, given))


def _compared(adapter: Adapter, vector: Vector, about: Sequence[Known], given: Problem) -> Outcome:
    name = vector.case.name
    try:
        leaves = adapter.run(given)
        if not isinstance(leaves, Mapping):
            raise TypeError(f"expected a dict of leaves by their names, got {type(leaves).__name__}")
        found: Leaves = {path: _numbers(path, value) for path, value in leaves.items()}
    except NotExpressibleError as reason:
        return Outcome(name, REFUSED, str(reason))
    except ImportError:
        raise  # a part of the framework is missing: not the case's fault
    except (Exception, SystemExit) as error:  # whatever a framework raises is a finding about it
        return Outcome(name, BROKEN, f"{type(error).__name__}: {error}")
    report = graded(vector, found)
    bad = [grade for grade in report.grades if grade.bad]
    if not bad:
        return Outcome(name, RIGHT if report.right else NOT_GRADED, _not_graded(report), report)
    valid = [entry for entry in about if entry.explains(report)]
    used = tuple(entry for entry in valid if any(entry.names_leaf(grade.path) for grade in bad))
    new = tuple(grade for grade in bad if not any(entry.names_leaf(grade.path) for entry in used))
    if not new:
        return Outcome(name, KNOWN, "; ".join(entry.reason for entry in used), report, known=used)
    report = diagnosed(report, KINDS[adapter.kind])
    otherwise = ["it differs otherwise than is known"] if len(valid) < len(about) else []
    return Outcome(name, NEW, "; ".join([*otherwise, *_as_a_rule(report)]), report, new, used)


def _altered(problem: Problem, given: Problem) -> tuple[str, ...]:
    """Names of the inputs and hyper-parameters that are no longer as they were."""
    before, after = problem.inputs, given.inputs
    inputs = [name for name in before | after if not _same(before.get(name), after.get(name))]
    options, now = problem.hyperparameters, given.hyperparameters
    return (*inputs, *(name for name in options | now if options.get(name) != now.get(name)))


def _same(one: np.ndarray | None, other: object) -> bool:
    """Whether two arrays are the same to the last bit."""
    if one is None or not isinstance(other, np.ndarray) or one.dtype != other.dtype:
        return False
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def _not_graded(report: CaseReport) -> str:
    number = sum(grade.status == NOT_GRADED for grade in report.grades)
    where = f"{number} of {len(report.grades)} leaves came in single precision"
    return f"{where}, and this case is for double precision only" if number else ""


def _numbers(path: str, value: object) -> np.ndarray:
    array = np.array(value)  # of its own: a framework may use its buffer again
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"{path}: expected numbers, got {array.dtype}")
    return array


def _as_a_rule(report: CaseReport) -> list[str]:
    """Which convention of another framework gives what came, and comes nearer to it than the truth."""
    current = report.vector.case.problem.inputs.get("current")
    if report.vector.kind != "spiking_neuron" or current is None or len(current) > SHORT:
        return []
    tried = {name: Known(("*",), ("*",), (), "tried", rule=name) for name in RULES}
    near = [name for name, entry in tried.items() if entry.resembles(report)]
    names = [name for name in near if tried[name].explains(report)]
    how = "as" if names else "nearly as"
    return [f"it is {how} the rule {' and '.join(names or near)} has it"] if near else []


def _gone(entry: Known, report: CaseReport) -> bool:
    return not any(grade.bad and entry.names_leaf(grade.path) for grade in report.grades)


def _matches(entry: Known, vectors: Sequence[Vector]) -> bool:
    return any(
        entry.names_case(vector.kind, vector.case.name)
        and any(entry.names_leaf(path) for path in vector.expected)
        for vector in vectors
    )
