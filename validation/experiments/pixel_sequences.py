"""Images pixel by pixel, in order and permuted: the class is asked for after the last one (Ke 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult
from refsnn.datasets.digits import load_digits
from refsnn.datasets.labelled import LabelledImages
from refsnn.datasets.mnist import load_mnist
from refsnn.datasets.pixels import mean_pooled, pixel_sequences
from refsnn.models.attentive.network import AttentiveNetwork
from validation.experiments import Allowance, ExperimentResult, Progress, Unavailable, experiment
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
from validation.experiments.checkpoints import digest
from validation.experiments.reminding import attention_map
from validation.experiments.spiking_training import verdict

CLASSES = 10
PERMUTATION_SEED = 5


@dataclass(frozen=True)
class Pixels:
    """Images as sequences.

    Attributes
    ----------
    name : str
        Of its checkpoints.
    data : LabelledImages
        Training and test.
    order : ndarray of int, (pixels,), or None
        Which pixel each step shows; None row by row.
    samples : int
        B.
    """

    name: str
    data: LabelledImages
    order: np.ndarray | None
    samples: int

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Images drawn with replacement."""
        drawn = rng.integers(0, len(self.data.train_labels), self.samples)
        return pixel_sequences(self.data.train_images[drawn], self.order), self.data.train_labels[drawn]

    def figures(self, result: AttentiveResult, targets: np.ndarray) -> dict[str, float]:
        """Loss and accuracy of the batch."""
        right = (result.outputs[-1].argmax(axis=-1) == targets).mean()
        return {"accuracy": float(right), "loss": result.loss}

    def identity(self) -> str:
        """The data and their order."""
        arrays = {"images": self.data.train_images, "labels": self.data.train_labels}
        if self.order is not None:
            arrays["order"] = self.order
        return f"{self.samples} of {digest(arrays)[:16]}"

    def tested(self, training: Training, together: int = 1000) -> float:
        """Share of test images whose class is found."""
        images, labels = self.data.test_images, self.data.test_labels
        right = 0
        for first in range(0, len(labels), together):
            part = slice(first, first + together)
            sequences = pixel_sequences(images[part], self.order)
            last = training.model.outputs(training.parameters, sequences, slice(-1, None))[0]
            right += int((last.argmax(axis=-1) == labels[part]).sum())
        return right / len(labels)


def orders(pixels: int) -> dict[str, np.ndarray | None]:
    """Row by row, and in one random order."""
    return {"row by row": None, "permuted": np.random.default_rng(PERMUTATION_SEED).permutation(pixels)}


def models(units: int, top: int = 5, store_every: int = 2, cut: int = 5) -> tuple[Model, ...]:
    """SAB and its companions, which answer after the last pixel."""
    sab = AttentiveNetwork((1, units, CLASSES), top, store_every, cut, small_memory="softmax", readout="last")
    return four_models(sab, cut)


Rows = Sequence[tuple[str, Pixels, Sequence[Training]]]


def report(rows: Rows, notes: Sequence[str]) -> ExperimentResult:
    """Table, curves, attention maps."""
    lines, statements, figures = [], [], []
    for label, task, trainings in rows:
        found = [task.tested(training) if training.updates else None for training in trainings]
        for training, share in zip(trainings, found, strict=True):
            train = f"{100 * training.stream.running_mean('accuracy', 50):.1f}" if share is not None else "–"
            test = f"{100 * share:.1f}" if share is not None else "–"
            lines.append((f"{training.model.name}, {label}", *effort(training), train, test))
        sab, tbptt = found[:2]
        if comparable(*trainings[:2]):
            statements.append(verdict(f"SAB should find more classes than TBPTT, {label}", sab > tbptt))
        if sab is not None:
            image, image_label = task.data.test_images[:1], task.data.test_labels[:1]
            seen = read_one(trainings[0], pixel_sequences(image, task.order), image_label)
            figures += [
                (
                    f"Learning digits, {label}",
                    "Accuracy on the batches before their updates, mean over 50.",
                    curves(trainings, "accuracy", "accuracy", over=50),
                ),
                (
                    f"What is read of an image, {label}",
                    "SAB on the first test image: weights of its memories at each step (left), and the norm "
                    "of the gradient by each state (right).",
                    attention_map(seen),
                ),
            ]
    return ExperimentResult(
        table_header=("model", "updates", "minutes", "train accuracy, %", "test accuracy, %"),
        table_rows=lines,
        figures=figures,
        notes=[*statements, *notes],
    )


def settings(units: int, samples: int, data: LabelledImages) -> str:
    """How it was trained."""
    return (
        f"{data.train_images.shape[1]} steps, one pixel each; one permutation for all images.  {units} "
        f"units, batches of {samples}, Adam with rate 0.001, gradients clipped to norm 1, float32, seed 0; "
        f"{len(data.train_labels)} training and {len(data.test_labels)} test images; chance is 10 %.  "
        "Accuracy of training is a mean over the last 50 batches."
    )


PIXELS = "One pixel a step, in the order of the rows and in one random order; the class after the last pixel."


@experiment(
    "sparse_attentive_backtracking/pixel-digits", "Digits, pixel by pixel", PIXELS, long=True, resumable=True
)
def pixel_digits(progress: Progress, allowance: Allowance) -> ExperimentResult:
    return trained("digits", load_digits(dtype=DTYPE), 64, 64, 6000, progress, allowance)


@experiment(
    "sparse_attentive_backtracking/pixel-mnist",
    "MNIST at 14 by 14, pixel by pixel",
    PIXELS,
    long=True,
    resumable=True,
)
def pixel_mnist(progress: Progress, allowance: Allowance) -> ExperimentResult:
    return trained("mnist-196", mnist_at_hand(2), 128, 64, 20_000, progress, allowance)


def mnist_at_hand(factor: int) -> LabelledImages:
    """MNIST, pooled."""
    try:
        data = load_mnist(dtype=DTYPE)
    except FileNotFoundError as missing:
        raise Unavailable(str(missing)) from missing
    return LabelledImages(
        mean_pooled(data.train_images, factor),
        data.train_labels,
        mean_pooled(data.test_images, factor),
        data.test_labels,
    )


def trained(
    name: str,
    data: LabelledImages,
    units: int,
    samples: int,
    updates: int,
    progress: Progress,
    allowance: Allowance | None,
    chosen: slice = slice(None),
) -> ExperimentResult:
    """Both orders, each with half of the time."""
    rows = []
    places = orders(data.train_images.shape[1])
    part = None if allowance is None else Allowance(allowance.folder, allowance.seconds / len(places))
    for label, order in places.items():
        task = Pixels(f"{name}-{label.replace(' ', '-')}", data, order, samples)
        each = train_equally(models(units)[chosen], task, ADAM, updates, progress, allowance=part)
        rows.append((label, task, each))
    return report(rows, [settings(units, samples, data)])
