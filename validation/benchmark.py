"""``python -m validation.benchmark``: what one spiking layer costs, in units of what it cannot do without,
and what a step of equilibrium propagation does.

The work is that of `validation.workload`.  A time in milliseconds says more about the machine than about
the code, so the figure is a ratio: forward and backward of the layer over the three matrix products alone,
by the same BLAS, on one thread, in process CPU time, the runs taken in turns.  Memory is counted in arrays
of T x B x N float32 numbers.  Nothing is timed before it was found to compute the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numba
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from threadpoolctl import threadpool_info

import refsnn
from refsnn.files import check_writable, plain, write_whole
from validation import (
    adaptive_benchmark,
    attentive_benchmark,
    convolutional_benchmark,
    convolutional_workload,
    equilibrium_benchmark,
    equilibrium_workload,
    frameworks,
    manifold_benchmark,
    workload,
)
from validation.convolutional_benchmark import Line
from validation.equilibrium_benchmark import EQUILIBRIUM_AIM, Steps
from validation.timing import CPU, FLOOR, WARM_UPS, Run, one_thread, peak_memory, take_turns
from validation.workload import Difference, Floor, Outcome, Workload, difference, run_layer

LEAST_REPEATS = 7
RATIO_AIM, MEMORY_AIM = 1.05, 2.75
PLAIN = "refsnn, plain"
GOOD, BAD = 0, 1
COUNTED = (
    "memory: the highest total, at any moment of one forward and backward, of what NumPy (tracemalloc) or "
    "PyTorch (its profiler) allocated beyond the given x, W and dL/ds; the results are in it, a BLAS's own "
    "buffers are not"
)


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    name : str
        Who did the work.
    refused : str or None
        Why it was not timed.
    difference : Difference or None
        From the reference, `backend="plain"` in float32; None where there is nothing to compare.
    milliseconds : list of float
        Process CPU time of each run.
    memory : float or None
        Peak in units of T B N 4 bytes.
    """

    name: str
    refused: str | None = None
    difference: Difference | None = None
    milliseconds: list[float] = field(default_factory=list)
    memory: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)


def admit(name: str, run: Callable[[], Outcome], reference: Outcome) -> Row:
    """Run once and compare; the row says whether it may be timed, and if not why."""
    apart = difference(run(), reference)
    return Row(name, refused=apart.complaint(), difference=apart)


def own_checks(work: Workload) -> tuple[Outcome, dict[str, Difference]]:
    """The reference outcome (plain, float32), how far cpu is from it, and both from a run in float64.

    Raises
    ------
    VacuousError
        If the network is silent.
    """
    reference = run_layer(work, "plain")
    exact = run_layer(work.astype(np.float64), "plain")
    cpu = run_layer(work, "cpu")
    return reference, {
        CPU: difference(cpu, reference),
        f"{CPU}, from float64": difference(cpu, exact),
        f"{PLAIN}, from float64": difference(reference, exact),
    }


def measure(
    work: Workload,
    repeats: int,
    with_frameworks: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Difference], list[Row]]:
    """The checks, then the times and the memory.

    Parameters
    ----------
    work : Workload
        What is given.
    repeats : int
        Rounds that count.
    with_frameworks : bool
        Whether PyTorch and its libraries take part, where they are installed.
    progress : callable
        Called after each round.

    Returns
    -------
    checks : dict of str to Difference
        Of refsnn with itself.
    rows : list of Row
        Nothing is timed where one of the checks complains.
    """
    reference, checks = own_checks(work)
    rows = [Row(FLOOR), Row(CPU, difference=checks[CPU]), Row(PLAIN)]  # plain is the reference
    runs: dict[str, Run] = {
        FLOOR: Floor(work),
        CPU: lambda: run_layer(work, "cpu"),
        PLAIN: lambda: run_layer(work, "plain"),
    }
    if any(check.complaint() for check in checks.values()):
        return checks, rows
    peaks: dict[str, Callable[[Run], int]] = {CPU: peak_memory, PLAIN: peak_memory}
    if with_frameworks:
        for adapter in frameworks.ADAPTERS:
            row, run = _framework(adapter, work, reference)
            rows.append(row)
            runs[row.name], peaks[row.name] = run, frameworks.peak_memory
        if frameworks.missing(frameworks.PRODUCTS) is None:
            rows.append(Row(frameworks.PRODUCTS.name))
            runs[frameworks.PRODUCTS.name] = frameworks.PRODUCTS.build(work)

    admitted = {row.name: runs[row.name] for row in rows if row.refused is None}
    times = take_turns(admitted, repeats, progress=progress)
    for row in rows:
        row.milliseconds = times.get(row.name, [])
        if row.refused is None and row.name in peaks:
            row.memory = peaks[row.name](runs[row.name]) / work.unit
    return checks, rows


def _framework(adapter: frameworks.Adapter, work: Workload, reference: Outcome) -> tuple[Row, Run]:
    """A framework's row, and its work where it is admitted."""
    reason = frameworks.missing(adapter)
    if reason is not None:
        return Row(adapter.name, refused=reason), lambda: None
    name = f"{adapter.name} ({frameworks.version(adapter)})"
    try:
        run = adapter.build(work)
        return admit(name, run, reference), run
    except Exception as error:
        return Row(name, refused=f"{type(error).__name__}: {error}"), lambda: None


def table(rows: Sequence[Row]) -> Table:
    """The rows, for a terminal or a log."""
    result = Table()
    result.add_column("")
    for title in ("median ms", "least ms", "ratio to the products", "memory", "dL/dW, dL/dx apart"):
        result.add_column(title, justify="right")
    result.add_column("")
    floor = rows[0].median
    for row in rows:
        apart = row.difference
        gradients = f"{apart.weight:.0e}, {apart.inputs:.0e}" if apart is not None else "–"
        if row.refused is not None:
            result.add_row(row.name, "–", "–", "–", "–", gradients, f"not timed: {row.refused}")
            continue
        result.add_row(
            row.name,
            f"{row.median:.1f}",
            f"{min(row.milliseconds):.1f}",
            f"{row.median / floor:.3f}",
            "–" if row.memory is None else f"{row.memory:.2f}",
            gradients,
            f"aim: ratio ≤ {RATIO_AIM}, memory ≤ {MEMORY_AIM}" if row.name == CPU else "",
        )
    return result


def record(
    work: Workload,
    seed: int,
    checks: Mapping[str, Difference],
    rows: Sequence[Row],
    equilibrium: Sequence[Steps] = (),
    stack: Sequence[Line] = (),
    neurons: Sequence[adaptive_benchmark.Line] = (),
    attention: Sequence[attentive_benchmark.Line] = (),
    graph: Sequence[manifold_benchmark.Line] = (),
    graph_peak: float | None = None,
) -> dict:
    """All of it for `--json`; no figure about the machine beyond the BLAS and its kernels."""
    libraries = [
        {key: entry.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
        for entry in threadpool_info()
        if entry["user_api"] == "blas"
    ]
    steps, batch, width = work.inputs.shape
    return {
        "workload": {"steps": steps, "batch": batch, "width": width, "seed": seed, "unit_bytes": work.unit},
        "versions": {"refsnn": refsnn.__version__, "numpy": np.__version__, "numba": numba.__version__},
        "blas": libraries,
        "counted": COUNTED,
        "aims": {"ratio": RATIO_AIM, "memory": MEMORY_AIM, "equilibrium_ratio": EQUILIBRIUM_AIM}
        | {f"convolutional stack, {name}": aim for name, aim in convolutional_workload.AIMS.items()}
        | {f"adaptive neurons, {name}": aim for name, aim in adaptive_benchmark.AIMS.items()}
        | {"sparse attention, exponent of backward time": attentive_benchmark.EXPONENT_AIM}
        | {f"graph, {name}": aim for name, aim in manifold_benchmark.AIMS.items()}
        | {"graph, DvS over DvM at the largest T, at least": manifold_benchmark.FASTER_AIM},
        "checks": {name: check._asdict() | {"refused": check.complaint()} for name, check in checks.items()},
        "rows": [
            asdict(row)
            | {
                "difference": None if row.difference is None else row.difference._asdict(),
                "median_ms": row.median if row.milliseconds else None,
                "ratio": row.median / rows[0].median if row.milliseconds else None,
            }
            for row in rows
        ],
        "equilibrium_propagation": [
            asdict(steps) | {"ratio": steps.ratio if steps.milliseconds else None} for steps in equilibrium
        ],
        "convolutional_stack": [asdict(line) for line in stack],
        "adaptive_neurons": [asdict(line) for line in neurons],
        "sparse_attention": [asdict(line) for line in attention],
        "graph": [asdict(line) for line in graph],
        "large_graph_peak_bytes": graph_peak,
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m validation.benchmark",
        description="Time a spiking layer, a convolutional stack under every rule, steps of equilibrium "
        "propagation and adaptive neurons against what they cannot do without, after checking what they do; "
        "and sparse attention and spiking graph networks against the length of the sequence.",
        epilog="Exit status: 0; 1 if refsnn's backends or dtypes disagree; 2 for a wrong command line.",
    )
    command.add_argument(
        "--frameworks", action="store_true", help="PyTorch, snnTorch, SpikingJelly too, where installed"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write checks, times and memory")
    command.add_argument(
        "--repeats",
        type=int,
        default=11,
        metavar="N",
        help=f"rounds that count, at least {LEAST_REPEATS} (11)",
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="draw the workload with this seed (0)"
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns
    -------
    int
        The exit status.
    """
    command = parser()
    options = command.parse_args(arguments)
    if options.repeats < LEAST_REPEATS:
        command.error(f"--repeats: expected at least {LEAST_REPEATS}, got {options.repeats}")
    if options.seed < 0:
        command.error(f"--seed: expected an integer of at least 0, got {options.seed}")
    try:
        if options.json is not None:
            check_writable("--json", options.json)
    except ValueError as error:
        command.error(str(error))

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=160)
    work = workload.draw(options.seed)
    with one_thread(), Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        cases = equilibrium_workload.CASES
        rounds = (3 + len(cases) + len(convolutional_benchmark.STEPS)) * (WARM_UPS + options.repeats)
        task = bar.add_task("rounds", total=rounds + attentive_benchmark.ROUNDS)

        def progress() -> None:
            bar.advance(task)

        checks, rows = measure(work, options.repeats, options.frameworks, progress)
        equilibrium = equilibrium_benchmark.measure(cases, options.seed, options.repeats, progress)
        stack = convolutional_benchmark.measure(options.seed, options.repeats, progress)
        neurons = adaptive_benchmark.measure(options.seed, options.repeats, progress)
        attention = attentive_benchmark.measure(options.seed, progress)
        graph = manifold_benchmark.measure(options.seed, options.repeats, progress)
        peak = manifold_benchmark.large_graph()
        entries = record(
            work, options.seed, checks, rows, equilibrium, stack, neurons, attention, graph, peak
        )
    _print(console, work, checks, rows)
    console.print(convolutional_benchmark.table(stack))
    console.print(equilibrium_benchmark.table(equilibrium))
    console.print(adaptive_benchmark.table(neurons))
    console.print(attentive_benchmark.table(attention))
    console.print(manifold_benchmark.table(graph, peak))
    if options.json is not None:
        write_whole(options.json, json.dumps(plain(entries), indent=2, allow_nan=False) + "\n")
        console.print(f"Figures: {options.json}")
    refused = [check.complaint() for check in checks.values()]
    refused += [line.refused for line in (*equilibrium, *neurons)]
    return BAD if any(refused) else GOOD


def _print(console: Console, work: Workload, checks: Mapping[str, Difference], rows: Sequence[Row]) -> None:
    steps, batch, width = work.inputs.shape
    console.print(f"T = {steps}, B = {batch}, N = {width}; one thread; memory in units of T B N 4 bytes")
    for name, check in checks.items():
        text = check.complaint() or (
            f"equal spikes in all {check.places} places, "
            f"dL/dW within {check.weight:.1e}, dL/dx within {check.inputs:.1e}"
        )
        console.print(f"{name}: {text}", style="bold red" if check.complaint() else None)
    if not rows[0].milliseconds:
        console.print("Nothing was timed: it does not compute the same.", style="bold red")
        return
    console.print(table(rows))
    console.print(COUNTED)


if __name__ == "__main__":
    raise SystemExit(main())
