"""The price of memory: every strategy's forward steps against its bytes, and what runs really take.

    python -m validation.memory_benchmark [--figure FILE] [--json FILE] [--repeats N] [--steps T]

draws the curves of all strategies for T = 1000, and measures LSTM, GRU and LIF networks within 5 and 2 per
cent of the bytes of plain BPTT: peak of all arrays, resident size, and time, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from refsnn import checks
from refsnn.files import check_writable, replacing, write_whole
from validation.memory_workload import CELLS, Record

STEPS, REPEATS = 1000, 5
# strategy and budget, as a share of all tapes
LINES: tuple[tuple[str, float | None], ...] = (
    ("all_tapes", None), ("all_states", None), ("ism", 0.05), ("msm", 0.05),
    ("hsm", 0.02), ("msm", 0.023), ("msm", 0.02),
)  # fmt: skip
SAVED_AIM, TIME_AIM, PREDICTION_AIM, PLAN_AIM = 0.95, 0.34, 1.1, 1.1
GOOD, BAD = 0, 1


def measure(
    cells: Sequence[str], steps: int, repeats: int, progress: Callable[[], None] = lambda: None
) -> list[Record]:
    """All lines of all cells, one process after the other."""
    found = []
    for cell in cells:
        for strategy, share in LINES:
            asked = {"cell": cell, "strategy": strategy, "share": share, "steps": steps, "repeats": repeats}
            command = [sys.executable, "-m", "validation.memory_workload", json.dumps(asked)]
            outcome = subprocess.run(command, capture_output=True, text=True)
            if outcome.returncode and "ValueError: budget:" in outcome.stderr:
                continue  # so few steps that the working core alone exceeds the share
            if outcome.returncode:
                raise RuntimeError(f"{cell}, {strategy}: {outcome.stderr.strip()}")
            found.append(Record(**json.loads(outcome.stdout)))
            progress()
    return found


def overhead(record: Record) -> float:
    """Extra time over all tapes, as measured in turns."""
    return record.seconds / record.plain_seconds - 1


def predicted(record: Record) -> float:
    """Extra time from the count of steps and the time of one, (14) with u_T = u_F."""
    extra = (record.cost - record.steps) * record.forward
    return extra / (record.steps * (record.forward + record.backward))


def saved(record: Record, plain: Record, what: str = "traced") -> float:
    """Share of the bytes of all tapes that is not needed, by the paper's account: without scratch.

    A policy's table counts as needed.
    """
    needed, everything = (getattr(one, what) - one.scratch for one in (record, plain))
    return 1 - (needed + record.table) / everything


def table(found: Sequence[Record]) -> Table:
    """The lines, for a terminal or a log."""
    result = Table(title=f"T = {found[0].steps}, one thread, float64; bytes beside inputs and parameters")
    result.add_column("")
    for title in (
        "C/T", "planned MB", "traced MB", "traced / planned", "resident MB", "table MB",
        "saved", "more time", "by the count of steps",
    ):  # fmt: skip
        result.add_column(title, justify="right")
    for record in found:
        plain = next(one for one in found if one.cell == record.cell)
        share = "" if record.share is None else f", {100 * record.share:g} %"
        beside = ("", "")
        if record is not plain:
            beside = f"{100 * saved(record, plain):.1f} %", f"{100 * overhead(record):+.1f} %"
        result.add_row(
            f"{record.cell}: {record.strategy}{share}",
            f"{record.cost / record.steps:.3f}",
            *(f"{getattr(record, name) / 1e6:.2f}" for name in ("planned", "traced")),
            f"{record.traced / record.planned:.3f}",
            *(f"{getattr(record, name) / 1e6:.2f}" for name in ("resident", "table")),
            *beside,
            f"{100 * predicted(record):+.1f} %",
        )
    return result


def complaints(found: Sequence[Record]) -> list[str]:
    """What should hold and does not."""
    problems = []
    for record in found:
        plain = next(one for one in found if one.cell == record.cell)
        name = f"{record.cell}, {record.strategy}, {record.share}"
        if record.traced > PLAN_AIM * record.planned:
            problems.append(f"{name}: traced {record.traced} bytes, planned {record.planned}")
        if record is not plain and overhead(record) > PREDICTION_AIM * predicted(record):
            problems.append(f"{name}: {overhead(record):.3f} more time, predicted {predicted(record):.3f}")
    for cell, least in (("LSTM", SAVED_AIM), ("GRU", 0.98)):
        lines = [one for one in found if one.cell == cell]
        reached = [saved(one, lines[0]) for one in lines if overhead(one) <= TIME_AIM] if lines else [1.0]
        if round(max(reached, default=0.0), 3) < least:
            problems.append(
                f"{cell}: {max(reached, default=0.0):.4f} saved within {TIME_AIM} more time, aim {least}"
            )
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit status 1 where an aim is missed."""
    options = parser().parse_args(arguments)
    cells = options.cells or list(CELLS)
    for cell in cells:
        checks.choice("CELL", cell, CELLS)
    for name in ("figure", "json"):
        if getattr(options, name) is not None:
            check_writable(f"--{name}", getattr(options, name))
    if options.figure is not None:
        from validation.figures.memory_efficient_bptt import prices

        drawing = prices(options.steps)
        with replacing(options.figure) as path:
            drawing.savefig(path, bbox_inches="tight", format=options.figure.suffix.lstrip(".") or "svg")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("processes", total=len(cells) * len(LINES))
        found = measure(cells, options.steps, options.repeats, lambda: bar.advance(task))
    Console(width=None if sys.stdout.isatty() else 160).print(table(found))
    problems = complaints(found)
    for problem in problems:
        print(f"aim missed: {problem}")
    if options.json is not None:
        write_whole(options.json, json.dumps([record._asdict() for record in found], indent=1) + "\n")
    return BAD if problems else GOOD


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m validation.memory_benchmark", description="Bytes and time of memory-efficient BPTT."
    )
    command.add_argument("cells", nargs="*", metavar="CELL", help=f"some of {', '.join(CELLS)}")
    command.add_argument("--figure", type=Path, metavar="FILE", help="draw the curves of all strategies")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the records")
    command.add_argument("--steps", type=int, default=STEPS, metavar="T", help=f"length, {STEPS}")
    command.add_argument("--repeats", type=int, default=REPEATS, metavar="N", help=f"timed runs, {REPEATS}")
    return command


if __name__ == "__main__":
    sys.exit(main())
