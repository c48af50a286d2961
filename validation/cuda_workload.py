"""What `cuda_benchmark` runs of spiking neurons, windows and relaxations; recurrent layers are elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from refsnn.algorithms.relaxation import free_and_nudged
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import relaxation_kernels, spiking_kernels, window_kernels
from refsnn.kernels.convergent import Relaxing
from refsnn.kernels.sliding import positions
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.convolution import Convolution

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
    units, inputs : int
        Of a recurrent layer.
    images : int
        Whose windows are gathered and pooled.
    slots, readers, memory_width, survivors : int
        Of sparse attention: N, samples, units of a memory and of a score, k_top.
    nodes, dimension : int
        Of a graph on a hyperboloid.
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
    units: int = 256
    inputs: int = 64
    images: int = 128
    slots: int = 1000
    readers: int = 64
    memory_width: int = 128
    survivors: int = 10
    nodes: int = 1 << 16
    dimension: int = 32


TINY = Sizes(5, 7, 2, 2, 2, 3, 2, 4, 8, 2, 5, 3, 1, 9, 2, 4, 3, 5, 2)


@dataclass(frozen=True)
class Case:
    """One kernel: `call` takes a backend and gives what it computed, `compare` what is compared of it."""

    name: str
    bound: float
    call: Callable[[str], list[np.ndarray]]
    compare: Callable[[str], list[np.ndarray]]
    products: Callable[[], Callable[[], None] | None] = lambda: None


def kernel_case(
    kernels: Callable[[str], ModuleType],
    name: str,
    bound: float,
    read: Sequence[Any],
    updated: Sequence[np.ndarray] = (),
    filled: Sequence[np.ndarray] = (),
    **others: Any,
) -> Case:
    """A function of the module `kernels(backend)`: what it reads, what it updates, and like what it fills."""

    def call(backend: str) -> list[np.ndarray]:
        written = [*(array.copy() for array in updated), *map(np.zeros_like, filled)]
        loss = getattr(kernels(backend), name)(*read, *written, **others)
        return written if loss is None else [*written, np.array([loss], np.float32)]

    room = kernels("plain").__name__.rsplit(".")[-1]
    return Case(f"{room}.{name}", bound, call, call)


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

    def count_forward(backend: str) -> list[np.ndarray]:
        found = [zeros(), zeros(), zeros() + np.float32(np.inf)]
        spiking_kernels(backend).count_forward(SpikingNeuron(), current[0], len(current), *found)
        return found

    for call in (forward, backward, count_forward, rate_forward, galerkin_forward):
        yield Case(f"spiking.{call.__name__}", SPIKING_BOUND, call, call)


def window_cases(sizes: Sizes) -> Iterator[Case]:
    """Patches of 3 x 3 pixels at every pixel, and pooling at every second one; the same bits as plain."""
    rng, side = np.random.default_rng(2), sizes.side

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    images = drawn(sizes.images, sizes.channels, side, side)
    columns = drawn(sizes.channels * 9, sizes.images, side**2)
    places = positions(side, 3, 2, 1)
    pooled = drawn(sizes.images, sizes.channels, places, places)
    record = np.zeros(pooled.shape, np.int32)
    window_kernels("plain").max_pool(images, 3, 2, 1, np.empty_like(pooled), record)

    case = partial(kernel_case, window_kernels, bound=0.0)
    yield case("gather", read=(images, 3, 1, 1), filled=[columns])
    yield case("scatter", read=(columns, 3, 1, 1), filled=[images])
    yield case("max_pool", read=(images, 3, 2, 1), filled=[pooled, record])
    yield case("max_pool_adjoint", read=(pooled, record), filled=[images])
    yield case("average_pool", read=(images, 3, 2, 1), filled=[pooled])
    yield case("average_pool_adjoint", read=(pooled, 3, 2, 1), filled=[images])


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
