"""A task whose answer is far away, under sparse attentive backtracking and beside others (Ke 2018)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refsnn.algorithms.optimisers import Adam, clipped
from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult, sparse_attentive_backtracking
from refsnn.datasets.long_memory import CLASSES, SYMBOLS, copying_task
from refsnn.models.attentive.network import AttentiveNetwork, ReminderWarning
from refsnn.models.attentive.run import attentive_run
from refsnn.models.contract import Parameters, State
from refsnn.models.sequences import StepTargets
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.spiking_training import verdict
from validation.experiments.streams import Outcome, Stream, Unconstrained, train_stream

if TYPE_CHECKING:
    import matplotlib.figure

UNITS, BATCH, DELAY, CLIP = 32, 32, 20, 1.0
OPTIMISER = Adam(3e-3)
TRANSFER = (40, 80, 160, 320)
TESTED = 256
SEEDS, FAR = 12, 0.84
MEDIANS = (f"median at {DELAY}", *(f"at {delay}" for delay in TRANSFER))
DTYPE = np.float32


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes
    ----------
    name : str
        For the table.
    top : int
        k_top.
    store_every : int or None
        k_att; None stores nothing.
    truncate_every : int or None
        k_trunc.
    attention : {"authors", "uniform"}
        Initial weights of the attention.
    small_memory : str
        Weights while there are at most k_top memories.
    forget_bias : float
        Added to the biases of the forget gates.
    """

    name: str
    top: int
    store_every: int | None
    truncate_every: int | None
    attention: str = "uniform"
    small_memory: str = "raw"
    forget_bias: float = 0.0

    def network(self) -> AttentiveNetwork:
        """Ten channels, 32 units, nine classes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReminderWarning)  # windows of one step are there to fail
            return AttentiveNetwork(
                (CLASSES, UNITS, SYMBOLS + 1),
                self.top,
                self.store_every,
                self.truncate_every,
                small_memory=self.small_memory,
            )


SAB = Setting("SAB (5, 2, 5)", 5, 2, 5)
OTHERS = (
    Setting("the same, few memories by softmax", 5, 2, 5, small_memory="softmax"),
    Setting("the same, authors' initial weights", 5, 2, 5, "authors"),
    Setting("SAB (5, 1, 5)", 5, 1, 5),
    Setting("SAB (2, 2, 5)", 2, 2, 5),
    Setting("SAB (2, 5, 5): windows of one step", 2, 5, 5),
)
TBPTT = Setting("TBPTT, 5 steps", 5, None, 5)
BPTT = Setting("LSTM, BPTT", 5, None, None)
REMEMBERING = replace(BPTT, name="LSTM, BPTT, forget gates biased by 2", forget_bias=2.0)


def run(
    network: AttentiveNetwork, parameters: Parameters, rng: np.random.Generator, samples: int, delay: int
) -> tuple[AttentiveResult, float]:
    """A batch of one-symbol recall; also the share of symbols that were recalled."""
    inputs, targets = copying_task(rng, samples, delay, items=1, one_hot=True, dtype=DTYPE)
    each = StepTargets(targets, np.full(len(targets), 1 / len(targets), DTYPE))
    result = sparse_attentive_backtracking(network, parameters, inputs, each)
    return result, float((result.outputs[-1].argmax(axis=-1) == targets[-1]).mean())


def tested(network: AttentiveNetwork, parameters: Parameters, rng: np.random.Generator, delay: int) -> float:
    """Share of symbols recalled in fresh sequences, at any delay."""
    inputs, targets = copying_task(rng, TESTED, delay, items=1, one_hot=True, dtype=DTYPE)
    outputs = attentive_run(network, parameters, inputs).outputs
    return float((outputs[-1].argmax(axis=-1) == targets[-1]).mean())


@dataclass(frozen=True)
class Learner:
    """One network that learns from fresh sequences."""

    network: AttentiveNetwork

    def __call__(self, parameters: Parameters, state: State | None, rng: np.random.Generator) -> Outcome:
        """A batch, its gradient clipped: without it the first updates are attention's alone."""
        result, right = run(self.network, parameters, rng, BATCH, DELAY)
        return Outcome(clipped(result.gradients, CLIP), {"loss": result.loss, "accuracy": right})


@dataclass(frozen=True)
class Trained:
    """A network after its training: accuracy at each delay, and the weights of one sequence."""

    stream: Stream
    accuracies: dict[int, float]
    attention: np.ndarray
    reach: np.ndarray


def train(setting: Setting, seed: int, updates: int, tick: Any) -> Trained:
    """From scratch; ends early where two hundred batches in a row were all right."""
    rng = np.random.default_rng(seed)
    network = setting.network()
    rule = Unconstrained(OPTIMISER)

    def solved(stream: Stream) -> bool:
        return stream.updates >= 200 and stream.running_mean("accuracy", 200) == 1

    stream = train_stream(
        network.initialise(rng, DTYPE, attention=setting.attention, forget_bias=setting.forget_bias),
        Learner(network),
        rule,
        updates,
        rng,
        reached=solved,
        tick=tick,
    )
    parameters, fresh = rule.weights(stream.rule_state), np.random.default_rng(1000 + seed)
    accuracies = {delay: tested(network, parameters, fresh, delay) for delay in (DELAY, *TRANSFER)}
    shown, _ = run(network, parameters, fresh, 1, DELAY)
    return Trained(stream, accuracies, shown.weights[:, 0], shown.reach[:, 0])


def compare(
    settings: Sequence[Setting], seeds: Sequence[int], updates: int, progress: Progress
) -> dict[Setting, list[Trained]]:
    """Each setting with each seed."""
    done, total = 0, updates * len(settings) * len(seeds)
    found: dict[Setting, list[Trained]] = {}
    for setting in settings:
        for seed in seeds:

            def tick(stream: Stream, done: int = done, text: str = f"{setting.name}, seed {seed}") -> None:
                progress(
                    done + stream.updates, total, f"{text}: {100 * stream.running_mean('accuracy'):.0f} %"
                )

            found.setdefault(setting, []).append(train(setting, seed, updates, tick))
            done += updates
    return found


def table(found: Mapping[Setting, list[Trained]]) -> list[tuple[str, ...]]:
    """Accuracies at all delays, seed by seed."""
    return [
        (
            setting.name,
            ", ".join(str(one.stream.updates) for one in trained),
            *(", ".join(f"{one.accuracies[delay]:.2f}" for one in trained) for delay in (DELAY, *TRANSFER)),
        )
        for setting, trained in found.items()
    ]


def attention_map(trained: Trained) -> matplotlib.figure.Figure:
    """What each step reads, and where credit comes to."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(8.4, 3.2))
    left, right = drawing.subplots(1, 2)
    shown = left.imshow(trained.attention.T, aspect="auto", origin="lower", cmap="Blues", vmin=0)
    drawing.colorbar(shown, ax=left, label="weight")
    left.set(xlabel="step that reads", ylabel="slot")
    left.grid(False)
    right.semilogy(np.arange(1, len(trained.reach) + 1), np.maximum(trained.reach, 1e-12), "o-", markersize=3)
    right.set(xlabel="step $t$", ylabel=r"$|\partial L/\partial h_t|$")
    return drawing


def report(found: Mapping[Setting, list[Trained]], notes: list[str]) -> ExperimentResult:
    """Table and attention map."""
    return ExperimentResult(
        table_header=("model", "updates", f"delay {DELAY}", *(str(delay) for delay in TRANSFER)),
        table_rows=table(found),
        figures=[
            (
                "What is remembered",
                "A trained SAB network on one fresh sequence: weights of its memories at each step (left), "
                "and the norm of the gradient by each state (right). The symbol was shown at step 1.",
                attention_map(found[SAB][0]),
            )
        ],
        notes=[
            *notes,
            f"One of eight symbols, to be named {DELAY} steps later; accuracy on {TESTED} fresh sequences, "
            "seed by seed, chance 0.125; the same weights at longer delays.  32 units, batch 32, Adam with "
            "rate 0.003, gradients clipped to norm 1, float32; a training ends after two hundred batches "
            "without an error.  Triples are $(k_{top},k_{att},k_{trunc})$; initial weights of the attention "
            r"are uniform in $\pm1/\sqrt H$, the authors' $W_1,W_2\sim\mathcal N(0,1)$, "
            r"$w_3\sim\mathcal N(0,0.01^2)$.",
        ],
    )


RECALL = "One symbol is shown first and asked for twenty steps later, beyond any window of truncated BPTT."


@experiment("sparse_attentive_backtracking/recall", "One-symbol recall", RECALL)
def short(progress: Progress) -> ExperimentResult:
    found = compare((SAB, TBPTT), (0,), 1000, progress)
    chance = found[TBPTT][0].accuracies[DELAY] <= 0.3
    return report(
        found,
        [
            verdict("SAB should recall at least 95 %", found[SAB][0].accuracies[DELAY] >= 0.95),
            verdict("TBPTT should stay at chance", chance),
        ],
    )


def summary(found: Mapping[Setting, list[Trained]]) -> list[tuple[str, ...]]:
    """How many seeds recall, and medians of the accuracies."""
    rows = []
    for setting, trained in found.items():
        solved = [one for one in trained if recalls(one)]
        far = sum(one.accuracies[TRANSFER[-1]] >= FAR for one in solved)
        medians = (
            float(np.median([one.accuracies[delay] for one in trained])) for delay in (DELAY, *TRANSFER)
        )
        rows.append((setting.name, str(len(solved)), str(far), *(f"{median:.2f}" for median in medians)))
    return rows


def recalls(trained: Trained) -> bool:
    """Whether all symbols but one or none of 256 were right."""
    return trained.accuracies[DELAY] >= 0.995


@experiment(
    "sparse_attentive_backtracking/recall-long", "One-symbol recall: seeds and settings", RECALL, long=True
)
def long(progress: Progress) -> ExperimentResult:
    found = compare((SAB, *OTHERS, TBPTT, BPTT, REMEMBERING), range(SEEDS), 1000, progress)
    solved = [one for one in found[SAB] if recalls(one)]
    far = all(one.accuracies[TRANSFER[-1]] >= FAR for one in solved)
    chance = all(one.accuracies[DELAY] <= 0.3 for one in found[TBPTT])
    result = report(
        found,
        [
            verdict("SAB (5, 2, 5) should recall every symbol with every seed", len(solved) == SEEDS),
            verdict(f"It should keep {FAR} at a delay of {TRANSFER[-1]} where it does", far),
            verdict("TBPTT should stay at chance", chance),
        ],
    )
    header = ("model", f"recall, of {SEEDS} seeds", f"and keep {FAR} at {TRANSFER[-1]}", *MEDIANS)
    return replace(result, table_header=header, table_rows=summary(found))
