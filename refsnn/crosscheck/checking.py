"""Run vectors through a framework, and tell the differences that are known from those that are new."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, Run, versions, warnings
from refsnn.crosscheck.conventions.measuring import ConventionOutcome
from refsnn.crosscheck.known import Known, known_of
from refsnn.crosscheck.rules import RULES
from refsnn.vectors.case import Leaves
from refsnn.vectors.diagnosis import diagnosed
from refsnn.vectors.format import Vector
from refsnn.vectors.grading import CaseReport, Grade, graded
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.making import vectors_of

SHORT = 100  # steps of a case on which all rules are tried: the work grows with their square
RIGHT, KNOWN, NEW, REFUSED, BROKEN = "right", "known", "differs", "not expressible", "error"


@dataclass(frozen=True)
class Outcome:
    """Of one case.

    Attributes
    ----------
    name : str
        Of the case.
    status : str
        "right", "known" (wrong as the file of known differences says), "differs", "not expressible", or
        "error" (the framework raised something).
    says : str
        The reason of a refusal, the error, or that of a known difference.
    report : CaseReport or None
        Its grades, with a diagnosis where it differs; None where nothing came.
    new : tuple of Grade
        Bad leaves that no known difference covers.
    """

    name: str
    status: str
    says: str = ""
    report: CaseReport | None = None
    new: tuple[Grade, ...] = ()


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

    def count(self, status: str) -> int:
        """Cases of a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def compared(self) -> int:
        """Cases of which something came."""
        return sum(outcome.report is not None for outcome in self.outcomes)

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
        `NotExpressibleError` for what it has no words for.
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
    return Crosscheck(
        adapter.name,
        adapter.title,
        kind.name,
        found,
        tuple(warnings(adapter, found)),
        tuple(outcomes),
        tuple(gone),
        unmatched,
    )


def _outcome(adapter: Adapter, vector: Vector, about: Sequence[Known]) -> Outcome:
    name = vector.case.name
    try:
        leaves = adapter.run(vector.case.problem)
        if not isinstance(leaves, Mapping):
            raise TypeError(f"expected a dict of leaves by their names, got {type(leaves).__name__}")
        found: Leaves = {path: _numbers(path, value) for path, value in leaves.items()}
    except NotExpressibleError as reason:
        return Outcome(name, REFUSED, str(reason))
    except ImportError:
        raise  # a part of the framework is missing: not the case's fault
    except Exception as error:  # whatever a framework raises is a finding about it
        return Outcome(name, BROKEN, f"{type(error).__name__}: {error}")
    report = graded(vector, found)
    bad = [grade for grade in report.grades if grade.bad]
    if not bad:
        return Outcome(name, RIGHT, report=report)
    valid = [entry for entry in about if entry.explains(report)]
    new = tuple(grade for grade in bad if not any(entry.names_leaf(grade.path) for entry in valid))
    if not new:
        return Outcome(name, KNOWN, "; ".join(entry.reason for entry in valid), report)
    report = diagnosed(report, KINDS[adapter.kind])
    otherwise = "it differs otherwise than is known; " if len(valid) < len(about) else ""
    return Outcome(name, NEW, otherwise + _as_a_rule(report), report, new)


def _numbers(path: str, value: object) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"{path}: expected numbers, got {array.dtype}")
    return array


def _as_a_rule(report: CaseReport) -> str:
    """Which convention of another framework gives what came."""
    current = report.vector.case.problem.inputs.get("current")
    if report.vector.kind != "spiking_neuron" or current is None or len(current) > SHORT:
        return ""
    names = [name for name in RULES if Known(("*",), ("*",), (), "tried", rule=name).explains(report)]
    return f"it is as the rule {' and '.join(names)} has it" if names else ""


def _gone(entry: Known, report: CaseReport) -> bool:
    return not any(grade.bad and entry.names_leaf(grade.path) for grade in report.grades)


def _matches(entry: Known, vectors: Sequence[Vector]) -> bool:
    return any(
        entry.names_case(vector.kind, vector.case.name)
        and any(entry.names_leaf(path) for path in vector.expected)
        for vector in vectors
    )
