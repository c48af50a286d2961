"""Store and recall at the official size: what a threshold that remembers is good for (Bellec 2018)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refsnn.algorithms.adaptive_bptt import RateRegulariser, adaptive_bptt
from refsnn.algorithms.optimisers import Adam, Staircase
from refsnn.datasets.store_recall import RECALL, STORE, StoreRecall, encode_store_recall, store_recall
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.run import Run
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.contract import Parameters, State
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.lsnn_networks import lsnn
from validation.experiments.spiking_training import verdict
from validation.experiments.streams import Outcome, Stream, Unconstrained, train_stream

if TYPE_CHECKING:
    import matplotlib.figure

INPUTS, NEURONS, BATCH, STEPS = 100, 20, 64, 200  # steps of a character
SOLVED, UPDATES = 0.05, 150
OPTIMISER = Adam(Staircase(0.01, 0.3, 100))
REGULARISER = RateRegulariser(0.01)


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes
    ----------
    name : str
        For the table.
    adaptive : int
        Neurons that adapt, of 20.
    dampening : float
        gamma.
    scheme : str
        Order within a step.
    """

    name: str
    adaptive: int = 10
    dampening: float = 0.3
    scheme: str = "official"

    def network(self, rng: np.random.Generator) -> AdaptiveSpikingNetwork:
        """Of the official size, with its delays."""
        return lsnn(
            (INPUTS, NEURONS, 2),
            self.adaptive,
            rng,
            adaptation=1200.0,
            strength=1.7,
            refractory=3,
            dampening=self.dampening,
            scheme=self.scheme,
            readout_bias=False,
        )


LSNN, LIF = Setting("10 LIF + 10 adaptive"), Setting("20 LIF", adaptive=0)
UNDAMPED, PAPER = Setting(r"LSNN, $\gamma=1$", dampening=1.0), Setting("LSNN, scheme paper", scheme="paper")
EPROP = Setting("LSNN, scheme eprop", scheme="eprop")


def windows(task: StoreRecall) -> WindowTargets:
    """One window a character; those of RECALL count, all of them together 1."""
    weights = task.recall * (task.recall.shape[1] / task.recall.sum())
    return WindowTargets.in_a_row(task.steps_per_character, task.bits, weights)


@dataclass
class Learner:
    """One network that learns, batch by batch."""

    network: AdaptiveSpikingNetwork

    def __call__(self, parameters: Parameters, state: State | None, rng: np.random.Generator) -> Outcome:
        """A fresh batch; sample s goes on from where sample s of the batch before ended."""
        task = store_recall(rng, BATCH, inputs=INPUTS, steps_per_character=STEPS)
        result = adaptive_bptt(
            self.network, parameters, task.inputs, windows(task), regulariser=REGULARISER, initial_state=state
        )
        wrong = (result.window_outputs.argmax(axis=-1) != task.bits)[task.recall].mean()
        figures = {"loss": result.loss, "error": wrong, "rate": 1000 * result.rates.mean()}
        return Outcome(result.gradients, figures, self.network.for_next_sequence(result.final_state))


def solved(stream: Stream) -> bool:
    """Whether the mean error of twenty updates is below 5 %."""
    return stream.updates >= 20 and stream.running_mean("error") < SOLVED


@dataclass(frozen=True)
class Trained:
    """A network after its training."""

    network: AdaptiveSpikingNetwork
    parameters: Parameters
    stream: Stream
    seconds: float


def train(setting: Setting, seed: int, updates: int, progress: Any = None) -> Trained:
    """From scratch until it is solved or `updates` are done."""
    rng = np.random.default_rng(seed)
    network = setting.network(rng)
    rule = Unconstrained(OPTIMISER)
    begun = time.process_time()
    stream = train_stream(
        network.initialise(rng), Learner(network), rule, updates, rng, reached=solved,
        tick=lambda stream: progress and progress(stream),
    )  # fmt: skip
    used = time.process_time() - begun
    return Trained(network, rule.weights(stream.rule_state), stream, used / stream.updates)


def row(setting: Setting, trained: Sequence[Trained]) -> tuple[str, ...]:
    """What became of a setting."""
    streams = [one.stream for one in trained]
    done = [stream.updates for stream in streams if solved(stream)]
    errors = [100 * stream.running_mean("error") for stream in streams]
    return (
        setting.name,
        f"{len(done)} of {len(streams)}",
        ", ".join(str(stream.updates) + ("" if solved(stream) else " (not)") for stream in streams),
        ", ".join(f"{error:.1f}" for error in errors),
        f"{np.mean([stream.running_mean('rate') for stream in streams]):.0f}",
        f"{1000 * np.mean([one.seconds for one in trained]):.0f}",
    )


HEADER = (
    "network", "seeds below 5 %", "updates", "recall error at the end, %", "mean rate, Hz", "ms an update"
)  # fmt: skip


def result(found: Mapping[Setting, list[Trained]], notes: list[str]) -> ExperimentResult:
    """Table, curves, and one trial of the network that learnt."""
    return ExperimentResult(
        table_header=HEADER,
        table_rows=[row(setting, trained) for setting, trained in found.items()],
        figures=[
            (
                "Recall error",
                "Share of RECALL characters answered wrongly, mean of the last twenty updates; dashed: 5 %, "
                "where a training ends.",
                curves(found),
            ),
            (
                "One trial",
                "A trained network that was not asked before: input, spikes, and thresholds of the adaptive "
                "neurons, which rise when a bit is stored and fall slowly.",
                trial(found[LSNN][0]),
            ),
        ],
        notes=[
            *notes,
            f"Twelve characters of {STEPS} ms, {INPUTS} inputs, 64 samples, $\\tau_a=1200$ ms, $\\beta=1.7$, "
            "ten delays, three refractory steps, Adam with rate 0.01 and 0.3 of it every 100 updates; the "
            "state goes on from batch to batch.  Recall error is a mean of twenty updates; CPU time of one "
            "thread, drawing of data and compilation included.",
        ],
    )


def curves(found: Mapping[Setting, list[Trained]]) -> matplotlib.figure.Figure:
    """Running recall errors."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.2, 3.0))
    axes = drawing.subplots()
    for place, (setting, trained) in enumerate(found.items()):
        for one in trained:
            errors = np.array(one.stream.curves["error"])
            mean = [errors[max(0, i - 19) : i + 1].mean() for i in range(len(errors))]
            label = setting.name if one is trained[0] else None
            axes.plot(np.arange(1, len(mean) + 1), mean, color=f"C{place}", label=label, linewidth=1.2)
    axes.axhline(SOLVED, linestyle="--", color="0.5", linewidth=0.8)
    axes.set(xlabel="update", ylabel="recall error", ylim=(0, 0.6))
    axes.legend()
    return drawing


def trial(trained: Trained) -> matplotlib.figure.Figure:
    """Raster and thresholds of one sequence, 1 ... STORE 0 ... RECALL."""
    from matplotlib.figure import Figure

    rng = np.random.default_rng(7)
    shown = np.array([[1, 0, STORE, 0, 1, 1, 0, 1, RECALL, 0, 1, 0]])
    task = encode_store_recall(rng, shown, inputs=INPUTS, steps_per_character=STEPS)
    network = trained.network
    parameters, driven = network.check_inputs(trained.parameters, task.inputs)
    core = network.working_core(parameters, driven, None)
    core.start(None)
    run = Run(core, None)
    run.forward(core.before.copies())
    spikes = run.states.spikes[1:, 0] > 0
    thresholds = (
        np.array(network.neuron.baseline)
        + np.array(network.neuron.adaptation_strength) * (run.states.adaptation[1:, 0])
    )
    drawing = Figure(figsize=(9.0, 5.2))
    upper, middle, lower = drawing.subplots(3, 1, sharex=True, height_ratios=(1, 1, 1.2))
    when, who = np.nonzero(task.inputs.as_array()[:, 0])
    upper.plot(when, who, "|", markersize=2, color="0.3")
    for place, character in enumerate(shown[0]):
        name = {STORE: "STORE", RECALL: "RECALL"}.get(int(character), str(character))
        upper.text((place + 0.5) * STEPS, INPUTS + 4, name, ha="center", fontsize=8)
    upper.set(ylabel="inputs", ylim=(-2, INPUTS + 22))
    when, who = np.nonzero(spikes)
    plain = NEURONS - NEURONS // 2
    for first, last, colour, label in ((0, plain, "C0", "LIF"), (plain, NEURONS, "C1", "adaptive")):
        those = (who >= first) & (who < last)
        middle.plot(when[those], who[those], "|", markersize=4, color=colour, label=label)
    middle.set(ylabel="neurons")
    middle.legend(loc="upper right", ncols=2)
    lower.plot(thresholds[:, plain:], linewidth=1)
    lower.set(ylabel="thresholds $B$", xlabel="ms")
    return drawing


STORE_RECALL = (
    "Bits are shown one after the other; a STORE marks one, and some characters later RECALL asks for it.  "
    "2400 steps of 1 ms, twenty neurons."
)


def compare(
    settings: Mapping[Setting, Sequence[int]], updates: int, progress: Progress
) -> dict[Setting, Any]:
    """Each setting with its seeds."""
    total = updates * sum(len(seeds) for seeds in settings.values())
    done, found = 0, {}
    for setting, seeds in settings.items():
        found[setting] = []
        for seed in seeds:
            text = f"{setting.name}, seed {seed}"

            def tick(stream: Stream, done: int = done, text: str = text) -> None:
                error = stream.running_mean("error")
                progress(done + stream.updates, total, f"{text}: recall error {100 * error:.0f} %")

            found[setting].append(train(setting, seed, updates, tick))
            done += updates
    return found


@experiment("lsnn/store-recall", "Store and recall", STORE_RECALL)
def short(progress: Progress) -> ExperimentResult:
    found = compare({LSNN: (1,), LIF: (1,)}, UPDATES, progress)
    chance = found[LIF][0].stream.running_mean("error") >= 0.4
    return result(
        found,
        [
            verdict(f"The LSNN should be below 5 % within {UPDATES} updates", solved(found[LSNN][0].stream)),
            verdict("A LIF network of the same size should stay above 40 %", bool(chance)),
        ],
    )


@experiment("lsnn/store-recall-long", "Store and recall: seeds, dampening, schemes", STORE_RECALL, long=True)
def long(progress: Progress) -> ExperimentResult:
    found = compare(
        {LSNN: (1, 2, 3, 4), LIF: (1, 2, 3, 4), UNDAMPED: (1, 2), PAPER: (1, 2), EPROP: (1, 2)},
        UPDATES,
        progress,
    )
    below = sum(solved(one.stream) for one in found[LSNN])
    chance = all(one.stream.running_mean("error") >= 0.4 for one in found[LIF])
    undamped = all(one.stream.running_mean("error") >= 0.4 for one in found[UNDAMPED])
    return result(
        found,
        [
            verdict(f"At least three of four LSNNs should be below 5 % within {UPDATES} updates", below >= 3),
            verdict("LIF networks of the same size should stay above 40 %", chance),
            verdict(r"With $\gamma=1$ it should not be learnt", undamped),
        ],
    )
