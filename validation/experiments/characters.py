"""Characters of the Penn Treebank, one after the other (Ke 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refsnn.algorithms.optimisers import Adam
from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult
from refsnn.datasets.characters import Vocabulary, character_sequences, load_penn_treebank
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.losses import cross_entropy
from validation.experiments import Allowance, ExperimentResult, Progress, Unavailable, experiment
from validation.experiments.attentive_training import (
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

UNITS, BATCH, STEPS, UPDATES = 128, 64, 100, 1500
ADAM = Adam(2e-3)


@dataclass(frozen=True)
class Text:
    """A text to learn from, and one to be tested on.

    Attributes
    ----------
    vocabulary : Vocabulary
        Of both.
    train, test : tuple of ndarray of int64, (T, sequences)
        Inputs and targets.
    samples : int
        B.
    """

    vocabulary: Vocabulary
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    samples: int = BATCH

    @classmethod
    def of(cls, train: str, test: str, steps: int = STEPS, samples: int = BATCH) -> Text:
        """Cut into sequences of one length."""
        vocabulary = Vocabulary.of(train, test)
        cut = [character_sequences(vocabulary.encode(text), steps) for text in (train, test)]
        return cls(vocabulary, *cut, samples)

    @property
    def name(self) -> str:
        """Of its checkpoints."""
        return "characters"

    def shown(self, codes: np.ndarray) -> np.ndarray:
        """One channel a character."""
        return np.eye(len(self.vocabulary), dtype=DTYPE)[codes]

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sequences from anywhere in the text."""
        inputs, targets = self.train
        drawn = rng.integers(0, inputs.shape[1], self.samples)
        return self.shown(inputs[:, drawn]), targets[:, drawn]

    def figures(self, result: AttentiveResult, targets: np.ndarray) -> dict[str, float]:
        """Bits a character of the batch."""
        return {"BPC": result.loss / np.log(2)}

    def identity(self) -> str:
        """The text that is learned, and how it is cut."""
        return f"{self.samples} of {digest(dict(zip(('inputs', 'targets'), self.train, strict=True)))[:16]}"

    def tested(self, training: Training, together: int = 512) -> float:
        """Bits a character of the other text."""
        inputs, targets = self.test
        total = 0.0
        for first in range(0, inputs.shape[1], together):
            part = slice(first, first + together)
            outputs = training.model.outputs(training.parameters, self.shown(inputs[:, part]))
            total += bits(outputs, targets[:, part])
        return total / targets.size


def bits(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Sum of -log2 p(target) over all characters.

    Parameters
    ----------
    outputs : ndarray, (T, B, characters)
        Logits.
    targets : ndarray of int, (T, B)
        The characters that came.

    Returns
    -------
    float
    """
    flat = np.asarray(outputs, np.float64).reshape(-1, outputs.shape[-1])
    return float(cross_entropy(flat, targets.ravel())) * targets.size / float(np.log(2))


def models(characters: int, units: int = UNITS) -> tuple[Model, Model, Model, Model]:
    """SAB (5, 2, 5) and its companions."""
    return four_models(AttentiveNetwork((characters, units, characters), 5, 2, 5, small_memory="softmax"), 5)


def entropy_of_single_characters(text: Text) -> float:
    """Bits a character of the test by frequencies in the other text, each counted once more."""
    counts = np.bincount(text.train[1].ravel(), minlength=len(text.vocabulary)) + 1
    return float(-np.log2(counts / counts.sum())[text.test[1]].mean())


def report(trainings: Sequence[Training], text: Text, notes: Sequence[str]) -> ExperimentResult:
    """Table, curves, attention map."""
    found = {training.model.name: text.tested(training) for training in trainings if training.updates}
    alone = entropy_of_single_characters(text)
    rows = [
        (
            training.model.name,
            *effort(training),
            f"{training.stream.running_mean('BPC', 50):.3f}" if training.stream and training.updates else "–",
            f"{found[training.model.name]:.3f}" if training.updates else "–",
        )
        for training in trainings
    ]
    statements, figures = [], []
    sab, tbptt = trainings[:2]
    if comparable(sab, tbptt):
        fewer = found[sab.model.name] < found[tbptt.model.name]
        statements.append(verdict("SAB should need fewer bits than TBPTT", fewer))
    if trainings[0].updates:
        first = text.test[0][:, :1], text.test[1][:, :1]
        figures.append(
            (
                "What is read in a text",
                "SAB on the first sequence of the test: weights of its memories at each step (left), and the "
                "norm of the gradient by each state (right).",
                attention_map(read_one(trainings[0], text.shown(first[0]), first[1])),
            )
        )
    return ExperimentResult(
        table_header=("model", "updates", "minutes", "train, bits a character", "test, bits a character"),
        table_rows=[*rows, ("frequencies of characters", "–", "–", "–", f"{alone:.3f}")],
        figures=[
            (
                "Learning characters",
                "Bits a character, mean over 20 batches; dashed: frequencies of single characters.",
                curves(trainings, "BPC", "bits a character", {"frequencies": alone}),
            ),
            *figures,
        ],
        notes=[*statements, *notes],
    )


def text_at_hand() -> Text:
    """That of validation to learn from, that of the test."""
    try:
        texts = load_penn_treebank(parts=("valid", "test"))
    except FileNotFoundError as missing:
        raise Unavailable(str(missing)) from missing
    return Text.of(texts["valid"], texts["test"])


@experiment(
    "sparse_attentive_backtracking/characters",
    "Characters of the Penn Treebank",
    "Sequences of 100 characters, each with the next as its target.",
    long=True,
    resumable=True,
)
def characters(progress: Progress, allowance: Allowance) -> ExperimentResult:
    text = text_at_hand()
    trainings = train_equally(
        models(len(text.vocabulary)), text, ADAM, UPDATES, progress, allowance=allowance
    )
    return report(
        trainings,
        text,
        [
            f"Learned from the validation text ({text.train[0].shape[1]} sequences that do not overlap), "
            f"tested on the test text ({text.test[0].shape[1]}); published figures are of the train text, "
            f"which is far longer.  {UNITS} units, batches of {BATCH}, Adam with rate 0.002, gradients "
            "clipped to norm 1, float32, seed 0; states begin at rest in each sequence.",
        ],
    )
