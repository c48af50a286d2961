"""N1-N3: masks drawn anew, states kept in lower precision or by reference: the equality with BPTT must fail.

Each is a claim of its own: it holds when the equality fails as it should.  Its control is the same run without the
mistake, or a setting in which the test would not see it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent import PrototypicalNetwork
from refsnn.models.recurrent import TanhNetwork
from refsnn.models.working_core import Block, WorkingCore
from validation.claims.memory_efficient_bptt.problems import (
    CELLS,
    Problem,
    cell,
    networks_of_the_contract,
    recurrent,
)
from validation.claims.memory_efficient_bptt.running import (
    core_of,
    differing,
    execute,
    leaves_in,
    leaves_of,
    run,
    states,
    stored,
    worst,
)
from validation.ledger import Measured, claim, require

# -- N1 ---------------------------------------------------------------------------------------------------


class DrawnMasks:
    """Dropout masks from a shared generator: drawn again at every forward step, or remembered from the first."""

    def __init__(self, seed: int, probability: float, remembers: bool) -> None:
        self.rng, self.probability, self.remembers = np.random.default_rng(seed), probability, remembers
        self.drawn: dict[tuple[int, int], np.ndarray] = {}
        self.forward = True

    def fill(self, mask: np.ndarray, layer: int, step: int) -> None:
        if self.forward and not (self.remembers and (layer, step) in self.drawn):
            kept = self.rng.random(mask.shape) >= self.probability
            self.drawn[layer, step] = kept / (1 - self.probability)
        np.copyto(mask, self.drawn[layer, step])


def core_with_masks(problem: Problem, masks: DrawnMasks) -> WorkingCore:
    core = core_of(problem)
    core._masks = masks  # type: ignore[attr-defined]
    pull = core.backward

    def backward(step: int) -> None:  # with the mask of the tape
        masks.forward = False
        pull(step)
        masks.forward = True

    core.backward = backward  # type: ignore[method-assign]
    return core


@claim(
    "memory_efficient_bptt/N1",
    r"A dropout mask drawn anew whenever a step is run again gives a gradient of nothing: the error is of order 1.",
    source="specification, N1",
    metric=r"largest error over the largest entry of the leaf, tanh, $T=20$, $p=0.3$, $m=3$; truth: the masks of the first sweep remembered",
    relation=">=",
    bound=0.1,
    control="masks that depend on a seed and the step",
)
def masks_redrawn(rng: np.random.Generator) -> Measured:
    seed = int(rng.integers(2**31))
    problem = recurrent(rng, TanhNetwork((4, 10, 3), dropout=0.3, dropout_seed=seed), 20)
    redrawn, remembered = (
        execute(problem, states(20, 3), core_with_masks(problem, DrawnMasks(seed, 0.3, remembers)))[0]
        for remembers in (False, True)
    )
    whole, _ = stored(problem, core_with_masks(problem, DrawnMasks(seed, 0.3, True)))
    require(differing(leaves_in(remembered), leaves_in(whole)) == 0, "the truth is none")
    counted = leaves_of(run(problem, states(20, 3)))
    return Measured(
        worst(leaves_in(redrawn), leaves_in(remembered)), worst(counted, leaves_in(stored(problem)[0]))
    )


# -- N2 ---------------------------------------------------------------------------------------------------


class SingleSlots(MemorySlots):
    """States come back in lower precision."""

    precision: Any = np.float32

    def read(self, address: int, blocks: tuple[Block, ...]) -> None:
        super().read(address, blocks)
        for block in blocks:
            for array in block.arrays.values():
                array[...] = array.astype(self.precision)


class HalfSlots(SingleSlots):
    precision = np.float16


class DoubleSlots(SingleSlots):
    precision = np.float64


@claim(
    "memory_efficient_bptt/N2",
    r"States kept in single precision show: every cell misses BPTT by more than O1 allows.",
    source="specification, N2",
    metric=r"largest error over the largest entry of a leaf, of the cell where it is smallest, $T=40$, $m=4$",
    relation=">=",
    bound=1e-10,
    control="states kept as they are",
)
def single_precision(rng: np.random.Generator) -> Measured:
    found: dict[str, dict[str, float]] = {kind.__name__: {} for kind in (SingleSlots, HalfSlots, DoubleSlots)}
    for name in CELLS:
        problem = recurrent(rng, cell(name, width=12), 40)
        truth = leaves_in(stored(problem)[0])
        for kind in (SingleSlots, HalfSlots, DoubleSlots):
            core, _ = execute(problem, states(40, 4), slots=kind)
            found[kind.__name__][name] = worst(leaves_in(core), truth)
    single, half = found["SingleSlots"], found["HalfSlots"]
    details = {
        f"{name}: {digits}": errors[name]
        for name in CELLS
        for digits, errors in (("single", single), ("half", half))
    }
    return Measured(min(*single.values(), *half.values()), max(found["DoubleSlots"].values()), details)


@claim(
    "memory_efficient_bptt/N2.spikes",
    r"In half precision potentials cross the threshold that did not: with 100 LIF neurons over 500 steps spikes flip, and the gradient is off by tens of percent.",
    source="specification, N2",
    metric=r"largest error over the largest entry of a leaf, $m=4$, largest of four networks",
    relation=">=",
    bound=0.01,
    control="single precision, in which no spike happens to flip",
)
def half_precision_flips_spikes(rng: np.random.Generator) -> Measured:
    found: dict[type[MemorySlots], list[float]] = {HalfSlots: [], SingleSlots: []}
    for _ in range(4):
        problem = recurrent(rng, cell("LIF, attached", width=100, inputs=10), 500, batch=4)
        truth = leaves_of(run(problem, strategy="all_tapes"))
        for kind, errors in found.items():
            errors.append(worst(leaves_in(execute(problem, states(500, 4), slots=kind)[0]), truth))
    half, single = found[HalfSlots], found[SingleSlots]
    return Measured(max(half), max(single), {"half precision, smallest": min(half)})


# -- N3 ---------------------------------------------------------------------------------------------------


class ReferenceSlots(MemorySlots):
    """Keeps the arrays themselves instead of copies."""

    def __init__(self, units: int, unit_bytes: int) -> None:
        super().__init__(units, unit_bytes)
        self.kept: dict[int, tuple[Block, ...]] = {}

    def write(self, address: int, blocks: tuple[Block, ...]) -> None:
        self.kept[address] = blocks

    def read(self, address: int, blocks: tuple[Block, ...]) -> None:
        for block, kept in zip(blocks, self.kept[address], strict=True):
            np.copyto(block.memory, kept.memory)


@claim(
    "memory_efficient_bptt/N3",
    r"A state that is kept by reference has changed when it is needed: wrong gradients for $m=2,3,5$ at $T=12$.",
    source="specification, N3",
    metric="largest error over the largest entry of a leaf, of the smallest over m and all cells",
    relation=">=",
    bound=1e-2,
    control=r"$m=1$, where only $h_0$ is kept",
)
def kept_by_reference(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for name in CELLS:
        problem = recurrent(rng, name, 12)
        truth = leaves_in(stored(problem)[0])
        for m in (1, 2, 3, 5):
            core, _ = execute(problem, states(12, m), slots=ReferenceSlots)
            error = worst(leaves_in(core), truth)
            (values if m > 1 else controls).append(error)
            details[f"{name}, m = {m}"] = error
    return Measured(min(values), max(controls), details)


class InPlace(PrototypicalNetwork):
    """Its step writes to the state that it was given."""

    def step(self, parameters: Parameters, state: State, inputs: Any) -> State:
        following = super().step(parameters, state, inputs)
        for name, value in following.items():
            state[name][...] = value
        return state


class InPlaceAdjoint(PrototypicalNetwork):
    """Its adjoint writes to the cotangent that it was given."""

    def step_vjp(self, parameters: Parameters, state: State, inputs: Any, cotangent: State) -> Any:
        for value in cotangent.values():
            value += 0
        return super().step_vjp(parameters, state, inputs, cotangent)


@claim(
    "memory_efficient_bptt/N3.refused",
    r"A model that writes to the state or the adjoint that it was given is refused, by name.",
    source="specification, N3",
    metric="of two such models, how many are refused with an error that names model and function",
    relation="==",
    bound=2,
    control="the model that returns new arrays",
)
def in_place_is_refused(rng: np.random.Generator) -> Measured:
    problem = networks_of_the_contract(rng, 6)["prototypical"]

    def refused(kind: type[PrototypicalNetwork], name: str) -> bool:
        model = kind(problem.model.widths)  # type: ignore[attr-defined]
        try:
            memory_efficient_bptt(model, *problem.arguments[1:], schedule=states(6, 2))
        except ValueError as error:
            return f"model: {kind.__name__}.{name} writes to the parameters, state" in str(error)
        return False

    value = refused(InPlace, "step") + refused(InPlaceAdjoint, "step_vjp")
    return Measured(value, refused(PrototypicalNetwork, "step"))
