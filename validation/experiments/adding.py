"""The adding task: two marked numbers of a long sequence, half their sum at its end (Ke 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refsnn.algorithms.optimisers import Adam
from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult
from refsnn.datasets.long_memory import adding_task
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.sequences import StepTargets
from validation.experiments import Allowance, ExperimentResult, Progress, experiment
from validation.experiments.attentive_training import (
    ADAM,
    DTYPE,
    Model,
    Training,
    comparable,
    curves,
    effort,
    four_models,
    read_one,
    train_equally,
)
from validation.experiments.reminding import attention_map
from validation.experiments.spiking_training import verdict

OF_THE_MEAN = 1 / 24  # mean squared error of who says 1/2 to everything
TESTED = 512
UPDATES = 400_000  # forty epochs of the authors' script


@dataclass(frozen=True)
class Adding:
    """Batches of the task.

    Attributes
    ----------
    steps, samples : int
        T and B.
    """

    steps: int
    samples: int

    @property
    def name(self) -> str:
        """Of its checkpoints."""
        return f"adding-{self.steps}"

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, StepTargets]:
        """Fresh sequences."""
        inputs, targets = adding_task(rng, self.samples, self.steps, dtype=DTYPE)
        return inputs, mean_squared(targets, self.steps)

    def figures(self, result: AttentiveResult, targets: StepTargets) -> dict[str, float]:
        """The mean squared error, which is the loss."""
        return {"MSE": result.loss}

    def identity(self) -> str:
        """All of it."""
        return repr(self)


def mean_squared(targets: np.ndarray, steps: int) -> StepTargets:
    """Targets whose loss is the mean of (y_T - target)^2: the network's own is half of that, hence the 2."""
    weights = np.zeros(steps, targets.dtype)
    weights[-1] = 2
    return StepTargets(targets, weights)


def models(units: int) -> tuple[Model, Model, Model, Model]:
    """SAB (10, 2, 5) with tanh before the scores, and its companions."""
    sab = AttentiveNetwork(
        (2, units, 1), 10, 2, 5, score="mlp_tanh_in", small_memory="softmax",
        loss_function="mean_squared_error", readout="last",
    )  # fmt: skip
    return four_models(sab, 5)


def test_error(training: Training, steps: int) -> float:
    """Mean squared error on fresh sequences."""
    inputs, targets = adding_task(np.random.default_rng(1000), TESTED, steps, dtype=DTYPE)
    last = training.model.outputs(training.parameters, inputs, slice(-1, None))[0]
    return float(np.square(last - targets, dtype=np.float64).mean())


def report(trainings: Sequence[Training], task: Adding, notes: Sequence[str]) -> ExperimentResult:
    """Table, curves, attention map."""
    errors = {
        training.model.name: test_error(training, task.steps) for training in trainings if training.updates
    }
    statements = []
    sab, tbptt = trainings[:2]
    if sab.updates:
        own = errors[sab.model.name]
        statements.append(
            verdict("SAB should have a tenth of the error of the mean", own <= OF_THE_MEAN / 10)
        )
        if comparable(sab, tbptt):
            better = own < errors[tbptt.model.name]
            statements.append(verdict("SAB should do better than TBPTT", better))
    rows: list[tuple[str, ...]] = [
        (
            training.model.name,
            *effort(training),
            f"{errors[training.model.name]:.2e}" if training.updates else "–",
        )
        for training in trainings
    ]
    figures = [
        (
            "Learning to add",
            "Mean squared error, mean over 20 batches; dashed: that of the mean, 1/24.",
            curves(trainings, "MSE", "MSE", {"mean": OF_THE_MEAN}),
        )
    ]
    if trainings[0].updates:
        inputs, targets = adding_task(np.random.default_rng(7), 1, task.steps, dtype=DTYPE)
        marked = " and ".join(str(step + 1) for step in np.flatnonzero(inputs[:, 0, 1]))
        figures.append(
            (
                "What is read while adding",
                f"SAB on one fresh sequence whose marks are at the steps {marked}: weights of its memories "
                "at each step (left), and the norm of the gradient by each state (right).",
                attention_map(read_one(trainings[0], inputs, mean_squared(targets, task.steps))),
            )
        )
    return ExperimentResult(
        table_header=("model", "updates", "minutes", "test MSE"),
        table_rows=[*rows, ("saying the mean", "–", "–", f"{OF_THE_MEAN:.2e}")],
        figures=figures,
        notes=[*statements, *notes],
    )


def settings(units: int, task: Adding, rate: float) -> str:
    """How it was trained."""
    return (
        f"{task.steps} steps, {units} units, batches of {task.samples}, Adam with rate {rate:g}, gradients "
        f"clipped to norm 1, float32, seed 0; mean squared error on {TESTED} fresh sequences, the mean of "
        "$(y_T-target)^2$, which is also the loss, twice the network's own.  The authors' run had "
        "$k_{att}=k_{trunc}=5$, under which credit travels one step from each memory; here $k_{att}=2$."
    )


ADD = "A number and a mark at each step, two marks in all; half the sum of the marked numbers is asked for."


@experiment("sparse_attentive_backtracking/adding", "Adding over 30 steps", ADD)
def short(progress: Progress) -> ExperimentResult:
    task, units, rate = Adding(30, 32), 32, 3e-3
    sab, tbptt, bptt, _ = models(units)
    trainings = train_equally((sab, tbptt, bptt), task, Adam(rate), 900, progress)
    return report(trainings, task, [settings(units, task, rate)])


@experiment(
    "sparse_attentive_backtracking/adding-long", "Adding over 200 steps", ADD, long=True, resumable=True
)
def long(progress: Progress, allowance: Allowance) -> ExperimentResult:
    task, units = Adding(200, 64), 128
    trainings = train_equally(models(units), task, ADAM, UPDATES, progress, allowance=allowance)
    return report(trainings, task, [settings(units, task, 1e-3)])
