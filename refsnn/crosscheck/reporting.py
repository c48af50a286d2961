"""A crosscheck as a page of text, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refsnn import __version__
from refsnn.crosscheck.checking import BROKEN, KNOWN, NEW, REFUSED, RIGHT, STATUSES, Crosscheck, Outcome
from refsnn.crosscheck.conventions.measuring import ConventionOutcome
from refsnn.crosscheck.known import Known
from refsnn.files import plain
from refsnn.text_tables import Block, Page
from refsnn.vectors.format import FORMAT
from refsnn.vectors.grading import NOT_GRADED

SHOWN = 20  # new differences in the text


def as_page(found: Crosscheck) -> Page:
    """As text: what is new first in words, the cases, the differences, the framework's own neurons.

    Parameters
    ----------
    found : Crosscheck
        Of one framework.

    Returns
    -------
    sequence of str or Block
    """
    page: list[str | Block] = [f"{found.title}: {versions_in_words(found)}."]
    page += [f"Warning: {line}." for line in (*found.warnings, *remarks(found))]
    page.append(Block(f"Cases of {found.kind}", ("case", "verdict", "error / tolerance"), _cases(found)))
    for status, title in (
        (REFUSED, "Not expressible"),
        (NOT_GRADED, "Not graded"),
        (KNOWN, "Known differences"),
    ):
        page += _paragraph(title, [f"{cases}: {why}." for cases, why in grouped(found, status)])
    new: list[tuple[str, ...]] = [(o.name, *leaf) for o in found.outcomes for leaf in new_leaves(o)]
    if new:
        page.append(Block("NEW differences", ("case", "leaf", "status", "where"), new[:SHOWN], True))
    if len(new) > SHOWN:
        page.append(f"... and {len(new) - SHOWN} more; --json FILE or --html FILE has all.")
    page += _paragraph("What explains them", [f"{case}: {what}." for case, what in explanations(found)])
    page += _paragraph("Out of date", stale(found))
    page += _paragraph(
        "Its own neurons",
        [f"{o.convention.name}, {verdict(o)}: {o.convention.says}.  {o.figure}." for o in found.conventions],
    )
    page.append("")
    page.append(summary(found))
    return page


def _paragraph(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def versions_in_words(found: Crosscheck) -> str:
    """Distributions with their versions.

    Parameters
    ----------
    found : Crosscheck
        Of one framework.

    Returns
    -------
    str
    """
    names = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return f"{names or 'a function'} against refsnn {__version__}"


def summary(found: Crosscheck) -> str:
    """The counts in one line.

    Parameters
    ----------
    found : Crosscheck
        Of one framework.

    Returns
    -------
    str
    """
    counts = [f"{found.count(status)} {status}" for status in (RIGHT, KNOWN, REFUSED)]
    counts[1] = f"{found.count(KNOWN)} different as is known"
    if found.count(NOT_GRADED):
        counts.append(f"{found.count(NOT_GRADED)} not graded")
    if found.count(NEW):
        counts.append(f"{found.count(NEW)} DIFFERENT")
    if found.count(BROKEN):
        counts.append(f"{found.count(BROKEN)} raised an ERROR")
    number = len(found.outcomes)
    text = f"{number} case{'s' if number != 1 else ''}: {', '.join(counts)}."
    if found.single:
        text += f" {len(found.single)} came in SINGLE PRECISION."
    if not found.compared:
        text += " Nothing was compared."
    if found.conventions:
        holding = sum(outcome.holds for outcome in found.conventions)
        text += f" {holding} of {len(found.conventions)} claims about its own neurons hold."
    return text


def grouped(found: Crosscheck, status: str) -> list[tuple[str, str]]:
    """Reasons of a status with the names of their cases.

    Parameters
    ----------
    found : Crosscheck
        Of one framework.
    status : str
        Of the outcomes.

    Returns
    -------
    list of (str, str)
    """
    names: dict[str, list[str]] = {}
    for outcome in found.outcomes:
        if outcome.status == status:
            names.setdefault(outcome.says, []).append(outcome.name)
    return [(", ".join(cases), reason) for reason, cases in names.items()]


def new_leaves(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Leaf, status, and where it differs; an error of the framework has no leaf.

    Parameters
    ----------
    outcome : Outcome
        Of one case.

    Returns
    -------
    list of (str, str, str)
    """
    if outcome.status == BROKEN:
        return [("", BROKEN, outcome.says)]
    return [(grade.path, grade.status, grade.says) for grade in outcome.new]


def explanations(found: Crosscheck) -> list[tuple[str, str]]:
    """What the new differences point to: conventions, mistakes, patterns.

    Parameters
    ----------
    found : Crosscheck
        Of one framework.

    Returns
    -------
    list of (str, str)
        Case and words.
    """
    lines = []
    for outcome in found.outcomes:
        if outcome.status == NEW and outcome.report is not None:
            words = [outcome.says] if outcome.says else []
            lines += [(outcome.name, text) for text in (*words, *outcome.report.diagnosis)]
    return lines


def remarks(found: Crosscheck) -> list[str]:
    """What holds back the counts: single precision, other versions, inputs that were changed.

    Parameters
    ----------
    found : Crosscheck
        Of one framework.

    Returns
    -------
    list of str
        Without full stops.
    """
    lines = []
    if found.single:
        grades = [g for o in found.outcomes if o.report for g in o.report.grades if g.single]
        widest = max((grade.tolerance for grade in grades), default=float("nan"))
        cases = f"{len(found.single)} of {len(found.outcomes)} cases"
        lines.append(
            f"{cases} came in single precision, where errors up to {widest:.1e} of the largest entry are "
            f"right: {', '.join(found.single)}"
        )
    lines += [
        f"{cases}: {reason!r} is known of {versions}, not of the version that is installed; it explains what "
        "came, but look whether it is the same"
        for (reason, versions), cases in _by_entry(found.elsewhere).items()
    ]
    altered: dict[str, list[str]] = {}
    for outcome in found.outcomes:
        if outcome.altered:
            altered.setdefault(", ".join(outcome.altered), []).append(outcome.name)
    return lines + [
        f"what it was given is changed in place, {what}: {', '.join(cases)}"
        for what, cases in altered.items()
    ]


def _by_entry(pairs: Sequence[tuple[Known, str]]) -> dict[tuple[str, str], str]:
    """Names of the cases by reason and versions."""
    names: dict[tuple[str, str], list[str]] = {}
    for entry, case in pairs:
        names.setdefault((entry.reason, ", ".join(entry.versions)), []).append(case)
    return {entry: ", ".join(cases) for entry, cases in names.items()}


def stale(found: Crosscheck) -> list[str]:
    """What in the file of known differences is out of date.

    Parameters
    ----------
    found : Crosscheck
        Of one framework.

    Returns
    -------
    list of str
        A line an entry.
    """
    gone: dict[str, list[str]] = {}
    for entry, case in found.gone:
        gone.setdefault(entry.reason, []).append(case)
    lines = [
        f"No longer different: {', '.join(cases)}; take them out of the known difference {reason!r}."
        for reason, cases in gone.items()
    ]
    return lines + [
        f"Names no case or no leaf: the known difference {entry.reason!r} ({', '.join(entry.cases)})."
        for entry in found.unmatched
    ]


def _cases(found: Crosscheck) -> list[tuple[str, ...]]:
    words = {NEW: "DIFFERS", BROKEN: "ERROR", KNOWN: "known difference"}
    return [(o.name, words.get(o.status, o.status) + precision(o), worst(o)) for o in found.outcomes]


def precision(outcome: Outcome) -> str:
    """What to add to a verdict where leaves came in single precision.

    Parameters
    ----------
    outcome : Outcome
        Of one case.

    Returns
    -------
    str
        Empty where all is in double precision.
    """
    return ", in single precision" if outcome.single else ""


def worst(outcome: Outcome) -> str:
    """The largest error of a case, in tolerances.

    Parameters
    ----------
    outcome : Outcome
        Of one case.

    Returns
    -------
    str
        "-" where nothing was compared.
    """
    grades = outcome.report.grades if outcome.report else ()
    shares = [g.error / g.tolerance for g in grades if g.error == g.error and g.tolerance]
    return f"{max(shares):.1e}" if shares else "-"


def verdict(outcome: ConventionOutcome) -> str:
    """Of a claim about the framework's own neurons, in words.

    Parameters
    ----------
    outcome : ConventionOutcome
        Measured.

    Returns
    -------
    str
    """
    if not outcome.holds:
        return "DOES NOT HOLD"
    return "defect" if outcome.convention.defect else "holds"


def as_dict(found: Sequence[Crosscheck]) -> dict[str, Any]:
    """All figures in the types of JSON.

    Parameters
    ----------
    found : sequence of Crosscheck
        One a framework.

    Returns
    -------
    dict
        "refsnn", "format", "good", "frameworks".
    """

    def case(outcome: Outcome) -> dict[str, Any]:
        names = ("path", "equation", "status", "error", "tolerance", "single", "says")
        grades = outcome.report.grades if outcome.report else ()
        return {
            "name": outcome.name,
            "status": outcome.status,
            "says": outcome.says,
            "single_precision": outcome.single,
            "changed_in_place": outcome.altered,
            "new": [grade.path for grade in outcome.new],
            "leaves": [{name: getattr(grade, name) for name in names} for grade in grades],
            "diagnosis": outcome.report.diagnosis if outcome.report else (),
        }

    def framework(one: Crosscheck) -> dict[str, Any]:
        return {
            "name": one.name,
            "title": one.title,
            "kind": one.kind,
            "versions": dict(one.versions),
            "warnings": one.warnings,
            "good": one.good,
            "counts": {status: one.count(status) for status in STATUSES},
            "cases_in_single_precision": len(one.single),
            "cases": [case(outcome) for outcome in one.outcomes],
            "known_of_other_versions": [
                {"case": name, "reason": entry.reason, "versions": entry.versions}
                for entry, name in one.elsewhere
            ],
            "no_longer_different": [{"case": name, "reason": entry.reason} for entry, name in one.gone],
            "matches_nothing": [entry.reason for entry in one.unmatched],
            "conventions": [
                {
                    "name": outcome.convention.name,
                    "says": outcome.convention.says,
                    "defect": outcome.convention.defect,
                    "holds": outcome.holds,
                    "figure": outcome.figure,
                }
                for outcome in one.conventions
            ],
        }

    return plain(
        {
            "refsnn": __version__,
            "format": FORMAT,
            "good": all(one.good for one in found),
            "frameworks": [framework(one) for one in found],
        }
    )
