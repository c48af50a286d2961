"""How many single faults are noticed: `python -m validation.mutation [--sample N] [--minutes M]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.stats import beta

from refsnn.files import check_writable, write_whole
from validation.mutation.campaign import (
    ENDLESS,
    LEDGER,
    NOBODY,
    ROOMS,
    TESTS,
    Copy,
    Verdict,
    campaign,
    sources,
)
from validation.mutation.faults import Fault, all_faults, is_fault

ROOT = Path(__file__).resolve().parents[2]
AIM = 0.95


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(prog="python -m validation.mutation", description=__doc__)
    command.add_argument(
        "files", nargs="*", metavar="FILE", help=f"by default all of refsnn/{{{','.join(ROOMS)}}}"
    )
    command.add_argument("--sample", type=int, default=200, metavar="N", help="faults to draw (default: 200)")
    command.add_argument(
        "--minutes", type=float, default=120.0, metavar="M", help="plant none after that (default: 120)"
    )
    command.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw (default: 0)")
    command.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="an empty folder for the copy, to be kept"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write every verdict")
    command.add_argument("--list", action="store_true", help="print the faults that would be planted")
    return command


def drawn(files: Sequence[str], sample: int, seed: int) -> list[Fault]:
    """A sample in random order, each fault as likely as any other."""
    chosen = {name: text for name, text in sources(ROOT).items() if not files or name in files}
    if unknown := set(files) - set(chosen):
        raise ValueError(f"FILE: expected files such as {next(iter(sources(ROOT)))}, got {sorted(unknown)}")
    found = list(all_faults(chosen))
    order = np.random.default_rng(seed).permutation(len(found))
    valid = (found[index] for index in order if is_fault(found[index], chosen[found[index].file]))
    return list(islice(valid, sample))


def interval(found: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    low = beta.ppf(0.025, found, of - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, of - found) if found < of else 1.0
    return float(low), float(high)


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    """Shares, and who was not noticed."""
    counts = Counter(verdict.found_by for verdict in verdicts)
    of = len(verdicts)
    found = of - counts[NOBODY]
    low, high = interval(found, of)
    lines = [
        f"{found} of {of} faults found: {found / of:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}; aim {AIM:.0%})",
        f"  by the ledger {counts[LEDGER]}, by tests {counts[TESTS]}, by not ending {counts[ENDLESS]}",
    ]
    for name, key in (("room", lambda v: v.fault.file.split("/")[1]), ("kind", lambda v: v.fault.kind)):
        for value in sorted({key(verdict) for verdict in verdicts}):
            some = [verdict for verdict in verdicts if key(verdict) == value]
            missed = sum(verdict.found_by == NOBODY for verdict in some)
            lines.append(f"  {name} {value}: {len(some) - missed} of {len(some)}")
    return lines + [f"not found: {v.fault.text}" for v in verdicts if v.found_by == NOBODY]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; exit status 0 if at least 95 % were found, 1 if not, 2 for bad options."""
    options = parser().parse_args(arguments)
    try:
        if options.json is not None:
            check_writable("--json", options.json)
        faults = drawn(options.files, options.sample, options.seed)
    except ValueError as error:
        print(f"validation.mutation: {error}", file=sys.stderr)
        return 2
    if options.list:
        print(*(fault.text for fault in faults), sep="\n")
        return 0
    until = time.monotonic() + 60 * options.minutes
    verdicts: list[Verdict] = []
    with TemporaryDirectory() as temporary:
        copy = Copy(ROOT, options.folder or Path(temporary))
        known = copy.map()
        for verdict in campaign(faults, copy, known, until):
            verdicts.append(verdict)
            who = f" ({verdict.who})" if verdict.who else ""
            print(f"{verdict.found_by:12}{verdict.seconds:6.1f} s  {verdict.fault.text}{who}", flush=True)
            if options.json is not None:
                entries = [asdict(one) for one in verdicts]
                write_whole(options.json, json.dumps(entries, indent=1) + "\n")
    if not verdicts:
        print("no fault was planted: no time, or no file with any", file=sys.stderr)
        return 2
    print(*summary(verdicts), sep="\n")
    return 0 if sum(verdict.found_by != NOBODY for verdict in verdicts) >= AIM * len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
