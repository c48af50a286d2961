"""``python -m validation.cuda_benchmark``: what every CUDA kernel costs, and whether it computes the same.

For a machine with an NVIDIA device; without one it says so and stops.  Each kernel is first compared with
`backend="plain"`, array by array.  Then three times are taken of the same call, in turns with their floors:
the kernel alone, between two events of the device (summed, where a call launches several); the bytes of all
its arguments copied once within the device, which no kernel that touches each once can beat; and, for
relaxations where PyTorch has the device, the matrix products or convolutions of all steps alone.  The whole
call, copies to and from the host included, stands beside them.  In Numba's simulator only the comparison
means anything.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.kernels import BackendUnavailableError, spiking_kernels
from validation.cuda_adaptive_workload import adaptive_cases
from validation.cuda_attention_workload import attention_cases
from validation.cuda_manifold_workload import manifold_cases
from validation.cuda_recurrent_workload import cell_cases, loss_cases, recurrent_spiking_cases
from validation.cuda_workload import (
    TINY,
    Case,
    Sizes,
    relaxation_cases,
    spiking_cases,
    window_cases,
)

GOOD, BAD, NO_DEVICE = 0, 1, 2
REPEATS, WARM_UPS = 7, 2
CASES = (
    spiking_cases,
    cell_cases,
    loss_cases,
    recurrent_spiking_cases,
    adaptive_cases,
    attention_cases,
    manifold_cases,
    window_cases,
    relaxation_cases,
)


@dataclass
class Row:
    """One kernel: how far from plain, and milliseconds (medians; None where nothing could be timed)."""

    name: str
    error: float
    bound: float
    kernel: float | None = None
    call: float | None = None
    copied: float | None = None
    products: float | None = None


def largest_error(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Over all arrays, each in units of its own largest entry; infinite where one is dead or of another kind.

    Examples
    --------
    >>> largest_error([np.array([1.0, 2.5])], [np.array([1.0, 2.0])])
    0.25
    """
    errors = []
    for one, other in zip(found, expected, strict=True):
        alive = one.dtype == other.dtype and one.shape == other.shape and np.abs(other).max() > 0
        difference = np.abs(one - other).max() / np.abs(other).max() if alive else np.inf
        errors.append(float(difference) if np.isfinite(difference) else np.inf)
    return max(errors)


@contextmanager
def kernel_times(found: list[float], moved: list[int]) -> Iterator[None]:
    """Time what the device does between copies: milliseconds a launch, and the bytes of its arguments."""
    from refsnn.kernels.cuda import device

    launch = device.run

    def timed(kernel: Any, blocks: int, threads: int, shared_bytes: int, arguments: list[Any]) -> None:
        start, end = device.cuda.event(), device.cuda.event()
        start.record()
        launch(kernel, blocks, threads, shared_bytes, arguments)
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end))
        moved.append(sum(argument.nbytes for argument in arguments if hasattr(argument, "copy_to_host")))

    device.run = timed
    try:
        yield
    finally:
        device.run = launch


def copy_on_device(size: int) -> Callable[[], None]:
    """Read half of so many bytes, and write the other half, once."""
    from refsnn.kernels.cuda import device

    half = np.zeros(max(size // 8, 1), np.float32)
    source, sink = device.cuda.to_device(half), device.cuda.to_device(half)

    def run() -> None:
        sink.copy_to_device(source)
        device.cuda.synchronize()

    return run


def milliseconds(work: Callable[[], Any]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def measure(case: Case, timed: bool) -> Row:
    """Compare a kernel with plain, and time it with its floors if `timed`.

    Returns
    -------
    Row
    """
    error = largest_error(case.compare("cuda"), case.compare("plain"))
    row = Row(case.name, error, case.bound)
    if not timed:
        return row
    launches: list[float] = []
    moved: list[int] = []
    with kernel_times(launches, moved):
        for _ in range(WARM_UPS):
            case.call("cuda")
        copy, products = copy_on_device(sum(moved) // WARM_UPS), case.products()
        copy()
        inside, calls, copies, floors = [], [], [], []
        for _ in range(REPEATS):
            launches.clear()
            calls.append(milliseconds(lambda: case.call("cuda")))
            inside.append(sum(launches))
            copies.append(milliseconds(copy))
            if products is not None:
                floors.append(milliseconds(products))
    row.kernel, row.call, row.copied = map(statistics.median, (inside, calls, copies))
    row.products = statistics.median(floors) if floors else None
    return row


def table(rows: list[Row]) -> str:
    """The rows as text; ratios are the kernel alone over its floor.

    Examples
    --------
    >>> print(table([Row("spiking.forward", 1e-7, 1e-4, 0.5, 3.0, 0.25)]).splitlines()[1].split()[-1])
    2.0x
    """
    lines = [f"{'kernel':58} {'error':>8} {'kernel':>9} {'call':>9} {'copy':>9} {'products':>9}  over floor"]
    for row in rows:
        times = [
            f"{value:9.3f}" if value is not None else f"{'-':>9}"
            for value in (row.kernel, row.call, row.copied, row.products)
        ]
        floor = row.products or row.copied
        ratio = f"{row.kernel / floor:.1f}x" if row.kernel is not None and floor else "-"
        lines.append(f"{row.name:58} {row.error:8.1e} {' '.join(times)}  {ratio}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run it.

    Parameters
    ----------
    arguments : list of str, optional
        Of the command line.

    Returns
    -------
    int
        0; 1 if a kernel disagrees with plain; 2 without a device.
    """
    parser = argparse.ArgumentParser(prog="python -m validation.cuda_benchmark", description=__doc__)
    parser.add_argument(
        "--tiny", action="store_true", help="sizes for a try; the simulator always takes them"
    )
    asked = parser.parse_args(arguments)
    try:
        spiking_kernels("cuda")
    except BackendUnavailableError as error:
        print(f"No CUDA device here, nothing was measured.\n{error}")
        return NO_DEVICE
    from refsnn.kernels.cuda import device

    if device.SIMULATED:
        print("No CUDA device here: Numba's simulator runs the kernels as Python. Nothing is timed.")
    else:
        print(
            f"On {device.cuda.get_current_device().name.decode()}; milliseconds, medians of {REPEATS} runs."
        )
    sizes = TINY if asked.tiny or device.SIMULATED else Sizes()
    rows = []
    for cases in CASES:
        rows += [measure(case, timed=not device.SIMULATED) for case in cases(sizes)]
    print(table(rows))
    wrong = [row.name for row in rows if not row.error <= row.bound]
    if wrong:
        print(f"Not what plain computes: {', '.join(wrong)}")
    return BAD if wrong else GOOD


if __name__ == "__main__":
    raise SystemExit(main())
