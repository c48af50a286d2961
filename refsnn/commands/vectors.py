"""`refsnn vectors list | make | export | check`: golden vectors on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.files import check_writable, plain, write_whole
from refsnn.text_tables import Block, Page, show
from refsnn.vectors.diagnosis import diagnosed_together, summary
from refsnn.vectors.format import FORMAT, Vector, read_file
from refsnn.vectors.grading import RIGHT as RIGHT_LEAF
from refsnn.vectors.grading import CaseReport, Grade, grade_all
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.making import file_name, make
from refsnn.vectors.results import export, read_results

RIGHT, WRONG = 0, 1
SHOWN = 20  # bad leaves in the text


def add_commands(tasks: Any) -> None:
    """Add the commands to a command line.

    Parameters
    ----------
    tasks : argparse subparsers
        Of `refsnn`.
    """
    room = tasks.add_parser(
        "vectors",
        help="golden vectors: list and make them, grade an implementation with them",
        description="Golden vectors: small cases with everything in them, for checking other software.",
    )
    actions = room.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the kinds, or the cases of some")
    listing.add_argument("kinds", nargs="*", metavar="KIND", help="by default a line for each kind")
    making = actions.add_parser("make", help="write the files of all kinds, or of some, and the manifest")
    making.add_argument("folder", type=Path, metavar="FOLDER", help="an existing folder")
    making.add_argument("kinds", nargs="*", metavar="KIND", help="all by default")
    making.add_argument("--large", action="store_true", help="with wide and long cases")
    exporting = actions.add_parser("export", help="write inputs as .npy files, for languages without HDF5")
    exporting.add_argument("vectors", type=Path, metavar="VECTORS.h5")
    exporting.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder")
    checking = actions.add_parser(
        "check",
        help="grade results, leaf by leaf, and say what the differences point to",
        epilog="Exit status: 0 if all cases are right, those left out that single precision cannot repeat; "
        "1 if one is wrong, absent or graded in part, or none could be graded; 2 for bad files or options.",
    )
    checking.add_argument("results", type=Path, metavar="RESULTS", help="an HDF5 file, or an exported folder")
    checking.add_argument("vectors", type=Path, metavar="VECTORS.h5", help="with the answers")
    checking.add_argument(
        "--only", action="append", metavar="PATTERN", help="cases such as 'random/*'; may be repeated"
    )
    checking.add_argument("--json", type=Path, metavar="FILE", help="write every grade as JSON")
    for action in (listing, making, exporting, checking):
        action.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run an action.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        The exit status: 1 if `check` found something wrong.

    Raises
    ------
    TypeError, ValueError, OSError
        For bad files and options.
    """
    actions = {"list": _list, "make": _make, "export": _export, "check": _check}
    return actions[options.action](options)


def _list(options: argparse.Namespace) -> int:
    page: list[str | Block] = []
    if not options.kinds:
        lines = [(kind.name, str(sum(1 for _ in kind.cases(False))), kind.summary) for kind in KINDS.values()]
        page.append(Block(f"Kinds of vectors, format {FORMAT}", ("kind", "cases", "summary"), lines, True))
    for kind in _chosen(options.kinds) if options.kinds else ():
        cases = [(case.name, ", ".join(case.flags), case.purpose) for case in kind.cases(False)]
        page.append(kind.summary)
        page.append(Block("Cases", ("case", "flags", "purpose"), cases, True))
        page.append(Block("Given", ("name", "what"), list(kind.inputs.items()), True))
        leaves = [(leaf.path, leaf.shape, leaf.meaning, leaf.equation) for leaf in kind.leaves]
        page.append(Block("Asked", ("leaf", "shape", "meaning", "equation"), leaves, True))
    show(page, sys.stdout)
    return RIGHT


def _chosen(names: Sequence[str]) -> list[Any]:
    if unknown := [name for name in names if name not in KINDS]:
        raise ValueError(f"KIND: expected names among {', '.join(KINDS)}, got {', '.join(unknown)}")
    return [KINDS[name] for name in names or KINDS]


def _make(options: argparse.Namespace) -> int:
    kinds = _chosen(options.kinds)

    def tell(name: str) -> None:
        print(f"{options.folder / file_name(name)}", file=sys.stderr, flush=True)

    try:
        print(make(options.folder, kinds, options.large, tell))
    except ArithmeticError as error:
        print(f"refsnn vectors make: {error}; nothing of this kind was written", file=sys.stderr)
        return WRONG
    return RIGHT


def _export(options: argparse.Namespace) -> int:
    print(export(options.folder, read_file(options.vectors)))
    return RIGHT


def _check(options: argparse.Namespace) -> int:
    if options.json is not None:
        check_writable("--json", options.json)
    vectors = read_file(options.vectors)
    kind = vectors[0].kind
    if kind not in KINDS:
        raise ValueError(f"{options.vectors}: expected vectors of {', '.join(KINDS)}, found {kind!r}")
    results = read_results(options.results, vectors)
    strange = sorted(set(results) - {vector.case.name for vector in vectors})
    reports = diagnosed_together(grade_all(vectors, results, options.only or ("*",)), KINDS[kind])
    if options.json is not None:
        write_whole(options.json, json.dumps(as_dict(reports, strange), indent=2, allow_nan=False) + "\n")
    show(as_page(reports, strange), sys.stdout)
    good = all(report.right or report.not_graded for report in reports)
    return RIGHT if good and any(report.right for report in reports) else WRONG


def as_page(reports: Sequence[CaseReport], strange: Sequence[str] = ()) -> Page:
    """Grades as text: a line a case, the bad leaves, the diagnoses.

    Parameters
    ----------
    reports : sequence of CaseReport
        Diagnosed.
    strange : sequence of str
        Cases that came and are not among the vectors.

    Returns
    -------
    sequence of str or Block
    """
    lines = [
        (report.vector.case.name, _verdict(report), _worst(report.grades), _margin(report.vector))
        for report in reports
    ]
    page: list[str | Block] = [
        Block("Cases", ("case", "verdict", "largest error over tolerance", "margin"), lines)
    ]
    bad = [
        (report.vector.case.name, grade.path, grade.status, grade.says, grade.equation)
        for report in reports
        if not report.absent
        for grade in report.grades
        if grade.bad
    ]
    if bad:
        page.append(
            Block("What is wrong", ("case", "leaf", "status", "where", "equation"), bad[:SHOWN], True)
        )
    if len(bad) > SHOWN:
        page.append(f"... and {len(bad) - SHOWN} more; --json FILE writes all, --only PATTERN looks at some.")
    if found := summary(reports):
        page.append(Block("What explains it", ("cases", "first", "diagnosis"), _explained(found), True))
    unknown = sorted({path for report in reports for path in report.unknown})
    if unknown:
        page.append(f"Not asked for, not looked at: {', '.join(unknown)}.")
    if strange:
        page.append(f"Cases that are not among the vectors, not looked at: {', '.join(strange)}.")
    in_single = sum(
        grade.status == RIGHT_LEAF and grade.single for report in reports for grade in report.grades
    )
    if in_single:
        page.append(f"{in_single} leaves came in single precision and were graded by its tolerance.")
    page += _left_out(reports)
    counts = {
        "absent": sum(report.absent for report in reports),
        "not graded": sum(report.not_graded for report in reports),
        "graded in part": sum(map(_in_part, reports)),
    }
    also = "".join(f", {count} {what}" for what, count in counts.items() if count)
    page.append(f"{sum(report.right for report in reports)} of {len(reports)} cases right{also}.")
    return page


def _left_out(reports: Sequence[CaseReport]) -> list[str]:
    """Which cases nothing can be said of, and why."""
    none = [report.vector.case.name for report in reports if report.not_graded]
    part = [report.vector.case.name for report in reports if _in_part(report)]
    why = "for double precision only, float32 cannot repeat them (flag float64-only)"
    lines = []
    if none:
        lines.append(
            f"Not graded, {len(none)}: {', '.join(none)}. They came in single precision and are {why}."
        )
    if part:
        lines.append(
            f"Graded in part, {len(part)}: {', '.join(part)}. Some leaves came in single precision; the "
            f"cases are {why}. Give all leaves in double."
        )
    return lines


def _in_part(report: CaseReport) -> bool:
    return not (report.right or report.wrong or report.not_graded)


def _margin(vector: Vector) -> str:
    return f"{vector.margin:.1e}" if np.isfinite(vector.margin) else "-"


def _explained(found: Sequence[tuple[str, list[str]]]) -> list[tuple[str, ...]]:
    return [(str(len(cases)), cases[0], text) for text, cases in found]


def _verdict(report: CaseReport) -> str:
    if report.absent:
        return "absent"
    if report.right:
        return "right"
    if report.not_graded:
        return "not graded"
    bad = sum(grade.bad for grade in report.grades)
    graded = sum(grade.status == RIGHT_LEAF for grade in report.grades)
    return (
        f"{bad} of {len(report.grades)} leaves wrong" if bad else f"{graded} of {len(report.grades)} graded"
    )


def _worst(grades: Sequence[Grade]) -> str:
    shares = [g.error / g.tolerance for g in grades if g.error == g.error and g.tolerance]
    return f"{max(shares):.1e}" if shares else "-"


def as_dict(reports: Sequence[CaseReport], strange: Sequence[str] = ()) -> dict[str, Any]:
    """Grades in the types of JSON.

    Parameters
    ----------
    reports : sequence of CaseReport
        Diagnosed.
    strange : sequence of str
        Cases that came and are not among the vectors.

    Returns
    -------
    dict
        "format", "kind", "right", "not_graded", "graded_in_part", "of", "cases", "unknown_cases".
    """

    def leaf(grade: Grade) -> dict[str, Any]:
        names = ("path", "equation", "status", "single", "error", "tolerance", "says")
        return {name: getattr(grade, name) for name in names}

    def case(report: CaseReport) -> dict[str, Any]:
        vector = report.vector
        return {
            "name": vector.case.name,
            "flags": vector.case.flags,
            "margin": vector.margin,
            "verdict": _verdict(report),
            "leaves": [leaf(grade) for grade in report.grades],
            "unknown": report.unknown,
            "diagnosis": report.diagnosis,
        }

    return plain(
        {
            "format": FORMAT,
            "kind": _kind(reports),
            "right": sum(report.right for report in reports),
            "not_graded": sum(report.not_graded for report in reports),
            "graded_in_part": sum(map(_in_part, reports)),
            "of": len(reports),
            "cases": [case(report) for report in reports],
            "unknown_cases": strange,
        }
    )


def _kind(reports: Sequence[CaseReport]) -> str:
    first: Vector = reports[0].vector
    return first.kind
