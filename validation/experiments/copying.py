"""The copying task: ten symbols, to be repeated after a long delay, and after longer ones (Ke 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult
from refsnn.datasets.long_memory import CLASSES, SYMBOLS, copying_task
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.losses import cross_entropy
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

if TYPE_CHECKING:
    import matplotlib.figure

UNITS, BATCH, DELAY, ITEMS = 128, 64, 100, 10
UPDATES = 200_000  # twenty epochs of the authors' script
# fresh sequences at each delay: the work of a sequence grows with the square of its length
TESTED = {100: 512, 200: 256, 400: 128, 2000: 64, 5000: 16}
# raw scores of everything: beyond this delay the readings do not fit
FARTHEST_ATTENTION = 400


@dataclass(frozen=True)
class Copying:
    """Batches of the task, each position one number.

    Attributes
    ----------
    delay, items, samples : int
        Steps, symbols, B.
    """

    delay: int = DELAY
    items: int = ITEMS
    samples: int = BATCH

    @property
    def name(self) -> str:
        """Of its checkpoints."""
        return "copying"

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Fresh sequences."""
        return copying_task(rng, self.samples, self.delay, self.items, dtype=DTYPE)

    def figures(self, result: AttentiveResult, targets: np.ndarray) -> dict[str, float]:
        """The three figures of the batch."""
        return copied(result.outputs, targets, self.items)

    def identity(self) -> str:
        """All of it."""
        return repr(self)


def copied(outputs: np.ndarray, targets: np.ndarray, items: int) -> dict[str, float]:
    """How well the symbols are repeated.

    Parameters
    ----------
    outputs : ndarray, (T, B, classes)
        Logits.
    targets : ndarray of int, (T, B)
        Blanks, then the symbols in the last `items` steps.
    items : int
        How many.

    Returns
    -------
    dict of str to float
        "CE10", the cross-entropy of the last `items` steps; "accuracy" there; "CE", that of all steps.
    """
    logits = np.asarray(outputs, np.float64)
    each = np.array([cross_entropy(*step) for step in zip(logits, targets, strict=True)])
    right = logits[-items:].argmax(axis=-1) == targets[-items:]
    return {
        "CE10": float(each[-items:].mean()),
        "accuracy": float(right.mean()),
        "CE": float(each.mean()),
    }


def floors(delay: int, items: int) -> dict[str, float]:
    """The same figures where blanks are known and symbols are guessed."""
    return {
        "CE10": float(np.log(SYMBOLS)),
        "accuracy": 1 / SYMBOLS,
        "CE": items * float(np.log(SYMBOLS)) / (delay + 2 * items),
    }


def models() -> tuple[Model, Model, Model, Model]:
    """SAB (5, 2, 5) as the authors' command line has it, and its companions.

    The symbols are shown while the memory is small.  Raw scores would there multiply what is stored, step
    by step, and softmax does not.
    """
    sab = AttentiveNetwork((1, UNITS, CLASSES), 5, 2, 5, small_memory="softmax")
    return four_models(sab, 5)


def transferred(
    training: Training, task: Copying, tested: Mapping[int, int], seed: int = 1000
) -> dict[int, dict[str, float]]:
    """The figures on fresh sequences of each delay, as far as the readings fit."""
    found = {}
    for delay, samples in tested.items():
        if training.model.factor is not None and delay > FARTHEST_ATTENTION:
            continue
        rng = np.random.default_rng((seed, delay))
        inputs, targets = copying_task(rng, samples, delay, task.items, dtype=DTYPE)
        try:
            outputs = training.model.outputs(training.parameters, inputs)
        except FloatingPointError:
            continue
        found[delay] = copied(outputs, targets, task.items)
    return found


Found = Mapping[int, Mapping[str, float]]


def table(
    trainings: Sequence[Training], tested: Sequence[Found], delays: Sequence[int], items: int
) -> list[tuple[str, ...]]:
    """One row a model: all three figures at the first delay, the accuracy at the others."""
    rows: list[tuple[str, ...]] = []
    for training, found in zip(trainings, tested, strict=True):
        here = found.get(delays[0])
        entropies = (f"{here['CE10']:.3f}", f"{here['CE']:.4f}") if here else ("–", "–")
        rows.append(
            (
                training.model.name,
                *effort(training),
                *entropies,
                *(f"{100 * found[d]['accuracy']:.1f}" if d in found else "–" for d in delays),
            )
        )
    floor = floors(delays[0], items)
    guessed = f"{100 / SYMBOLS:.1f}"
    rows.append(
        ("guessing", "–", "–", f"{floor['CE10']:.3f}", f"{floor['CE']:.4f}", *[guessed] * len(delays))
    )
    return rows


def shown(training: Training, task: Copying) -> matplotlib.figure.Figure:
    """What a trained network reads in one fresh sequence."""
    inputs, targets = copying_task(np.random.default_rng(7), 1, task.delay, task.items, dtype=DTYPE)
    return attention_map(read_one(training, inputs, targets))


def report(
    trainings: Sequence[Training], task: Copying, tested: Mapping[int, int], notes: Sequence[str]
) -> ExperimentResult:
    """Table, curves, attention map."""
    found = [transferred(one, task, tested) if one.updates else {} for one in trainings]
    delays = list(tested)
    statements = []
    if trainings[0].updates:
        far = max(delays)
        sab, others = found[0], list(zip(trainings[1:], found[1:], strict=True))
        for training, other in others:
            if not comparable(trainings[0], training):
                continue
            for delay in sorted({delays[0], far} & set(sab) & set(other)):
                statements.append(
                    verdict(
                        f"SAB should copy more than {training.model.name} at a delay of {delay}",
                        sab[delay]["accuracy"] > other[delay]["accuracy"],
                    )
                )
    return ExperimentResult(
        table_header=(
            "model", "updates", "minutes", f"CE10 at {delays[0]}", f"CE at {delays[0]}",
            *(f"accuracy at {delay}, %" for delay in delays),
        ),
        table_rows=table(trainings, found, delays, task.items),
        figures=[
            (
                "Learning to copy",
                f"Cross-entropy of the {task.items} symbols, mean over 50 batches; dashed: guessing, ln 8.",
                curves(trainings, "CE10", "CE10", {"guessing": floors(task.delay, task.items)["CE10"]}, 50),
            ),
            (
                "What is read while copying",
                f"SAB on one fresh sequence of delay {task.delay}: weights of its memories at each step "
                "(left), and the norm of the gradient by each state (right).",
                shown(trainings[0], task),
            ),
        ] if trainings[0].updates else [],
        notes=[*statements, *notes],
    )  # fmt: skip


@experiment(
    "sparse_attentive_backtracking/copying",
    "Copying ten symbols",
    "Ten of eight symbols, a hundred steps, then all ten are to be repeated in order; each position is one "
    "number.  The trained networks are then asked after 200, 400, 2000 and 5000 steps.",
    long=True,
    resumable=True,
)
def copying(progress: Progress, allowance: Allowance) -> ExperimentResult:
    task = Copying()
    trainings = train_equally(models(), task, ADAM, UPDATES, progress, allowance=allowance)
    sequences = ", ".join(f"{count} at {delay}" for delay, count in TESTED.items())
    return report(
        trainings,
        task,
        TESTED,
        [
            f"128 units, batches of 64, Adam with rate 0.001, gradients clipped to norm 1, float32, seed 0; "
            f"{UPDATES} updates are the authors' twenty epochs.  Fresh sequences: {sequences}.  Beyond "
            f"{FARTHEST_ATTENTION} steps the weights of full self-attention, a square of the length, are "
            "not kept.",
        ],
    )
