"""Runs experiments and draws figures; what goes wrong in one of them does not stop the others."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass

from validation.experiments import Allowance, Experiment, ExperimentResult, Unavailable
from validation.terminal import Printer
from validation.wording import detail, duration


@dataclass(frozen=True)
class Outcome:
    """What became of one experiment: a result, or the reason why there is none.

    Attributes
    ----------
    experiment : Experiment
    seconds : float
    result : ExperimentResult or None
    skipped : str or None
        Its data are not here.
    error : str or None
        It raised.
    """

    experiment: Experiment
    seconds: float
    result: ExperimentResult | None = None
    skipped: str | None = None
    error: str | None = None


def run_experiments(
    entries: Iterable[Experiment], printer: Printer, allowance: Allowance | None = None
) -> list[Outcome]:
    """Run them one after the other; print each table as soon as it is there."""
    allowance = Allowance() if allowance is None else allowance
    outcomes = []
    for entry in entries:
        printer.line(f"Experiment {entry.id}: {entry.title}", "bold")
        outcome = _run(entry, printer, allowance)
        outcomes.append(outcome)
        if outcome.skipped:
            printer.line(f"  skipped: {outcome.skipped}", "yellow")
        if outcome.error:
            printer.line(f"  went wrong: {outcome.error}", "bold red")
        if outcome.result:
            for row in text_table(outcome.result):
                printer.line(f"  {row}")
        printer.line(f"  {duration(outcome.seconds)}", "dim")
    if outcomes:
        printer.line()
    return outcomes


def _run(entry: Experiment, printer: Printer, allowance: Allowance) -> Outcome:
    from validation.style import report_style  # imports matplotlib

    start = time.perf_counter()
    try:
        with report_style(), printer.long_work(entry.id) as progress:
            result = entry.run(progress, allowance) if entry.resumable else entry.run(progress)
        return Outcome(entry, result.seconds or time.perf_counter() - start, result)
    except Unavailable as reason:
        return Outcome(entry, time.perf_counter() - start, skipped=str(reason))
    except Exception as error:
        text = "".join(traceback.format_exception_only(error)).strip()
        return Outcome(entry, time.perf_counter() - start, error=text)


def text_table(result: ExperimentResult) -> list[str]:
    """The table of a result as aligned lines."""
    rows = [[str(title) for title in result.table_header]]
    rows += [[detail(cell) for cell in row] for row in result.table_rows]
    if not any(rows):
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
