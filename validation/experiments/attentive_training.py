"""Four networks on equal terms: reminded, cut, whole, and with attention to everything (Ke 2018).

Sparse attentive backtracking, truncated BPTT, BPTT and full self-attention are the same `AttentiveNetwork`
under other options.  They start from the same cell, see the same batches, and make the same number of
updates; trainings that are long go round by round, so that this holds whenever their time is up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from refsnn.algorithms.optimisers import Adam, Optimiser, clipped
from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult, sparse_attentive_backtracking
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.attentive.run import attentive_run
from refsnn.models.contract import Parameters, State
from validation.experiments import Allowance, Progress
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.streams import Outcome, Stream, Unconstrained, train_stream

if TYPE_CHECKING:
    import matplotlib.figure

DTYPE = np.float32
CLIP = 1.0
READINGS = 2**27  # bytes that the readings of one test batch may take
ROUND = 20  # updates of each network before the next one has its turn


@dataclass(frozen=True)
class Model:
    """One row of a table.

    Attributes
    ----------
    name : str
        For tables.
    network : AttentiveNetwork
        What is trained.
    factor : float or None
        The read-out is V (factor h_t + s_t) + b with one matrix V; None for two matrices.
    """

    name: str
    network: AttentiveNetwork
    factor: float | None = None

    def initialise(self, rng: np.random.Generator) -> Parameters:
        """What is trained, before the first update.

        From one state of `rng` all models get the same cell and read-out, and leave it in the same state, so
        that they see the same batches too.
        """
        parameters = self.network.initialise(rng, DTYPE, attention="uniform")
        if self.factor is not None:
            del parameters["readout.summary_weight"]
            # raw scores of all memories: faint to begin with, N(0, 0.01^2) as the authors'
            (apart,) = rng.spawn(1)
            for name in parameters:
                if name.startswith("attention."):
                    faint = 0.01 * apart.standard_normal(parameters[name].shape)
                    parameters[name] = faint.astype(DTYPE)
        return parameters

    def untied(self, parameters: Parameters) -> Parameters:
        """The network's parameters: V1 = factor V and V2 = V."""
        if self.factor is None:
            return parameters
        shared = parameters["readout.weight"]
        tied = {"readout.weight": shared * shared.dtype.type(self.factor), "readout.summary_weight": shared}
        return parameters | tied

    def tied(self, gradients: Parameters) -> Parameters:
        """The gradient by what is trained: that by V is factor times that by V1, and that by V2."""
        if self.factor is None:
            return gradients
        left = {name: gradient for name, gradient in gradients.items() if name != "readout.summary_weight"}
        by_first = gradients["readout.weight"]
        left["readout.weight"] = (
            by_first * by_first.dtype.type(self.factor) + gradients["readout.summary_weight"]
        )
        return left

    def outputs(self, parameters: Parameters, inputs: np.ndarray, steps: slice = slice(None)) -> np.ndarray:
        """Read-outs of some steps, so many sequences at a time as fit."""
        length = len(inputs)
        places = self.network.places(self.network.slots_before(length))
        together = max(1, READINGS // (length * places * (DTYPE().nbytes + 4)))
        parameters = self.untied(parameters)
        parts = [
            attentive_run(self.network, parameters, inputs[:, first : first + together]).outputs[steps]
            for first in range(0, inputs.shape[1], together)
        ]
        return np.concatenate(parts, axis=1)


def four_models(sab: AttentiveNetwork, cut: int, factor: float = 2.0) -> tuple[Model, Model, Model, Model]:
    """SAB, and its three companions of the same widths, score and loss.

    Parameters
    ----------
    sab : AttentiveNetwork
        The network under sparse attentive backtracking.
    cut : int
        k_trunc of truncated BPTT.
    factor : float
        What h_t counts in the read-out of full self-attention; 2 in the authors' code, by accident.

    Returns
    -------
    tuple of Model
        SAB, TBPTT, BPTT, self-attention.
    """
    numbers = f"({sab.top}, {sab.store_every}, {sab.truncate_every})"
    without = replace(sab, store_every=None, truncate_every=None)
    everything = replace(sab, top=0, store_every=1, truncate_every=None, augmented=False)
    return (
        Model(f"SAB {numbers}", sab),
        Model(f"TBPTT, {cut} steps", replace(without, truncate_every=cut)),
        Model("LSTM, BPTT", without),
        Model("LSTM with self-attention", everything, factor),
    )


class Task(Protocol):
    """What is to be learned."""

    @property
    def name(self) -> str:
        """Of its checkpoints."""
        ...

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """Inputs (T, B, I) and targets."""
        ...

    def figures(self, result: AttentiveResult, targets: Any) -> dict[str, float]:
        """What is to be plotted, update by update."""
        ...

    def identity(self) -> str:
        """For checkpoints: differs where batches do."""
        ...


@dataclass(frozen=True)
class Learner:
    """One network and its task."""

    model: Model
    task: Task

    def __call__(self, parameters: Parameters, state: State | None, rng: np.random.Generator) -> Outcome:
        """A batch; its gradient is clipped, or the first updates would be attention's alone."""
        inputs, targets = self.task.batch(rng)
        result = sparse_attentive_backtracking(
            self.model.network, self.model.untied(parameters), inputs, targets
        )
        return Outcome(clipped(self.model.tied(result.gradients), CLIP), self.task.figures(result, targets))


@dataclass
class Training:
    """A network on its way.

    Attributes
    ----------
    model : Model
        What is trained.
    stream : Stream or None
        How far it is; None before its first turn.
    broken : str
        Why it cannot go on, if it cannot.
    """

    model: Model
    stream: Stream | None = None
    broken: str = ""

    @property
    def updates(self) -> int:
        """Updates done."""
        return self.stream.updates if self.stream else 0

    @property
    def parameters(self) -> Parameters:
        """What is trained, after the last update."""
        assert self.stream is not None
        return self.stream.rule_state.strengths

    def go_on(
        self,
        task: Task,
        optimiser: Optimiser,
        seed: int,
        updates: int,
        folder: Path | None = None,
        tick: Callable[[Stream], None] = lambda stream: None,
    ) -> None:
        """Train until so many updates are done, from the checkpoint if there is one.

        A loss that is not finite ends the training where it stands: raw scores are not bounded.
        """
        rng = np.random.default_rng(seed)
        checkpoint = None
        if folder is not None:
            known = {"seed": str(seed), "model": repr(self.model), "task": task.identity(), "clip": str(CLIP)}
            name = "".join(letter if letter.isalnum() else "-" for letter in self.model.name.lower())
            path = folder / f"{task.name}-{name}-seed{seed}.h5"
            checkpoint = Checkpoint(path, known)
        start, rule = self.model.initialise(rng), Unconstrained(optimiser)
        try:
            self.stream = train_stream(
                start, Learner(self.model, task), rule, updates, rng, checkpoint=checkpoint, tick=tick
            )
        except FloatingPointError as error:
            self.broken = str(error)
            if self.stream is None:
                self.stream = Stream(rule.initial_state(start))


def train_equally(
    models: Sequence[Model],
    task: Task,
    optimiser: Optimiser,
    updates: int,
    progress: Progress,
    seed: int = 0,
    allowance: Allowance | None = None,
) -> list[Training]:
    """Train all for `updates`, or for equally many within the allowed time.

    Parameters
    ----------
    models : sequence of Model
        Rows.
    task : Task
        What they learn; all see the same batches.
    optimiser : Optimiser
        The same for all.
    updates : int
        At most so many each.
    progress : callable
        Told after each update.
    seed : int
        Of initial weights and batches.
    allowance : Allowance, optional
        Time, and where checkpoints are kept.  Trainings stop between two rounds.

    Returns
    -------
    list of Training
        One a model, in their order.
    """
    trainings = [Training(model) for model in models]

    def tell(stream: Stream, name: str) -> None:
        done = sum(training.updates for training in trainings)
        progress(done, updates * len(models), f"{name}: update {stream.updates}, {_curve(stream)}")

    def advance(training: Training, goal: int, folder: Path | None) -> None:
        name = training.model.name
        training.go_on(task, optimiser, seed, goal, folder, lambda stream: tell(stream, name))

    if allowance is None:
        for training in trainings:
            advance(training, updates, None)
        return trainings
    with ExitStack() as stack:
        folder = allowance.folder or Path(stack.enter_context(TemporaryDirectory()))
        for goal in _rounds(trainings, updates, allowance.seconds):
            for training in trainings:
                if not training.broken:
                    advance(training, goal, folder)
    return trainings


def _rounds(trainings: Sequence[Training], updates: int, seconds: float) -> Iterator[int]:
    """How far the next round goes: 0 to begin with, to read checkpoints; none that would end too late."""
    begun = before = time.monotonic()
    yield 0
    while True:
        going = [training.updates for training in trainings if not training.broken]
        now = time.monotonic()
        last, before = now - before, now
        if not going or min(going) >= updates or now + last > begun + seconds:
            return
        yield min(min(going) // ROUND * ROUND + ROUND, updates)


def _curve(stream: Stream) -> str:
    """The first figure, over the last updates."""
    name = next(iter(stream.curves))
    return f"{name} {stream.running_mean(name):.3f}"


@dataclass(frozen=True)
class Shown:
    """What a network reads in one sequence, for `reminding.attention_map`.

    Attributes
    ----------
    attention : ndarray, (T, N)
        Weights of its memories.
    reach : ndarray, (T,)
        Norm of the gradient by each state.
    """

    attention: np.ndarray
    reach: np.ndarray


def read_one(training: Training, inputs: np.ndarray, targets: Any) -> Shown:
    """Weights and reach of a batch of one."""
    model = training.model
    result = sparse_attentive_backtracking(model.network, model.untied(training.parameters), inputs, targets)
    return Shown(result.weights[:, 0], result.reach[:, 0])


def comparable(first: Training, other: Training) -> bool:
    """Whether both have learned, and the other one no less long."""
    return 0 < first.updates <= other.updates


def effort(training: Training) -> tuple[str, str]:
    """Updates and minutes, for a table."""
    spent = training.stream.spent if training.stream else 0.0
    return f"{training.updates}" + (", not finite" if training.broken else ""), f"{spent / 60:.1f}"


def curves(
    trainings: Sequence[Training],
    name: str,
    label: str,
    floors: Mapping[str, float] | None = None,
    over: int = 20,
) -> matplotlib.figure.Figure:
    """One curve a model, smoothed, and lines to compare with."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.2, 3.2))
    axes = drawing.subplots()
    for training in trainings:
        values = np.array(training.stream.curves.get(name, []) if training.stream else [])
        if len(values) >= over:
            smooth = np.convolve(values, np.full(over, 1 / over), "valid")
            axes.plot(np.arange(over, len(values) + 1), smooth, label=training.model.name)
    for value in (floors or {}).values():
        axes.axhline(value, linestyle="--", color="0.5", linewidth=0.8)
    axes.set(xlabel="update", ylabel=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    return drawing


ADAM = Adam(1e-3)
