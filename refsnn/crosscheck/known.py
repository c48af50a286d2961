"""Known differences: one TOML file a framework, with the reason, the versions, and what comes instead.

    framework = "snntorch"

    [[difference]]
    cases = ["*/soft-attached"]       patterns of case names
    leaves = ["states/*"]             patterns of leaves
    versions = ["1.0.0"]              of the framework, in which it was seen
    reason = "..."
    as = "residual-seen"              the rule that gives what comes (refsnn/crosscheck/rules.py), or
    at_most = 1e-7                    the largest error, relative to the largest entry of the leaf
    with = { fires = ">" }            hyper-parameters changed for the rule; may be left out
    kind = "spiking_neuron"           of the vectors; may be left out
    link = "..."                      may be left out

A difference is known only if it is as large, or of the kind, that the file says: another error in the same
leaf stands out.  What comes is held against a rule with the tolerance of the leaf, as closely as against the
truth where nothing is known: rules are exact to some 1e-14.  A difference may also be known in a version in
which it was not seen; that is reported.
"""

from __future__ import annotations

import fnmatch
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.crosscheck.adapters import MODULES
from refsnn.crosscheck.rules import RULES, leaves_by
from refsnn.vectors.diagnosis import ALIKE, ALIKE_SINGLE
from refsnn.vectors.grading import CaseReport, Grade
from refsnn.vectors.making import relative_error

_TEXTS = {"reason": True, "link": False, "as": False, "kind": False}  # whether it must be there
_LISTS = ("cases", "leaves", "versions")
_OTHERS = ("at_most", "with")
NEARER = 10  # times: a rule that says something is that much nearer than the truth


@dataclass(frozen=True)
class Known:
    """One difference that is known.

    Attributes
    ----------
    cases, leaves, versions : tuple of str
        Patterns of names; where it was seen.
    reason : str
        Why it is there.
    rule : str
        That gives what comes, or empty.
    changed : dict
        Hyper-parameters for the rule.
    at_most : float or None
        Largest error where there is no rule.
    kind : str
        Of the vectors.
    link : str
        To where it is discussed, or empty.
    """

    cases: tuple[str, ...]
    leaves: tuple[str, ...]
    versions: tuple[str, ...]
    reason: str
    rule: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)
    at_most: float | None = None
    kind: str = "spiking_neuron"
    link: str = ""

    def names_case(self, kind: str, name: str) -> bool:
        """Whether it is about a case."""
        return kind == self.kind and any(fnmatch.fnmatchcase(name, pattern) for pattern in self.cases)

    def names_leaf(self, path: str) -> bool:
        """Whether it is about a leaf."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.leaves)

    def explains(self, report: CaseReport) -> bool:
        """Whether what came is what it says: as its rule has it, or near enough.

        Parameters
        ----------
        report : CaseReport
            Of a case that it names.

        Returns
        -------
        bool
        """
        if not self.rule:
            return all(
                grade.status == "differs" and grade.error <= (self.at_most or 0)
                for grade in report.grades
                if grade.bad and self.names_leaf(grade.path)
            )
        return all(error <= tolerance for _, error, tolerance in self._from_rule(report))

    def resembles(self, report: CaseReport) -> bool:
        """Whether what came is near its rule, and much nearer than to the truth where it differs from that.

        Parameters
        ----------
        report : CaseReport
            Of a case with bad leaves.

        Returns
        -------
        bool
            For a hint: less is asked than of `explains`.
        """
        return all(
            error <= max(tolerance, ALIKE_SINGLE if grade.single else ALIKE if tolerance else 0)
            and (not grade.bad or error <= grade.error / NEARER)
            for grade, error, tolerance in self._from_rule(report)
        )

    def _from_rule(self, report: CaseReport) -> Iterator[tuple[Grade, float, float]]:
        """How far each leaf is from what the rule gives, and the tolerance; infinity where nothing came."""
        problem = report.vector.case.problem.changed(**dict(self.changed))
        with np.errstate(all="ignore"):
            instead = leaves_by(self.rule, problem)
        for grade in report.grades:
            if grade.path not in instead or grade.path not in report.found:
                yield grade, math.inf, 0.0
                continue
            found, truth = np.asarray(report.found[grade.path]), report.vector.expected[grade.path]
            single = found.dtype.kind in "fc" and found.dtype.itemsize < truth.value.dtype.itemsize
            tolerance = truth.tolerance_float32 if single else truth.tolerance
            yield grade, relative_error(found, instead[grade.path]), tolerance


def known_of(framework: str) -> tuple[Known, ...]:
    """The file of a framework that comes with the package.

    Parameters
    ----------
    framework : str
        Name of the adapter.

    Returns
    -------
    tuple of Known
        Empty for a function of one's own.

    Raises
    ------
    FileNotFoundError
        If the file of an adapter of the package is gone: all that is known would be reported as new.

    Examples
    --------
    >>> known_of("a framework that nobody knows")
    ()
    """
    path = resources.files("refsnn.crosscheck") / "known" / f"{framework}.toml"
    if path.is_file():
        return parsed(path.read_text(encoding="utf-8"), str(path), framework)
    if framework in MODULES:
        raise FileNotFoundError(f"{path}: expected a file of the package, found none; install refsnn again")
    return ()


def read_known(path: str | os.PathLike[str], framework: str) -> tuple[Known, ...]:
    """A file of one's own.

    Parameters
    ----------
    path : path-like
        TOML as above.
    framework : str
        Name of the adapter.

    Returns
    -------
    tuple of Known

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is broken, or of another framework.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of known differences, found none of that name")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a text in UTF-8, found {error}; save it again") from None
    return parsed(text, str(path), framework)


def parsed(text: str, label: str, framework: str) -> tuple[Known, ...]:
    """Differences of a text.

    Parameters
    ----------
    text : str
        TOML as above.
    label : str
        Of the text, for messages.
    framework : str
        Name of the adapter.

    Returns
    -------
    tuple of Known

    Raises
    ------
    ValueError
        If it is broken, or of another framework.

    Examples
    --------
    >>> parsed('framework = "norse"', "known.toml", "sinabs")
    Traceback (most recent call last):
    ...
    ValueError: known.toml: expected framework = 'sinabs', got 'norse'; use the file of that framework
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{label}: expected TOML, found it broken ({error}); mend it there") from None
    if content.get("framework") != framework:
        raise ValueError(
            f"{label}: expected framework = {framework!r}, got {content.get('framework')!r}; use the file of "
            "that framework"
        )
    if unknown := sorted(set(content) - {"framework", "difference"}):
        raise ValueError(f"{label}: expected framework and [[difference]], got {unknown}; take it out")
    entries = content.get("difference", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{label}: expected tables [[difference]], got {type(entries).__name__}")
    return tuple(_entry(f"{label}: difference {number}", entry) for number, entry in enumerate(entries, 1))


def _entry(label: str, entry: dict[str, Any]) -> Known:
    if unknown := sorted(set(entry) - {*_TEXTS, *_LISTS, *_OTHERS}):
        raise ValueError(f"{label}: expected {sorted([*_TEXTS, *_LISTS, *_OTHERS])}, got {unknown}")
    for name in _LISTS:
        value = entry.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{label}: {name}: expected a list of texts, got {value!r}")
    for name, needed in _TEXTS.items():
        value = entry.get(name, None if needed else "")
        if not isinstance(value, str) or (needed and not value.strip()):
            raise ValueError(f"{label}: {name}: expected a text, got {value!r}")
    rule, at_most = entry.get("as", ""), entry.get("at_most")
    if bool(rule) == (at_most is not None):
        raise ValueError(f"{label}: expected either 'as' or 'at_most', got {'both' if rule else 'neither'}")
    if rule and rule not in RULES:
        raise ValueError(f"{label}: as: expected one of {', '.join(RULES)}, got {rule!r}")
    if at_most is not None and not (isinstance(at_most, float) and 0 < at_most < math.inf):
        raise ValueError(
            f"{label}: at_most: expected a finite floating-point number above 0, got {at_most!r}"
        )
    if not isinstance(entry.get("with", {}), dict):
        raise ValueError(f"{label}: with: expected a table of hyper-parameters, got {entry['with']!r}")
    return Known(
        cases=tuple(entry["cases"]),
        leaves=tuple(entry["leaves"]),
        versions=tuple(entry["versions"]),
        reason=entry["reason"],
        rule=rule,
        changed=entry.get("with", {}),
        at_most=at_most,
        kind=entry.get("kind", "spiking_neuron"),
        link=entry.get("link", ""),
    )
