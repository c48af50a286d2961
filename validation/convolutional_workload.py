"""A convolutional spiking stack as a piece of work, and the products and gathers that it has to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.result import GradientResult
from refsnn.algorithms.sltt import sltt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import window_kernels
from refsnn.models.builders.vgg import vgg
from refsnn.models.contract import Parameters
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.workspace import Workspace
from validation.ledger import require

PLAN = (32, 64, "pool", 64, 64, "pool", 128)
CLASSES, IMAGE = 10, (3, 32, 32)
COLUMNS = 256  # of patches that stand side by side, as in the operator: more only leave the cache

# who is timed against whom
AGAINST = {
    "BPTT": "products and gathers alone",
    "rate-based, multi-step": "BPTT",
    "rate-based, single-step": "BPTT",
    "OTTT": "BPTT, loss at each step",
    "SLTT": "BPTT, loss at each step",
}
AIMS = {"BPTT": 1.3, "rate-based, multi-step": 0.5, "rate-based, single-step": 0.5, "OTTT": 1.2}


@dataclass(frozen=True)
class Stack:
    """A network with parameters, input and labels.

    Attributes
    ----------
    graph : SpikingGraph
        With a loss of the mean read-out.
    parameters : dict of ndarray
        float32.
    inputs : ndarray, (T, B, C, H, W)
        Fresh at each step.
    targets : ndarray, (B,)
        Labels.
    """

    graph: SpikingGraph
    parameters: Parameters
    inputs: np.ndarray
    targets: np.ndarray

    def runs(self) -> dict[str, Callable[[], GradientResult]]:
        """The algorithms by name; those that can keep their memory from call to call, as in a training."""
        kept = {"workspace": Workspace()}
        online = self.graph.with_loss(loss_over="each_step")
        arguments = self.parameters, self.inputs, self.targets
        return {
            "BPTT": lambda: bptt(self.graph, *arguments, **kept),
            "rate-based, multi-step": lambda: rate_backpropagation(self.graph, *arguments, **kept),
            "rate-based, single-step": lambda: rate_backpropagation(
                self.graph, *arguments, mode="single_step", **kept
            ),
            "BPTT, loss at each step": lambda: bptt(online, *arguments, **kept),
            "OTTT": lambda: ottt(online, *arguments),
            "SLTT": lambda: sltt(online, *arguments),
        }


def draw(
    seed: int,
    steps: int = 16,
    batch: int = 8,
    plan: tuple[int | str, ...] = PLAN,
    image: tuple[int, int, int] = IMAGE,
) -> Stack:
    """Draw a live stack in float32.

    Parameters
    ----------
    seed : int
        The same seed draws the same work.
    steps, batch : int
        T and B.
    plan, image : tuple
        Channels and pools; shape of an image.

    Returns
    -------
    Stack

    Raises
    ------
    VacuousError
        If a layer is silent.
    """
    rng = np.random.default_rng(seed)
    graph = vgg(plan, CLASSES, image, neuron=SpikingNeuron(leak=0.5))
    parameters = graph.initialise(rng, np.float32, gain=2.5, bias_mean=0.3)
    inputs = rng.random((steps, batch, *image), np.float32)
    stack = Stack(graph, parameters, inputs, rng.integers(CLASSES, size=batch))
    rates = bptt(graph, parameters, inputs, stack.targets).diagnostics.spike_rates
    require(all(0.01 < rate < 0.9 for rate in rates.values()), f"a layer is dead: {rates}")
    return stack


def products_and_gathers_alone(stack: Stack) -> Callable[[], None]:
    """What any convolution by patches has to do, forward and backward, into memory that is there already.

    Forward the patches of what it reads and W times them; backward the patches of the error and its product
    with the turned W (but for the first convolution, which sends nothing down), once more the patches of what
    it read and their product with the error.
    """
    steps, batch = stack.inputs.shape[:2]
    works = []
    for node, operator, shape in stack.graph.operators():
        if isinstance(operator, Convolution2d):
            first = node.inputs[0] == "input"
            works.append(_convolution(operator, shape, steps * batch, with_transpose=not first))

    def run() -> None:
        for work in works:
            work()

    return run


def _convolution(
    operator: Convolution2d, shape: tuple[int, ...], samples: int, with_transpose: bool
) -> Callable[[], None]:
    channels, height, width = shape
    outs, area, places = operator.channels, operator.kernel**2, height * width
    at_once = min(max(1, COLUMNS // places), samples)
    rng = np.random.default_rng(0)

    def random(*size: int) -> np.ndarray:
        return rng.standard_normal(size, np.float32)

    images, errors = random(at_once, *shape), random(at_once, outs, height, width)
    patches, error_patches = random(channels * area, at_once, places), random(outs * area, at_once, places)
    weight, turned = random(outs, channels * area), random(channels, outs * area)
    maps, moved = random(outs, at_once * places), random(channels, at_once * places)
    gradient = np.empty_like(weight)
    gather: Any = window_kernels("cpu").gather
    window = operator.kernel, operator.stride, operator.padding

    def run() -> None:
        for _ in range(samples // at_once):
            gather(images, *window, patches)
            np.matmul(weight, patches.reshape(len(patches), -1), out=maps)
            if with_transpose:
                gather(errors, *window, error_patches)
                np.matmul(turned, error_patches.reshape(len(error_patches), -1), out=moved)
            gather(images, *window, patches)
            np.matmul(maps, patches.reshape(len(patches), -1).T, out=gradient)

    return run
