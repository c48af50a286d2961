"""Meta-reinforcement learning: find a hidden goal once, then come back to it (Bellec 2018, section 6).

Weights are trained by proximal policy optimisation over many episodes, each with a goal of its own.  Within
an episode they are frozen, and only spikes and thresholds can know where the goal is.  A reduced size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from validation.experiments import Allowance, ExperimentResult, Progress, experiment
from validation.experiments.navigating import Played, Setting, goals_of_halves, play
from validation.experiments.spiking_training import verdict
from validation.experiments.turns import Done, left_over, train_in_turn

if TYPE_CHECKING:
    import matplotlib.figure

SETTINGS = Setting("40 LIF + 40 adaptive", 40), Setting("80 LIF", 0)
UPDATES, TRIALS, UNSEEN_SEED, SHOWN = 2400, 40, 1_000_003, 4

# ---- frozen weights ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tested:
    """A training, and what its network does in episodes from which nothing is learnt.

    Attributes
    ----------
    setting, done
        What was trained, and how far.
    goals, wiped : ndarray, (episodes, 2)
        Goals of each episode in its first and second half; with the network put to rest between them.
    example : Played
        Some of these episodes.
    """

    setting: Setting
    done: Done
    goals: np.ndarray
    wiped: np.ndarray
    example: Played


def tried(setting: Setting, done: Done) -> Tested:
    """New worlds, the same for all networks."""
    network, parameters = done.begun.network, done.parameters
    goals = {}
    for wiped in (True, False):
        rng, found = np.random.default_rng(UNSEEN_SEED), []
        for _ in range(TRIALS):
            played = play(setting, network, parameters, rng, wiped)
            found.append(goals_of_halves(played.reached))
        goals[wiped] = np.concatenate(found)
    return Tested(setting, done, goals[False], goals[True], played)


def compare(
    settings: Sequence[Setting], updates: int, allowance: Allowance, progress: Progress
) -> list[Tested]:
    """Train one after the other, then try all."""
    found = train_in_turn([setting.job(updates) for setting in settings], allowance, progress)
    return [tried(setting, done) for setting, done in zip(settings, found, strict=True)]


# ---- report -----------------------------------------------------------------------------------------------

HEADER = (
    "network", "updates", "goals in the first half", "in the second half", "in the second half, put to rest",
    "mean rate, Hz", "ms an update",
)  # fmt: skip


def with_error(values: np.ndarray) -> str:
    """Mean and its standard error."""
    return f"{values.mean():.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"


def row(entry: Tested) -> tuple[str, ...]:
    """What the table says of a training."""
    stream = entry.done.stream
    known = stream.updates > 0
    return (
        entry.setting.name,
        entry.done.progress,
        *(with_error(of) for of in (entry.goals[:, 0], entry.goals[:, 1], entry.wiped[:, 1])),
        f"{stream.running_mean('rate'):.0f}" if known else "–",
        f"{1000 * stream.spent / stream.updates:.0f}" if known else "–",
    )


def gain(after: np.ndarray, before: np.ndarray) -> float:
    """Difference of two means in standard errors of it."""
    error = np.sqrt(after.var(ddof=1) / len(after) + before.var(ddof=1) / len(before))
    return float((after.mean() - before.mean()) / error) if error else 0.0


def verdicts(tested: Sequence[Tested]) -> list[str]:
    """What is expected of a network that knows where it has been rewarded."""
    (adaptive,) = (entry for entry in tested if entry.setting.adaptive)
    (plain,) = (entry for entry in tested if not entry.setting.adaptive)
    second = adaptive.goals[:, 1]
    return [
        verdict(f"{what}, by three standard errors", gain(second, other) > 3)
        for what, other in (
            ("The LSNN should reach more goals in the second half than in the first", adaptive.goals[:, 0]),
            ("It should reach more than when it is put to rest between them", adaptive.wiped[:, 1]),
            ("It should reach more than LIF neurons do there", plain.goals[:, 1]),
        )
    ]


def result(tested: Sequence[Tested], allowance: Allowance) -> ExperimentResult:
    """Table and figures."""
    one = tested[0].setting
    trained = [entry for entry in tested if entry.done.stream.updates]
    figures = []
    if trained:
        figures = [
            (
                "Goals during training",
                "Goals an episode in its first half (thin) and its second half (thick), means over 60 "
                "updates.",
                curves(trained),
            ),
            (
                "Some episodes",
                f"Ways of the trained {trained[0].setting.name} with frozen weights: orange before the first "
                "goal, blue after it; the step into the goal, and the jump after it, are left out.  The "
                "filled circle is the goal, which the network does not see.",
                ways(trained[0]),
            ),
        ]
    return ExperimentResult(
        table_header=HEADER,
        table_rows=[row(entry) for entry in tested],
        figures=figures,
        notes=[
            *(verdicts(tested) if len(trained) == len(tested) else ()),
            f"{one.agents} agents a batch, {one.decisions} decisions an episode of {one.steps} ms each, a "
            f"way of at most {one.reach} each, {one.epochs} updates on the same episodes; goals have radius "
            "0.3 and lie at 0.85 of the disc's radius.  $\\tau_a=1200$ ms, $\\beta=1.7$, Adam with rate "
            f"{one.rate}, discount {one.discount}, rates are drawn to 20 Hz.  Frozen weights: "
            f"{TRIALS * one.agents} episodes, mean and standard error, actions drawn as in training.  One "
            "seed; times are of the wall clock.",
            *left_over([entry.done for entry in tested], allowance),
        ],
    )


def curves(tested: Sequence[Tested]) -> matplotlib.figure.Figure:
    """Goals against episodes."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.2, 3.2))
    axes = drawing.subplots()
    for place, entry in enumerate(tested):
        for half, width in (("first half", 0.8), ("second half", 2.0)):
            goals = np.array(entry.done.stream.curves[half])
            over = min(60, len(goals))
            smooth = np.convolve(goals, np.full(over, 1 / over), "valid")
            episodes = np.arange(over, len(goals) + 1) * entry.setting.agents / entry.setting.epochs
            label = f"{entry.setting.name}, {half}"
            axes.plot(episodes, smooth, color=f"C{place}", linewidth=width, label=label)
    axes.set(xlabel="episodes played", ylabel="goals", ylim=(0, None))
    axes.legend()
    return drawing


def ways(entry: Tested) -> matplotlib.figure.Figure:
    """Discs with goals and ways."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    played, drawing = entry.example, Figure(figsize=(9.0, 2.6))
    for agent, panel in enumerate(drawing.subplots(1, SHOWN)):
        panel.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
        panel.add_patch(Circle(played.goals[agent], 0.3, color="C2", alpha=0.3, linewidth=0))
        ends = [0, *(np.flatnonzero(played.reached[:, agent]) + 1), len(played.positions)]
        for number, (begin, end) in enumerate(pairwise(ends)):
            way = played.positions[begin:end, agent]
            panel.plot(*way.T, color="C0" if number else "C1", alpha=1.0 if number else 0.6, linewidth=1)
        panel.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        panel.set_title(f"goals reached: {int(played.reached[:, agent].sum())}")
    return drawing


@experiment(
    "lsnn/navigation",
    "Navigation to a hidden goal: reinforcement learning to learn",
    "Agents in a disc find a goal that is fixed for an episode, are put elsewhere and should come back; "
    "their spiking networks are trained by proximal policy optimisation, the gradient by BPTT, and are "
    "frozen within an episode.",
    long=True,
    resumable=True,
)
def navigation(progress: Progress, allowance: Allowance) -> ExperimentResult:
    return result(compare(SETTINGS, UPDATES, allowance, progress), allowance)
