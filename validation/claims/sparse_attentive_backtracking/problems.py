"""Random attentive networks whose attention is alive, for the package and by hand; and what is compared."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult, sparse_attentive_backtracking
from refsnn.models.attentive.network import SCORES, SPARSIFIERS, AttentiveNetwork, ReminderWarning
from refsnn.models.sequences import StepTargets
from validation.claims.sparse_attentive_backtracking import by_hand
from validation.claims.sparse_attentive_backtracking.by_hand import Arrays, Run
from validation.ledger import VacuousError, require

OFF = 99
# k_top, k_att, k_trunc
SETTINGS = (2, 2, 3), (3, 1, 1), (1, 2, 4), (2, 1, OFF), (0, 2, 3), (9, 2, 5)
# the same with two survivors and more, whichever the rule
SEVERAL = (3, 2, 3), (4, 1, 1), (3, 2, 4), (3, 1, OFF), (0, 2, 3), (9, 2, 5)
DETACHED = (), ("query",), ("key",), ("value",), ("query", "key"), ("query", "key", "value")
SMALL = "raw", "min", "softmax", "zero"
BACKENDS = "plain", "cpu"
WIDTHS = (2, 4, 3)
FLOOR = 1e-3
BOUNDED, FIRM = 10, 1e-2


def network_of(**options: Any) -> AttentiveNetwork:
    """A network, without the advice: what it warns of is what some claims are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        return AttentiveNetwork(
            options.pop("widths", WIDTHS), score_width=options.pop("score_width", 5), **options
        )


@dataclass(frozen=True)
class Problem:
    """A network, its parameters, and a sequence."""

    network: AttentiveNetwork
    parameters: Arrays
    inputs: np.ndarray  # (T, B, I)
    targets: np.ndarray
    start: Arrays
    skipped: int = 0
    cache: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def steps(self) -> int:
        return len(self.inputs)

    @property
    def batch(self) -> int:
        return self.inputs.shape[1]

    def changed(self, **options: Any) -> Problem:
        """With other options of the network."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReminderWarning)
            return replace(self, network=replace(self.network, **options), cache={})

    def with_parameters(self, **changes: np.ndarray) -> Problem:
        """With other parameters of the attention, by the last part of their names."""
        new = {f"attention.{name}": value for name, value in changes.items()}
        return replace(self, parameters=self.parameters | new, cache={})

    def of_samples(self, which: slice) -> Problem:
        """Some samples of the batch alone."""
        last = self.network.readout == "last"
        return replace(
            self,
            inputs=self.inputs[:, which],
            targets=self.targets[which] if last else self.targets[:, which],
            start={name: value[which] for name, value in self.start.items()},
            cache={},
        )

    # -- the package ----------------------------------------------------------------------------------

    def result(self, backend: str = "cpu", **options: Any) -> AttentiveResult:
        """What is on trial."""
        given = {"initial_state": self.start, "input_gradients": True, "backend": backend} | options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReminderWarning)
            targets = self.targets
            if self.network.readout == "all":
                targets = StepTargets(self.targets, np.full(self.steps, 1 / self.steps, self.inputs.dtype))
            return sparse_attentive_backtracking(self.network, self.parameters, self.inputs, targets, **given)

    def leaves(self, backend: str = "cpu", **options: Any) -> Arrays:
        """Gradients of parameters, start and inputs."""
        return leaves_of(self.result(backend, **options))

    # -- by hand --------------------------------------------------------------------------------------

    @property
    def point(self) -> Arrays:
        """All that can be differentiated."""
        start = {f"start.{name}": value for name, value in self.start.items()}
        return self.parameters | start | {"inputs": self.inputs}

    def run(self, point: Arrays | None = None, base: Run | None = None, **how: Any) -> Run:
        """By hand at one point, or at an ensemble of them."""
        if point is None:
            point = {name: value[None] for name, value in self.point.items()}
        start = {
            name.removeprefix("start."): value for name, value in point.items() if name.startswith("start.")
        }
        run = by_hand.forward(self.network, point, point["inputs"].swapaxes(1, 2), start, base, **how)
        run.loss = by_hand.loss(self.network, run.outputs, self.targets)
        return run

    @property
    def base(self) -> Run:
        """The run at the nominal point."""
        if "base" not in self.cache:
            self.cache["base"] = self.run()
        return self.cache["base"]

    def complex_step(self, ordinary: bool = False, **how: Any) -> Arrays:
        """The derivative of the frozen-cut function, or of the ordinary forward pass."""
        moved = by_hand.ensembles(self.point, 1e-30j)
        run = self.run(moved, None if ordinary else self.base, **how)
        return by_hand.leafwise(run.loss.imag / 1e-30, self.point)

    def differences(self, step: float) -> Arrays:
        """Central differences of the frozen-cut function."""
        up, down = (self.run(by_hand.ensembles(self.point, sign * step), self.base).loss for sign in (1, -1))
        return by_hand.leafwise((up - down) / (2 * step), self.point)


def leaves_of(result: AttentiveResult) -> Arrays:
    """Gradients of parameters, start and inputs."""
    start = {f"start.{name}": value for name, value in result.initial_gradients.items()}
    return (
        result.gradients
        | start
        | ({} if result.input_gradients is None else {"inputs": result.input_gradients})
    )


def error(found: Arrays, expected: Arrays) -> float:
    """Largest error of a leaf, relative to its norm or to a thousandth of that of all parameters."""
    names = [name for name in expected if not name.startswith(("start.", "inputs"))]
    whole = np.sqrt(sum(np.square(expected[name]).sum() for name in names))
    require(whole > 1e-4, f"no gradient: norm {whole:.1e}")
    return max(
        float(np.linalg.norm(found[name] - value) / max(np.linalg.norm(value), FLOOR * whole))
        for name, value in expected.items()
    )


def differing(found: Arrays, expected: Arrays) -> int:
    """How many leaves are not the same to the last bit."""
    return sum(not np.array_equal(found[name], value) for name, value in expected.items())


# -- drawing --------------------------------------------------------------------------------------------


def draw(
    rng: np.random.Generator,
    setting: tuple[int, int, int],
    *,
    batch: int = 2,
    steps: int | None = None,
    gap: float = 1e-6,
    scale: float = 0.5,
    score_scale: float = 1.0,
    zero_start: bool = False,
    active: bool = True,
    firm: float = FIRM,
    lively: float = 0.0,
    **options: Any,
) -> Problem:
    """Drawn again until no selection is close, attention is `alive`, and each leaf has its share of the gradient."""
    top, store, cut = setting
    steps = steps or (14 if cut == OFF else max(14, 4 * cut))
    network = network_of(top=top, store_every=store, truncate_every=None if cut == OFF else cut, **options)
    inputs, units, outputs = network.widths
    for skipped in range(400):
        parameters = {
            name: scale * rng.standard_normal(shape) for name, shape in network.parameter_shapes().items()
        }
        if "attention.score_weight" in parameters:
            parameters["attention.score_weight"] *= score_scale / scale
        names = ["hidden"] + ["cell"] * (network.cell == "lstm")
        start = {name: (0 if zero_start else 0.5) * rng.standard_normal((batch, units)) for name in names}
        shape = (batch,) if network.readout == "last" else (steps, batch)
        entropy = network.loss_function == "cross_entropy"
        targets = rng.integers(0, outputs, shape) if entropy else rng.standard_normal((*shape, outputs))
        problem = Problem(
            network, parameters, rng.standard_normal((steps, batch, inputs)), targets, start, skipped
        )
        with np.errstate(all="ignore"):  # raw scores are not bounded, and can blow up
            bounded = np.abs(np.array(problem.base.hidden)).max() < BOUNDED
        if not bounded or problem.base.gap < gap or (active and not alive(problem, firm)):
            continue
        if lively and not all_leaves_count(problem, lively):
            continue
        return problem
    raise VacuousError(f"no network in 400 tries with gaps above {gap:g} and attention alive")


def alive(problem: Problem, least: float = FIRM) -> bool:
    """Whether states other than h_0 are read, some of which have read others themselves, and no U is small.

    The rounding of scores enters weights and gradients divided by U, which is far above eps then, too.
    """
    network, base = problem.network, problem.base
    survivors = {"paper": network.top, "dev": network.top + 1, "release": network.top - 1}[network.sparsifier]
    for row in base.readings:
        chosen = {t: r for t, r in enumerate(row, 1) if r is not None and r.thresholded}
        firm = [r.normaliser.real[0] for r in chosen.values() if r.alive[0].any()]
        if min(firm, default=1) < least:
            return False
        reads = {t: [base.times[j] for j in np.flatnonzero(r.alive[0])] for t, r in chosen.items()}
        seldom = len(base.times) < network.top + 4  # hardly ever more than k_top slots
        hops = any(time > 0 and any(reads.get(time, ())) for times in reads.values() for time in times)
        if not hops and not (network.top <= 0 or survivors < 1 or seldom):
            return False
    return True


def all_leaves_count(problem: Problem, share: float) -> bool:
    """Whether the gradient of each parameter has that share of the whole."""
    norms = [np.linalg.norm(value) for value in problem.result(input_gradients=False).gradients.values()]
    return bool(min(norms) >= share * np.linalg.norm(norms))


def variety(
    rng: np.random.Generator, every: bool = False, several: bool = False, **options: Any
) -> Iterator[Problem]:
    """All settings with all scores and, one after the other or `every` one, sparsifiers; other switches are drawn.

    With one survivor (A1) is a difference of numbers that agree but for eps / U: not with `several`.
    """
    turn, small = int(rng.integers(3)), [name for name in SMALL if name != "min" or not several]
    for setting in SEVERAL if several else SETTINGS:
        for score in SCORES:
            turn += 1
            for sparsifier in SPARSIFIERS if every else (SPARSIFIERS[turn % 3],):
                entropy = rng.random() < 0.7
                drawn = {
                    "score": score,
                    "sparsifier": sparsifier,
                    "detached": DETACHED[rng.integers(len(DETACHED))] if rng.random() < 0.6 else (),
                    "small_memory": small[rng.integers(len(small))],
                    "empty_memory": bool(rng.random() < 0.25),
                    "cell": "tanh" if rng.random() < 0.25 else "lstm",
                    "readout": "last" if rng.random() < 0.25 else "all",
                    "loss_function": "cross_entropy" if entropy else "mean_squared_error",
                    "mix_batch": bool(rng.random() < 0.1),
                    "zero_start": bool(rng.random() < 0.5),
                    "augmented": bool(rng.random() < 0.8),
                }
                yield draw(rng, setting, **drawn | options)
        turn += 1
