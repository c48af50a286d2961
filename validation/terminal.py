"""What the main job prints: a live bar and colours on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from validation.experiments import Experiment
from validation.ledger import Claim, Record
from validation.papers import paper
from validation.wording import bound_text, control_text, duration, measured_text, number_text

# column widths: verdict, id, measured, bound, control, its verdict, seconds
_COLUMNS = (("", 5), ("claim", 9), ("measured", 10), ("bound", 14), ("control", 10), ("", 9), ("time", 9))
_LOG_INTERVAL = 20.0  # seconds between two lines of progress where there is no bar


class Printer:
    """Prints verdicts as they come.

    Parameters
    ----------
    stream : file, optional
        Standard output by default.  If it is no terminal, the lines hold no control characters.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = sys.stdout if stream is None else stream
        self.live = stream.isatty()
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a log in an old encoding gets a "?", not a crash
        self.console = Console(
            file=stream,
            force_terminal=None if self.live else False,
            color_system="auto" if self.live else None,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        self._progress: Progress | None = None

    def line(self, text: str | Text = "", style: str = "") -> None:
        """Print one line; on a terminal above the live bar."""
        self.console.print(text, style=style if self.live else None, soft_wrap=True)
        if not self.live:
            self.console.file.flush()  # a log is read while the job runs

    @contextmanager
    def bar(self, total: int) -> Iterator[Callable[[float, str], None]]:
        """Give ``advance(done, text)``: a live bar, or nothing in a log, where the rows tell it."""
        if not self.live:
            yield lambda done, text: None
            return
        with self._bar() as progress:
            task = progress.add_task("", total=total)
            yield lambda done, text: progress.update(task, completed=done, description=text)

    @contextmanager
    def long_work(self, name: str) -> Iterator[Callable[[float, float, str], None]]:
        """Give ``progress(done, total, text)`` for an experiment: a live bar, or a line every few seconds."""
        if self.live:
            with self._bar(counts=False) as progress:
                task = progress.add_task(name, total=None)

                def report(done: float, total: float, text: str = "") -> None:
                    progress.update(task, completed=done, total=total, description=f"{name}  {text}")

                yield report
            return
        last = time.monotonic()

        def log(done: float, total: float, text: str = "") -> None:
            nonlocal last
            if time.monotonic() - last >= _LOG_INTERVAL:
                last = time.monotonic()
                share = f"{100 * done / total:3.0f} %" if total else ""
                self.line(f"         {name}  {share}  {text}".rstrip())

        yield log

    def _bar(self, counts: bool = True) -> Progress:
        columns: list[Any] = [SpinnerColumn(), BarColumn(bar_width=30)]
        columns += [MofNCompleteColumn()] if counts else []
        columns += [TimeElapsedColumn(), TextColumn("{task.description}", markup=False)]
        return Progress(*columns, console=self.console, transient=True)

    def head(self, key: str, claims: int) -> None:
        """The head of one paper's table."""
        about = paper(key)
        self.line()
        self.line(f"{about.name} ({key}): {claims} claims", "bold")
        if about.reference:
            self.line(f"{about.title}. {about.reference}", "dim")
        row = "  ".join(f"{title:<{width}}" for title, width in _COLUMNS)
        self.line(f"{row}  what is measured".rstrip(), "dim")

    def verdict(self, record: Record) -> None:
        """One row, as soon as it is known."""
        entry = record.claim
        cells = [
            "holds" if record.holds else "FAILS",
            entry.id.removeprefix(f"{entry.paper}/"),
            measured_text(record.measured, entry.bound),
            bound_text(entry),
            number_text(record.control_measured),
            control_text(record),
            duration(record.seconds),
        ]
        styles = [_style(record.holds), "bold", "", "dim", "", _style(record.control_fails), "dim"]
        row = Text()
        for text, style, (_, width) in zip(cells, styles, _COLUMNS, strict=True):
            row.append(f"{text:<{width}}", style if self.live else "").append("  ")
        row.append(self._fit(entry.metric, row.cell_len))
        self.line(row)
        if not record.good:
            self._failure(record)

    def _failure(self, record: Record) -> None:
        """What a person needs to look into it."""
        for line in (record.error or "").splitlines():
            self.line(f"         {line}", "red")
        self.line(f"         statement: {record.claim.statement} [{record.claim.source}]")
        self.line(f"         control: {record.claim.control}")
        self.line(f"         again: python -m validation {record.claim.id} --seed {record.seed}", "bold")

    def _fit(self, text: str, used: int) -> str:
        """`text` shortened to the rest of a terminal's line; a log's lines may be long."""
        room = self.console.width - used - 1
        if not self.live or len(text) <= room:
            return text
        return text[: room - 1] + "…" if room > 8 else ""

    def listing(self, claims: Sequence[Claim], trainings: Sequence[Experiment] = ()) -> None:
        """Ids, statements, bounds; and the experiments."""
        for key in dict.fromkeys(entry.paper for entry in claims):
            about = paper(key)
            self.line(f"{about.name}. {about.title}. {about.reference}".rstrip(". "), "bold")
            for entry in (entry for entry in claims if entry.paper == key):
                self.line(f"  {entry.id}", "cyan")
                self.line(f"      {entry.statement} [{entry.source}]")
                self.line(f"      {entry.metric} {bound_text(entry)}; control: {entry.control}", "dim")
            for training in (training for training in trainings if training.paper == key):
                self.line(f"  {training.id}", "magenta")
                how = "training of minutes" if training.long else "training"
                self.line(f"      {training.title} [{how}]")
            self.line()


def _style(good: bool) -> str:
    return "green" if good else "bold red"
