"""The main job: every claim measured, the experiments run, the report written."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refsnn.files import check_folder, check_writable, write_whole
from validation.experiments import Allowance, Experiment, experiments
from validation.files import records_json
from validation.ledger import Claim, Record, check
from validation.running import run_experiments
from validation.terminal import Printer
from validation.wording import duration

REPORT = "validation-report.html"
GOOD, BAD, USAGE, INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m validation",
        description=(
            "Measure the papers' claims against independent oracles.  Without names: every claim, the quick "
            f"experiments, and the report {REPORT}.  With names: only these claims."
        ),
        epilog=(
            "Exit status: 0 if every claim holds, every control fails as it should and nothing else went "
            "wrong; 1 if not; 2 for a command line that makes no sense.  The inputs are drawn afresh in each "
            "run; the seed is printed, and --seed draws the same again, for one claim as for all."
        ),
    )
    command.add_argument(
        "names", nargs="*", metavar="NAME", help="a paper, one of its claims, or an experiment: paper/id"
    )
    command.add_argument("--list", action="store_true", help="print ids, statements and bounds, and stop")
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write the records as a list of JSON objects"
    )
    command.add_argument(
        "--report", type=Path, metavar="FILE", help=f"the HTML report (default without names: {REPORT})"
    )
    command.add_argument("--seed", type=_seed, metavar="N", help="draw the inputs of the run with this seed")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--experiments", action="store_true", help="run the long trainings too (minutes)")
    which.add_argument("--claims-only", action="store_true", help="run no experiments")
    command.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="keep the trainings that take longer than a run in this folder, and go on from what is there "
        "(default: nothing is kept); with --experiments",
    )
    command.add_argument(
        "--budget",
        type=_minutes,
        metavar="MINUTES",
        help="how long each experiment of such trainings, the MNIST table for one, may train in this run "
        f"(default: {Allowance().seconds / 60:g}); the report says how far they are; with --experiments",
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job.

    Returns
    -------
    int
        The exit status.
    """
    command = parser()
    options = command.parse_args(arguments)
    from validation.catalogue import select  # loads every claim: not before the command line is understood

    try:
        options.named = named_experiments(options.names)
        rest = [name for name in options.names if name not in {entry.id for entry in options.named}]
        claims = select(rest) if rest or not options.named else []
        if options.report is None and not options.names:
            options.report = Path(REPORT)
        for option in ("checkpoints", "budget"):
            if getattr(options, option) is not None and not (options.experiments or options.named):
                raise ValueError(
                    f"--{option}: expected --experiments with it, got none; only they train for long"
                )
        if options.checkpoints is not None:
            check_folder("--checkpoints", options.checkpoints)
        for option in ("json", "report"):
            if getattr(options, option) is not None:
                check_writable(f"--{option}", getattr(options, option))
    except ValueError as error:
        command.error(str(error))  # leaves with status 2

    printer = Printer()
    try:
        if options.list:
            printer.listing(claims, experiments())
            return GOOD
        return Run(claims, options, printer).work()
    except KeyboardInterrupt:
        printer.line()
        printer.line(
            "Interrupted.  Files that this run had not finished are as they were before it.", "bold red"
        )
        return INTERRUPTED


class Run:
    """One run of the main job."""

    def __init__(self, claims: list[Claim], options: argparse.Namespace, printer: Printer) -> None:
        self.printer = printer
        self.claims = claims
        self.options = options
        self.seed: int = fresh_seed() if options.seed is None else options.seed
        self.papers = list(dict.fromkeys(entry.paper for entry in claims))
        self.started = time.perf_counter()

    def work(self) -> int:
        """Claims, experiments, files; the exit status."""
        line = self.printer.line
        line(f"{len(self.claims)} claims, seed {self.seed} (again: --seed {self.seed})")
        records = self.measure()
        bad = [record for record in records if not record.good]
        if self.options.json is not None:  # at once: a trouble with an experiment must not cost the figures
            write_whole(self.options.json, records_json(records))
            line(f"Records: {self.options.json}")

        outcomes = run_experiments(self.experiments(), self.printer, self.allowance())
        trouble = [f"{entry.experiment.id}: {entry.error}" for entry in outcomes if entry.error]

        if self.options.report is not None:
            from validation.report import write_report

            with self.printer.bar(1) as advance:
                advance(0, "drawing the report")
                spent = time.perf_counter() - self.started
                trouble += write_report(self.options.report, records, outcomes, self.seed, spent)
            line(f"Report: {self.options.report}")
        return self.close(records, bad, trouble)

    def measure(self) -> list[Record]:
        """Every claim, a row printed with each verdict."""
        records: list[Record] = []
        with self.printer.bar(len(self.claims)) as advance:
            for key in self.papers:
                group = [entry for entry in self.claims if entry.paper == key]
                self.printer.head(key, len(group))
                for entry in group:
                    advance(len(records), entry.id)
                    records.append(check(entry, self.seed))
                    self.printer.verdict(records[-1])
        self.printer.line()
        return records

    def experiments(self) -> list[Experiment]:
        """The experiments that this run asks for."""
        named = self.options.named
        wanted = self.options.experiments or not (self.options.names or self.options.claims_only)
        if not wanted:
            return list(named)
        return [
            entry
            for entry in experiments()
            if entry in named
            or (
                (self.options.experiments or not entry.long)
                and (entry.paper in self.papers or not self.options.names)
            )
        ]

    def allowance(self) -> Allowance:
        """What the command line grants a resumable experiment."""
        minutes, folder = self.options.budget, self.options.checkpoints
        return Allowance(folder) if minutes is None else Allowance(folder, 60 * minutes)

    def close(self, records: list[Record], bad: list[Record], trouble: list[str]) -> int:
        """The last lines, and the exit status."""
        line = self.printer.line
        holding = sum(record.holds for record in records)
        failing = sum(record.control_fails for record in records)
        spent = duration(time.perf_counter() - self.started)
        for text in trouble:
            line(f"Went wrong: {text}", "bold red")
        if bad:
            line(f"{len(bad)} of {len(records)} claims do not stand:", "bold red")
            for record in bad:
                why = "its control does not fail" if record.holds else "it does not hold"
                line(f"  {record.claim.id}: {why}")
            names = " ".join(record.claim.id for record in bad)
            line(f"Again with the same inputs: python -m validation {names} --seed {self.seed}", "bold")
        line(
            f"{holding} of {len(records)} claims hold, {failing} of {len(records)} controls fail as they "
            f"should; seed {self.seed}; {spent}",
            "bold red" if bad or trouble else "bold green",
        )
        return BAD if bad or trouble else GOOD


def named_experiments(names: Sequence[str]) -> list[Experiment]:
    """The experiments that are asked for by their ids."""
    if not any("/" in name for name in names):
        return []
    return [entry for entry in experiments() if entry.id in names]


def fresh_seed() -> int:
    """A new seed from the system's entropy, short enough to be typed."""
    return int(np.random.SeedSequence().generate_state(1)[0]) % 10**9


def _seed(text: str) -> int:
    """The argument of --seed."""
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if seed < 0:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 0, got {text!r}")
    return seed


def _minutes(text: str) -> float:
    """The argument of --budget."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of minutes above 0, got {text!r}")
    return minutes
