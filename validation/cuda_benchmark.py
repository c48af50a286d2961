"""``python -m validation.cuda_benchmark``: what every CUDA kernel costs, and whether it computes the same.

For a machine with an NVIDIA device; without one it says so and stops.  Each kernel is first compared with
`backend="plain"`, array by array.  Then three times are taken of the same call, in turns with their floors:
the kernel alone, between two events of the device; the bytes of all its arguments copied once within the
device, which no kernel that touches each once can beat; and, for relaxations where PyTorch has the device,
the matrix products or convolutions of all steps alone.  The whole call, copies to and from the host
included, stands beside them.  In Numba's simulator only the comparison means anything.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from refsnn.algorithms.relaxation import free_and_nudged
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import BackendUnavailableError, relaxation_kernels, spiking_kernels
from refsnn.kernels.convergent import Relaxing
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.convolution import Convolution

GOOD, BAD, NO_DEVICE = 0, 1, 2
REPEATS, WARM_UPS = 7, 2
# Against plain, for another order of summation and functions that differ in the last place: spiking kernels
# in float32, with the same spikes; relaxations in float64, where maxima are hardly ever equal by rounding.
SPIKING_BOUND, RELAXATION_BOUND = 1e-4, 1e-9
NUDGES = (0.5, -0.5)


@dataclass(frozen=True)
class Sizes:
    """How much work.

    Attributes
    ----------
    steps, neurons, modes : int
        Of the spiking kernels: T, B N and K.
    batch, compared : int
        Samples of a relaxation, and how many of them plain computes too.
    free_steps, nudged_steps : int
        Of a relaxation.
    width : int
        Hidden units of the dense network.
    side, channels : int
        Images, and channels of the first convolution.
    """

    steps: int = 100
    neurons: int = 1 << 17
    modes: int = 4
    batch: int = 512
    compared: int = 2
    free_steps: int = 100
    nudged_steps: int = 20
    width: int = 512
    side: int = 28
    channels: int = 32


TINY = Sizes(5, 7, 2, 2, 2, 3, 2, 4, 8, 2)


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


@dataclass(frozen=True)
class Case:
    """One kernel: `call` takes a backend and gives what it computed, `compare` what is compared of it."""

    name: str
    bound: float
    call: Callable[[str], list[np.ndarray]]
    compare: Callable[[str], list[np.ndarray]]
    products: Callable[[], Callable[[], None] | None] = lambda: None


def spiking_cases(sizes: Sizes) -> Iterator[Case]:
    """The four loops over time, in float32, neurons that fire."""
    rng, shape = np.random.default_rng(0), (sizes.steps, sizes.neurons)
    current = rng.normal(0.3, 0.6, shape).astype(np.float32)
    upstream = rng.normal(size=shape).astype(np.float32)
    basis = np.linalg.qr(rng.normal(size=(sizes.steps, sizes.modes)))[0].T.astype(np.float32)
    row, modes = (sizes.neurons,), sizes.modes

    def zeros(*counts: int) -> np.ndarray:
        return np.zeros((*counts, *row), np.float32)

    def forward(backend: str) -> list[np.ndarray]:
        found = [zeros(), np.empty_like(current), np.empty_like(current)]
        spiking_kernels(backend).forward(SpikingNeuron(), current, *found)
        return found

    charged = forward("plain")[1]

    def backward(backend: str) -> list[np.ndarray]:
        found = [zeros(), np.empty_like(current)]
        spiking_kernels(backend).backward(SpikingNeuron(), charged, upstream, *found, 0)
        return found

    def rate_forward(backend: str) -> list[np.ndarray]:
        found = [zeros(), zeros(), zeros(), zeros(), zeros() + np.float32(np.inf), np.empty_like(current)]
        spiking_kernels(backend).rate_forward(SpikingNeuron(), current, *found)
        return found

    def galerkin_forward(backend: str) -> list[np.ndarray]:
        found = [zeros(), zeros(modes), zeros(), zeros(modes, modes), zeros(modes)]
        found += [zeros() + np.float32(np.inf), np.empty_like(current)]
        spiking_kernels(backend).galerkin_forward(SpikingNeuron(), current, basis, *found)
        return found

    for call in (forward, backward, rate_forward, galerkin_forward):
        yield Case(f"spiking.{call.__name__}", SPIKING_BOUND, call, call)


def relaxation_cases(sizes: Sizes) -> Iterator[Case]:
    """A dense network of either family, and the convolutional one of Ernoult et al. 2019."""
    kernel = 5 if sizes.side >= 20 else 3
    networks: dict[str, ConvergentNetwork] = {
        "dense, energy-based": EnergyBasedNetwork(
            (10, sizes.width, sizes.side**2), activation="hardsigm", clamp=True
        ),
        "dense, prototypical, two hidden layers": PrototypicalNetwork(
            (10, sizes.width, sizes.width, sizes.side**2), activation="sigm", loss_function="cross_entropy"
        ),
        "convolutional": PrototypicalNetwork(
            (10, 2 * sizes.channels, sizes.channels, 1),
            activation="hardsigm",
            convolutions=[
                Convolution(kernel, 0, "max", 2, crop=True),
                Convolution(kernel, 1, "max", 2, True),
            ],
            image=(sizes.side, sizes.side),
        ),
    }
    for name, network in networks.items():
        yield relaxation_case(name, network, sizes)


def relaxation_case(name: str, network: ConvergentNetwork, sizes: Sizes) -> Case:
    """A free phase and two nudged ones in one launch."""
    rng = np.random.default_rng(1)
    parameters = network.initialise(rng, np.float32)
    inputs = rng.random((sizes.batch, *network.shapes[-1])).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[rng.integers(10, size=sizes.batch)]
    steps = sizes.free_steps, sizes.nudged_steps
    problem = network.relaxing(
        parameters, network.static_drive(parameters, inputs), sizes.batch, np.dtype(np.float32)
    )
    force = network.nudge_of(parameters, targets, 0.0, np.dtype(np.float32))

    def call(backend: str) -> list[np.ndarray]:
        state = tuple(network.initial_state(parameters, sizes.batch).values())
        nudges = tuple(force._replace(amount=nudge) for nudge in NUDGES)
        ends = relaxation_kernels(backend).phases(problem, state, *steps, nudges)
        return [*state, *(layer for end in ends for layer in end)]

    def compare(backend: str) -> list[np.ndarray]:
        doubles = {key: array.astype(np.float64) for key, array in parameters.items()}
        few = (array[: sizes.compared].astype(np.float64) for array in (inputs, targets))
        free, ends = free_and_nudged(network, doubles, *few, *steps, NUDGES, backend=backend)
        return [layer for state in (free.state, *(end[-1] for end in ends)) for layer in state.values()]

    total = sizes.free_steps + len(NUDGES) * sizes.nudged_steps
    products = partial(torch_products, problem, total)
    return Case(f"relaxation.phases: {name}", RELAXATION_BOUND, call, compare, products)


def torch_products(problem: Relaxing, steps: int) -> Callable[[], None] | None:
    """The products and correlations of all steps, both ways, by PyTorch on the device; None without."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    layers = [torch.from_numpy(layer).cuda() for layer in problem.drive]
    products = []
    for coupling in problem.couplings:
        weight, feedback = (torch.from_numpy(w).cuda() for w in (coupling.weight, coupling.feedback))
        post, pre = layers[coupling.post], layers[coupling.pre]
        if coupling.weight.ndim == 2:
            products.append(partial(torch.mm, pre.flatten(1), weight.T.contiguous()))
            products.append(partial(torch.mm, post.flatten(1), feedback))
            continue
        correlate = partial(torch.nn.functional.conv2d, padding=coupling.padding)
        adjoint = partial(torch.nn.functional.conv_transpose2d, padding=coupling.padding)
        products.append(partial(correlate, pre, weight))
        products.append(partial(adjoint, correlate(pre, weight), feedback))

    def run() -> None:
        for _ in range(steps):
            for product in products:
                product()
        torch.cuda.synchronize()

    return run


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
    inside: list[float] = []
    moved: list[int] = []
    with kernel_times(inside, moved):
        for _ in range(WARM_UPS):
            case.call("cuda")
        copy, products = copy_on_device(moved[-1]), case.products()
        copy()
        inside.clear()
        calls, copies, floors = [], [], []
        for _ in range(REPEATS):
            calls.append(milliseconds(lambda: case.call("cuda")))
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
    for case in (*spiking_cases(sizes), *relaxation_cases(sizes)):
        rows.append(measure(case, timed=not device.SIMULATED))
    print(table(rows))
    wrong = [row.name for row in rows if not row.error <= row.bound]
    if wrong:
        print(f"Not what plain computes: {', '.join(wrong)}")
    return BAD if wrong else GOOD


if __name__ == "__main__":
    raise SystemExit(main())
