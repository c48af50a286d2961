"""Learning to learn functions: weights are trained over many functions, then frozen, and the state learns.

Section 5 of Bellec 2018 at a reduced size.  Each episode is a function that the network has not seen, shown
example by example; what counts is how its error falls within the episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.algorithms.optimisers import Adam, Staircase
from refsnn.datasets.learning_to_learn import (
    Episodes,
    Family,
    Sines,
    TwoLayerNetworks,
    baselines,
    draw_episodes,
)
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.run import Run
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.contract import Parameters, State
from validation.experiments import Allowance, ExperimentResult, Progress, experiment
from validation.experiments.lsnn_networks import lsnn
from validation.experiments.spiking_training import verdict
from validation.experiments.streams import Outcome, Unconstrained
from validation.experiments.turns import Begun, Done, Job, left_over, train_in_turn

if TYPE_CHECKING:
    import matplotlib.figure

NEURONS, EXAMPLES, STEPS, CODED, TASKS = 60, 40, 20, 20, 10  # steps of an example, inputs for each value
HIGHEST_RATE, STRENGTH, REFRACTORY = 0.2, 1.8, 3
RATE, FACTOR, EVERY = 0.003, 0.3, 1000
SHORT, LONG, SEED = 200, 2000, 0
UNSEEN, UNSEEN_SEED = 400, 1_000_003
BAR, SHORT_BAR = 1 / 3.5, 0.5
# an answer that comes late in the first window would make any later error look small
FAIR_FIRST = 1.25


@dataclass(frozen=True)
class Kind:
    """A family and what its targets are on average.

    Attributes
    ----------
    name, key : str
        For tables, and for files.
    family : Family
        Functions.
    middle : float
        What the read-out says before it has learnt anything.
    expected : callable
        From points to the mean of all functions there: the best answer of who remembers nothing.
    """

    name: str
    key: str
    family: Family
    middle: float
    expected: Callable[[np.ndarray], np.ndarray]


# weights of both signs are equally likely, so that sigmoids are 1/2 on average everywhere
NETWORKS = Kind(
    "two-layer networks", "networks", TwoLayerNetworks(), 0.5, lambda points: np.full(points.shape[:-1], 0.5)
)
AMPLITUDES = 0.01, 0.5
# a phase uniform between 0 and pi leaves 2 / pi of a cosine
SINES = Kind(
    "sines", "sines", Sines(amplitude_range=AMPLITUDES), 0.0,
    lambda points: np.mean(AMPLITUDES) * 2 / np.pi * np.cos(points[..., 0]),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One training.

    Attributes
    ----------
    kind : Kind
        Of functions.
    adaptive : int
        Neurons that adapt, of 60.
    """

    kind: Kind
    adaptive: int

    @property
    def name(self) -> str:
        """For tables and curves."""
        return (
            f"{NEURONS - self.adaptive} LIF + {self.adaptive} adaptive" if self.adaptive else f"{NEURONS} LIF"
        )

    def network(self, rng: np.random.Generator) -> AdaptiveSpikingNetwork:
        """With its time constants; the read-out sees mean spikes of a window and nothing before it."""
        inputs = (self.kind.family.dimensions + 1) * CODED
        network = lsnn(
            (inputs, NEURONS, 1),
            self.adaptive,
            rng,
            adaptation=rng.uniform(1, 1000, NEURONS),
            strength=STRENGTH,
            delay_slots=1,
            refractory=REFRACTORY,
            loss_function="mean_squared_error",
        )
        return replace(network, readout_decay=0.0)

    def begin(self, rng: np.random.Generator) -> Begun:
        """Network, first parameters and optimiser."""
        network = self.network(rng)
        parameters = network.initialise(rng)
        parameters["readout.bias"][:] = self.kind.middle
        # weights of spike counts at rate eta are weights of mean spikes at STEPS eta
        rates = {name: Staircase(RATE, FACTOR, EVERY) for name in parameters}
        rates["readout.weight"] = Staircase(RATE * STEPS, FACTOR, EVERY)
        return Begun(network, parameters, Learner(network, self.kind), Unconstrained(Adam(rates)))

    def job(self, updates: int) -> Job:
        """The training among others."""
        key = f"learning-to-learn-{self.kind.key}-{'lsnn' if self.adaptive else 'lif'}"
        return Job(f"{self.kind.name}, {self.name}", key, self.begin, updates, SEED, "late error")


def windows(episodes: Episodes) -> WindowTargets:
    """One window an example; the loss, of halves of squares, becomes the mean squared error."""
    weights = np.full(len(episodes.targets), 2 / len(episodes.targets))
    return WindowTargets.in_a_row(episodes.steps_per_example, episodes.targets[:, :, None], weights)


@dataclass
class Learner:
    """One network that learns to learn."""

    network: AdaptiveSpikingNetwork
    kind: Kind

    def __call__(self, parameters: Parameters, state: State | None, rng: np.random.Generator) -> Outcome:
        """An episode of each of ten new functions, from rest."""
        episodes = drawn(rng, self.kind.family, TASKS)
        result = adaptive_bptt(self.network, parameters, episodes.inputs, windows(episodes))
        errors = ((result.window_outputs[..., 0] - episodes.targets) ** 2).mean(axis=1)
        half = len(errors) // 2
        figures = {
            "first error": errors[0],
            "late error": errors[half:].mean(),
            "rate": 1000 * result.rates.mean(),
        }
        return Outcome(result.gradients, figures)


def drawn(rng: np.random.Generator, family: Family, tasks: int) -> Episodes:
    """Episodes of this experiment's size."""
    return draw_episodes(rng, family, tasks, EXAMPLES, STEPS, CODED, highest_rate=HIGHEST_RATE)


# ---- frozen weights ---------------------------------------------------------------------------------------


def answers(network: AdaptiveSpikingNetwork, parameters: Parameters, episodes: Episodes) -> np.ndarray:
    """What a network says to each example, (examples, tasks); nothing is learnt but in its state."""
    checked, driven, found = network.check(parameters, episodes.inputs, windows(episodes))
    core = network.working_core(checked, driven, found)
    core.start(None)
    run = Run(core, found)
    run.forward(core.before.copies())
    return np.array([core.read(average)[:, 0].copy() for average in run.averages])


@dataclass(frozen=True)
class Yardsticks:
    """Errors on the unseen functions of answers that need no network.

    Attributes
    ----------
    constant, forgetful, last_target, task_mean, task_linear : float
        One number for the family; the best answer to a point without memory; the target before, which is
        among the inputs; the mean of all targets of the task; a plane through all its examples.
    """

    constant: float
    forgetful: float
    last_target: float
    task_mean: float
    task_linear: float


def unseen(kind: Kind) -> tuple[Episodes, Yardsticks]:
    """Functions that no training draws: another seed."""
    episodes = drawn(np.random.default_rng(UNSEEN_SEED), kind.family, UNSEEN)
    easy = baselines(episodes.points, episodes.targets)
    last = float(np.mean(np.diff(episodes.targets, axis=0) ** 2))
    forgetful = float(np.mean((episodes.targets - kind.expected(episodes.points)) ** 2))
    return episodes, Yardsticks(easy.family_constant, forgetful, last, easy.task_mean, easy.task_linear)


@dataclass(frozen=True)
class Tested:
    """A training and its errors on unseen functions.

    Attributes
    ----------
    setting, done
        What was trained, and how far.
    errors : ndarray, (examples,)
        Mean squared error after so many examples.
    """

    setting: Setting
    done: Done
    errors: np.ndarray

    @property
    def first(self) -> float:
        """Before any target was told."""
        return float(self.errors[0])

    @property
    def late(self) -> float:
        """Over the second half of the episode."""
        return float(self.errors[len(self.errors) // 2 :].mean())

    @property
    def ratio(self) -> float:
        """Late to first."""
        return self.late / self.first


def compare(
    settings: Sequence[Setting], updates: int, allowance: Allowance, progress: Progress
) -> tuple[list[Tested], dict[Kind, Yardsticks]]:
    """Train all, then try them on the same unseen functions."""
    found = train_in_turn([setting.job(updates) for setting in settings], allowance, progress)
    trials = {kind.key: unseen(kind) for kind in (setting.kind for setting in settings)}
    tested = []
    for setting, done in zip(settings, found, strict=True):
        episodes = trials[setting.kind.key][0]
        said = answers(done.begun.network, done.parameters, episodes)
        tested.append(Tested(setting, done, ((said - episodes.targets) ** 2).mean(axis=1)))
    return tested, {setting.kind: trials[setting.kind.key][1] for setting in settings}


# ---- report -----------------------------------------------------------------------------------------------


def row(entry: Tested) -> tuple[str, ...]:
    """What the table says of a training."""
    stream = entry.done.stream
    if not stream.updates:
        return (entry.setting.kind.name, entry.setting.name, entry.done.progress, *6 * ("–",))
    return (
        entry.setting.kind.name,
        entry.setting.name,
        entry.done.progress,
        f"{entry.first:.4f}",
        f"{entry.errors[1]:.4f}",
        f"{entry.late:.4f}",
        f"1/{1 / entry.ratio:.1f}",
        f"{stream.running_mean('rate'):.0f}",
        f"{1000 * stream.spent / stream.updates:.0f}",
    )


def yardstick_rows(yardsticks: Mapping[Kind, Yardsticks]) -> list[tuple[str, ...]]:
    """Answers without a network, in the same columns."""
    rows = []
    for kind, found in yardsticks.items():
        for name, error in (
            ("(one constant for the family)", found.constant),
            ("(best without memory)", found.forgetful),
            ("(the target before)", found.last_target),
            ("(mean of the task)", found.task_mean),
            ("(linear fit to the task)", found.task_linear),
        ):
            shown = f"{error:.4f}" if error > 1e-4 else f"{error:.0e}"
            rows.append((kind.name, name, "", "", "", shown, "", "", ""))
    return rows


HEADER = (
    "functions", "network", "updates", "error at the first example", "at the second", "over the second half",
    "late to first", "mean rate, Hz", "ms an update",
)  # fmt: skip


def result(
    tested: Sequence[Tested], yardsticks: Mapping[Kind, Yardsticks], notes: list[str]
) -> ExperimentResult:
    """Table and figures."""
    trained = [entry for entry in tested if entry.done.stream.updates]
    figures = []
    if trained:
        shown = {kind: yardsticks[kind] for kind in (entry.setting.kind for entry in trained)}
        figures = [
            (
                "Learning within an episode",
                f"Mean squared error on {UNSEEN} functions that were not seen in training, weights frozen, "
                "against the number of examples whose targets have been told.  Dashed: answers without a "
                "network.",
                episode_curves(trained, shown),
            ),
            (
                "Learning to learn",
                "Error over the second half of the episodes of each batch, before its update; means over "
                "25 updates.",
                training_curves(trained),
            ),
        ]
    return ExperimentResult(
        table_header=HEADER,
        table_rows=[*(row(entry) for entry in tested), *yardstick_rows(yardsticks)],
        figures=figures,
        notes=[
            *notes,
            "Two-layer networks with weights and inputs in $[-1,1]$ hardly vary within a task: the target "
            "before, which is shown, says nearly all, and little memory is asked for.",
            f"{EXAMPLES} examples of {STEPS} ms an episode, {CODED} inputs for each coded value, "
            f"{TASKS} functions a batch; $\\tau_a$ uniform between 1 and 1000 ms, $\\beta={STRENGTH}$, no "
            f"delays, three refractory steps; Adam with rate {RATE} and {FACTOR} of it every {EVERY} "
            "updates, weights of the read-out in spike counts.  One seed; times are of the wall clock.",
        ],
    )


def episode_curves(
    tested: Sequence[Tested], yardsticks: Mapping[Kind, Yardsticks]
) -> matplotlib.figure.Figure:
    """A panel for each family."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(4.2 * len(yardsticks) + 1.5, 3.4))
    panels = drawing.subplots(1, len(yardsticks), squeeze=False)[0]
    for panel, (kind, found) in zip(panels, yardsticks.items(), strict=True):
        for entry in tested:
            if entry.setting.kind == kind:
                panel.plot(np.arange(len(entry.errors)), entry.errors, label=entry.setting.name)
        named = {"without memory": found.forgetful, "target before": found.last_target}
        named |= {"task mean": found.task_mean, "task linear": found.task_linear}
        for place, (name, error) in enumerate(named.items()):
            if error > 1e-4:
                panel.axhline(error, linestyle="--", color=f"{0.2 + 0.15 * place}", linewidth=0.8)
                panel.text(EXAMPLES * (1 - 0.24 * place), error, name, fontsize=7, va="bottom", ha="right")
        panel.set_yscale("log")
        panel.set(xlabel="examples seen", ylabel="mean squared error", title=kind.name)
        panel.legend()
    return drawing


def training_curves(tested: Sequence[Tested]) -> matplotlib.figure.Figure:
    """Late errors against updates."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.2, 3.2))
    axes = drawing.subplots()
    for entry in tested:
        late = np.array(entry.done.stream.curves["late error"])
        over = min(25, len(late))
        smooth = np.convolve(late, np.full(over, 1 / over), "valid")
        label = f"{entry.setting.kind.name}, {entry.setting.name}"
        axes.plot(np.arange(over, len(late) + 1), smooth, label=label)
    axes.set_yscale("log")
    axes.set(xlabel="update", ylabel="late error")
    axes.legend()
    return drawing


def drop(tested: Sequence[Tested], yardsticks: Mapping[Kind, Yardsticks], bar: float, said: str) -> list[str]:
    """Whether the LSNN learns the two-layer networks within an episode, and does so honestly."""
    (entry,) = (one for one in tested if one.setting.kind == NETWORKS and one.setting.adaptive)
    if not entry.done.stream.updates:
        return []
    known = yardsticks[NETWORKS]
    return [
        verdict(f"The LSNN's late error should be at most {said} of its first", entry.ratio <= bar),
        verdict(
            f"Its first error should be no worse than {FAIR_FIRST} times the constant's, so that the ratio "
            "says something",
            entry.first <= FAIR_FIRST * known.constant,
        ),
    ]


def beyond(tested: Sequence[Tested], yardsticks: Mapping[Kind, Yardsticks]) -> list[str]:
    """Whether more is remembered than is easy, and by whom."""
    notes = []
    trained = {
        (one.setting.kind, bool(one.setting.adaptive)): one for one in tested if one.done.stream.updates
    }
    for (kind, _), entry in trained.items():
        known = yardsticks[kind]
        bound = min(known.forgetful, known.last_target)
        text = "it should err less than the target before does, and than any answer without memory"
        notes.append(verdict(f"{kind.name}, {entry.setting.name}: {text}", entry.late < bound))
    for kind in yardsticks:
        if {(kind, True), (kind, False)} <= set(trained):
            less = trained[kind, True].late < 0.9 * trained[kind, False].late
            notes.append(verdict(f"{kind.name}: the LSNN should err a tenth less than LIF neurons", less))
    return notes


FUNCTIONS = (
    "Episodes of 40 examples of a function, each with the target of the one before; the weights are trained "
    "over many functions and then frozen.  "
)


@experiment(
    "lsnn/learning-to-learn-short",
    "Learning to learn: two-layer networks",
    FUNCTIONS + f"{SHORT} updates, an LSNN and LIF neurons.",
)
def short(progress: Progress) -> ExperimentResult:
    settings = [Setting(NETWORKS, NEURONS // 2), Setting(NETWORKS, 0)]
    tested, yardsticks = compare(settings, SHORT, Allowance(), progress)
    return result(tested, yardsticks, drop(tested, yardsticks, SHORT_BAR, "a half"))


@experiment(
    "lsnn/learning-to-learn",
    "Learning to learn: two-layer networks and sines",
    FUNCTIONS + f"{LONG} updates on random two-layer networks and on sines, an LSNN and LIF neurons.",
    long=True,
    resumable=True,
)
def long(progress: Progress, allowance: Allowance) -> ExperimentResult:
    settings = [Setting(kind, adaptive) for kind in (NETWORKS, SINES) for adaptive in (NEURONS // 2, 0)]
    tested, yardsticks = compare(settings, LONG, allowance, progress)
    notes = drop(tested, yardsticks, BAR, "1/3.5")
    notes += beyond(tested, yardsticks)
    return result(tested, yardsticks, notes + left_over([entry.done for entry in tested], allowance))
