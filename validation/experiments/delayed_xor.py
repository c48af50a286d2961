"""Delayed XOR: the first of two bits has to outlast a pause, and so has what both make together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.adaptive_bptt import RateRegulariser, adaptive_bptt
from refsnn.algorithms.optimisers import Adam, Staircase
from refsnn.datasets.delayed_xor import DelayedXor, delayed_xor
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

INPUTS, NEURONS, ADAPTIVE, BATCH = 60, 40, 20, 64
RATE, FACTOR, EVERY, SLOTS, REFRACTORY = 0.005, 0.3, 150, 10, 3
# beta by pause: over a longer tau_a a spike of the same beta raises the threshold less
STRENGTHS = {100: 1.7, 300: 1.7, 1000: 5.0}
REGULARISER = RateRegulariser(0.1)
SOLVED, CHANCE = 0.02, 0.4  # errors: of a training that may end, and of one that has learnt nothing
FRESH, FRESH_SEED = 512, 1_000_003
SHORT_UPDATES, LONG_UPDATES = 150, 400
TOO_LONG = 300  # ms that recurrent activity of LIF neurons does not bridge
SEEDS = {100: (0, 1), 300: (0, 1), 1000: (0,)}  # by pause


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes
    ----------
    delay : int
        Each pause, in ms.
    adaptive : int
        Neurons that adapt, of 40.
    """

    delay: int
    adaptive: int

    @property
    def name(self) -> str:
        """For tables and curves."""
        half = NEURONS - self.adaptive
        return f"{half} LIF + {self.adaptive} adaptive" if self.adaptive else f"{NEURONS} LIF"

    @property
    def adaptation(self) -> float:
        """tau_a: about as long as what has to be kept."""
        return 2.0 * self.delay

    def network(self, rng: np.random.Generator) -> AdaptiveSpikingNetwork:
        """With its delays."""
        return lsnn(
            (INPUTS, NEURONS, 2),
            self.adaptive,
            rng,
            adaptation=self.adaptation,
            strength=STRENGTHS[self.delay],
            delay_slots=SLOTS,
            refractory=REFRACTORY,
        )


def window(task: DelayedXor) -> WindowTargets:
    """The answer is the mean read-out after the last cue."""
    return WindowTargets([task.answer.start], [task.answer.stop - 1], task.labels[None])


@dataclass
class Learner:
    """One network that learns the task at one delay."""

    network: AdaptiveSpikingNetwork
    delay: int

    def __call__(self, parameters: Parameters, state: State | None, rng: np.random.Generator) -> Outcome:
        """A fresh batch, from rest."""
        task = delayed_xor(rng, BATCH, self.delay)
        result = adaptive_bptt(self.network, parameters, task.inputs, window(task), regulariser=REGULARISER)
        wrong = (result.window_outputs[0].argmax(axis=-1) != task.labels).mean()
        figures = {"loss": result.loss, "error": wrong, "rate": 1000 * result.rates.mean()}
        return Outcome(result.gradients, figures)


def accuracy(network: AdaptiveSpikingNetwork, parameters: Parameters, task: DelayedXor) -> float:
    """Share of right answers."""
    checked, driven, windows = network.check(parameters, task.inputs, window(task))
    core = network.working_core(checked, driven, windows)
    core.start(None)
    run = Run(core, windows)
    run.forward(core.before.copies())
    return float((core.read(run.averages[0]).argmax(axis=-1) == task.labels).mean())


def solved(stream: Stream) -> bool:
    """Whether the mean error of twenty updates is below 2 %."""
    return stream.updates >= 20 and stream.running_mean("error") < SOLVED


@dataclass(frozen=True)
class Trained:
    """A training, its accuracy on fresh samples, and CPU seconds an update."""

    stream: Stream
    accuracy: float
    seconds: float


def train(setting: Setting, seed: int, updates: int, tick: Callable[[Stream], None]) -> Trained:
    """From scratch until it is solved or `updates` are done."""
    rng = np.random.default_rng(seed)
    network, rule = setting.network(rng), Unconstrained(Adam(Staircase(RATE, FACTOR, EVERY)))
    begun = time.process_time()
    stream = train_stream(
        network.initialise(rng), Learner(network, setting.delay), rule, updates, rng,
        reached=solved, tick=tick,
    )  # fmt: skip
    used = (time.process_time() - begun) / stream.updates
    fresh = delayed_xor(np.random.default_rng(FRESH_SEED), FRESH, setting.delay)
    return Trained(stream, accuracy(network, rule.weights(stream.rule_state), fresh), used)


def compare(
    settings: Mapping[Setting, Sequence[int]], updates: int, progress: Progress
) -> dict[Setting, list[Trained]]:
    """Each setting with its seeds."""
    total, done = updates * sum(map(len, settings.values())), 0
    found: dict[Setting, list[Trained]] = {setting: [] for setting in settings}
    for setting, seeds in settings.items():
        for seed in seeds:

            def tick(stream: Stream, done: int = done, setting: Setting = setting, seed: int = seed) -> None:
                error = 100 * stream.running_mean("error")
                text = f"{setting.name}, {setting.delay} ms, seed {seed}: error {error:.0f} %"
                progress(done + stream.updates, total, text)

            found[setting].append(train(setting, seed, updates, tick))
            done += updates
    return found


def row(setting: Setting, trained: Sequence[Trained]) -> tuple[str, ...]:
    """What became of a setting."""
    streams = [one.stream for one in trained]
    return (
        f"{setting.delay}",
        setting.name,
        f"{sum(map(solved, streams))} of {len(streams)}",
        ", ".join(str(stream.updates) + ("" if solved(stream) else " (not)") for stream in streams),
        ", ".join(f"{100 * one.accuracy:.1f}" for one in trained),
        f"{np.mean([stream.running_mean('rate') for stream in streams]):.0f}",
        f"{1000 * np.mean([one.seconds for one in trained]):.0f}",
    )


HEADER = (
    "pause, ms", "network", "seeds below 2 %", "updates", "accuracy on fresh samples, %", "mean rate, Hz",
    "ms an update",
)  # fmt: skip


def result(found: Mapping[Setting, Sequence[Trained]], notes: list[str]) -> ExperimentResult:
    """Table and curves."""
    return ExperimentResult(
        table_header=HEADER,
        table_rows=[row(setting, trained) for setting, trained in found.items()],
        figures=[
            (
                "Error",
                "Share of wrong answers, mean of the last twenty updates; dashed: 2 %, where a training "
                "ends.",
                curves(found),
            )
        ],
        notes=[
            *notes,
            f"Cues of 30 ms from groups of 20 inputs at 100 Hz, an answer of 60 ms after the third; {BATCH} "
            "samples, $\\tau_a$ twice the pause, $\\beta=1.7$ (5 where the pause is 1000 ms), ten delays, "
            f"three refractory steps, Adam with rate {RATE} and {FACTOR} of it every {EVERY} updates, rates "
            f"drawn to 10 Hz.  Accuracy on {FRESH} samples that no training drew; CPU time of one thread, "
            "drawing of data and compilation included.",
        ],
    )


def curves(found: Mapping[Setting, Sequence[Trained]]) -> matplotlib.figure.Figure:
    """Running errors, a panel for each pause."""
    from matplotlib.figure import Figure

    delays = sorted({setting.delay for setting in found})
    drawing = Figure(figsize=(3.6 * len(delays) + 1.0, 3.0))
    panels = drawing.subplots(1, len(delays), squeeze=False, sharey=True)[0]
    for panel, delay in zip(panels, delays, strict=True):
        those = [(setting, trained) for setting, trained in found.items() if setting.delay == delay]
        for place, (setting, trained) in enumerate(those):
            for one in trained:
                errors = np.array(one.stream.curves["error"])
                mean = [errors[max(0, i - 19) : i + 1].mean() for i in range(len(errors))]
                label = setting.name if one is trained[0] else None
                panel.plot(np.arange(1, len(mean) + 1), mean, color=f"C{place}", label=label, linewidth=1.2)
        panel.axhline(SOLVED, linestyle="--", color="0.5", linewidth=0.8)
        panel.set(xlabel="update", title=f"pauses of {delay} ms", ylim=(0, 0.65))
    panels[0].set_ylabel("error")
    panels[0].legend()
    return drawing


def verdicts(found: Mapping[Setting, Sequence[Trained]], delay: int) -> list[str]:
    """What is expected at a pause."""
    adaptive, plain = found[Setting(delay, ADAPTIVE)], found[Setting(delay, 0)]
    notes = [
        verdict(
            f"With pauses of {delay} ms the LSNN should be right in 95 % of fresh samples",
            min(one.accuracy for one in adaptive) >= 0.95,
        )
    ]
    if delay >= TOO_LONG:
        notes.append(
            verdict(
                "A LIF network of the same size, with as many updates at most, should stay below "
                f"{100 * (1 - CHANCE):.0f} %",
                max(one.accuracy for one in plain) < 1 - CHANCE,
            )
        )
    return notes


XOR = (
    "Two bits are shown with a pause between them, and after another pause it is asked whether they differ.  "
    "Forty neurons, steps of 1 ms."
)


@experiment("lsnn/delayed-xor", "Delayed XOR", XOR)
def short(progress: Progress) -> ExperimentResult:
    found = compare({Setting(300, ADAPTIVE): (1,), Setting(300, 0): (1,)}, SHORT_UPDATES, progress)
    return result(found, verdicts(found, 300))


@experiment("lsnn/delayed-xor-long", "Delayed XOR: longer pauses, seeds", XOR, long=True)
def long(progress: Progress) -> ExperimentResult:
    settings = {Setting(delay, adaptive): SEEDS[delay] for delay in SEEDS for adaptive in (ADAPTIVE, 0)}
    found = compare(settings, LONG_UPDATES, progress)
    return result(found, [note for delay in SEEDS for note in verdicts(found, delay)])
