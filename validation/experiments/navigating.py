"""An agent with a spiking network: its episodes, and one update of proximal policy optimisation on them.

Episodes are lived step by step with frozen weights, for an action comes before the next input.  What the
network heard is recorded, and the update runs it again as one sequence, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.algorithms.adaptive_bptt import RateRegulariser, adaptive_bptt
from refsnn.algorithms.optimisers import Adam
from refsnn.algorithms.policy_gradient import (
    ProximalPolicy,
    draw_actions,
    generalised_advantages,
    log_probability,
    standardised,
)
from refsnn.datasets.encoding import bernoulli_spikes
from refsnn.datasets.navigation import Navigation, navigation_rates
from refsnn.models.adaptive.inputs import DrivenInput
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.run import Run
from refsnn.models.adaptive.windows import WindowTargets, check_windows
from refsnn.models.contract import Parameters, State
from refsnn.models.spike_events import SpikeEvents
from validation.experiments.lsnn_networks import lsnn
from validation.experiments.streams import Outcome, Unconstrained
from validation.experiments.turns import Begun, Job

LOG_DEVIATION = "policy.log_deviation"
LIVED = "pieces", "outputs", "actions", "rewards", "reached", "positions"
PLACE, REWARD = 12, 6  # inputs for each coordinate, and in each group of rewards
INPUTS, ACTION = 2 * PLACE + 2 * REWARD, 2
POLICY = ProximalPolicy(clip=0.2, value_share=0.25, entropy_share=0.003)
REGULARISER = RateRegulariser(1.0, 0.02)


@dataclass(frozen=True)
class Setting:
    """One training, and the size of its world.

    Attributes
    ----------
    name : str
        For the table.
    adaptive : int
        Neurons that adapt.
    neurons : int
        All of them.
    agents, decisions, steps : int
        Episodes at once, decisions of an episode, and network steps a decision.
    reach : float
        The longest way of one decision.
    epochs : int
        Updates on the same episodes.
    discount, decay, rate : float
        Of rewards, of the advantages' weights, and Adam's learning rate.
    """

    name: str
    adaptive: int
    neurons: int = 80
    agents: int = 32
    decisions: int = 60
    steps: int = 8
    reach: float = 0.15
    epochs: int = 3
    discount: float = 0.95
    decay: float = 0.9
    rate: float = 0.003

    def world(self) -> Navigation:
        """Where its agents live."""
        return Navigation(self.agents, longest_step=self.reach)

    def network(self, rng: np.random.Generator) -> AdaptiveSpikingNetwork:
        """Reads out the mean of an action and the value of a place."""
        return lsnn(
            (INPUTS, self.neurons, ACTION + 1),
            self.adaptive,
            rng,
            adaptation=1200.0,
            strength=1.7,
            delay_slots=1,
            refractory=3,
            loss_function="mean_squared_error",
        )

    def begin(self, rng: np.random.Generator) -> Begun:
        """Network, first parameters and optimiser; actions begin with half the reach as their deviation."""
        network = self.network(rng)
        parameters = network.initialise(rng)
        parameters[LOG_DEVIATION] = np.full(ACTION, np.log(0.5))
        # a mean spike count of 20 Hz is 0.02: what reads it out has large weights
        rates = {name: self.rate for name in parameters} | {"readout.weight": 20 * self.rate}
        return Begun(network, parameters, Learner(self, network), Unconstrained(Adam(rates)))

    def job(self, updates: int, seed: int = 0) -> Job:
        """The training among others."""
        key = f"navigation-{'lsnn' if self.adaptive else 'lif'}"
        return Job(self.name, key, self.begin, updates, seed, "goals an episode")


def of_network(parameters: Parameters) -> Parameters:
    """Without what the network does not know: how far its actions are drawn from their means."""
    return {name: value for name, value in parameters.items() if name != LOG_DEVIATION}


# ---- episodes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Played:
    """Episodes of some agents, as their network lived them.

    Attributes
    ----------
    inputs : SpikeEvents
        K steps network steps of B agents.
    outputs : ndarray, (K, B, 3)
        Mean action and value of each decision.
    actions : ndarray, (K, B, 2)
        What was done, in units of the reach.
    rewards, reached : ndarray, (K, B)
        What came of it, and whether it led into the goal.
    positions : ndarray, (K, B, 2)
        Where agents were when they decided.
    goals : ndarray, (B, 2)
        Where their goals were.
    """

    inputs: SpikeEvents
    outputs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    reached: np.ndarray
    positions: np.ndarray
    goals: np.ndarray


class Walker:
    """A network that runs piece by piece, as its input comes to be.

    Parameters
    ----------
    network : AdaptiveSpikingNetwork
        Frozen while it walks.
    parameters : dict of ndarray
        Its weights.
    agents, steps : int
        B, and steps of a piece.
    """

    def __init__(
        self, network: AdaptiveSpikingNetwork, parameters: Parameters, agents: int, steps: int
    ) -> None:
        silent = np.zeros((steps, agents, network.widths[0]))
        checked, driven = network.check_inputs(parameters, silent)
        answer = WindowTargets([0], [steps - 1], np.zeros((1, agents, network.widths[-1])))
        kind = network.loss_function, answer, steps, agents, network.widths[-1], np.dtype(float)
        self.windows = check_windows(*kind)
        self.core = network.working_core(checked, driven, self.windows)
        self.core.start(None)
        self.state = self.core.before.copies()

    def hear(self, events: SpikeEvents) -> np.ndarray:
        """One piece.

        Parameters
        ----------
        events : SpikeEvents
            Its input.

        Returns
        -------
        ndarray, (B, outputs)
            The mean read-out over the piece.
        """
        core = self.core
        core.heard = DrivenInput(events).heard(core.wiring.network.widths[1], core.dtype)
        run = Run(core, self.windows)
        run.forward(self.state)
        self.state = run.last_state()
        return core.read(run.averages[0]).copy()


def play(
    setting: Setting,
    network: AdaptiveSpikingNetwork,
    parameters: Parameters,
    rng: np.random.Generator,
    wiped: bool = False,
) -> Played:
    """An episode of each agent; with `wiped` its network is put to rest in the middle and knows nothing."""
    world, walker = setting.world(), Walker(network, of_network(parameters), setting.agents, setting.steps)
    rest, half = walker.state, setting.decisions // 2
    positions, rewards = world.reset(rng), np.zeros(setting.agents)
    lived: dict[str, list[Any]] = {name: [] for name in LIVED}
    for number in range(setting.decisions):
        if wiped and number == half:
            walker.state = rest
        lived["positions"].append(positions)
        before, rates = world.reached, navigation_rates(positions, rewards, PLACE, REWARD)
        lived["pieces"].append(bernoulli_spikes(rng, rates[None], setting.steps))
        lived["outputs"].append(walker.hear(lived["pieces"][-1]))
        means = lived["outputs"][-1][:, :ACTION]
        lived["actions"].append(draw_actions(rng, means, parameters[LOG_DEVIATION]))
        positions, rewards = world.step(setting.reach * lived["actions"][-1])
        lived["rewards"].append(rewards)
        lived["reached"].append(world.reached - before)
    arrays = {name: np.array(lived[name]) for name in LIVED if name != "pieces"}
    return Played(inputs=joined(lived["pieces"]), goals=world.goals, **arrays)


def joined(pieces: Sequence[SpikeEvents]) -> SpikeEvents:
    """Pieces of the same batch and width, one after the other."""
    counts = np.concatenate([np.diff(piece.starts) for piece in pieces])
    starts = np.concatenate([[0], np.cumsum(counts)])
    sources, values = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("sources", "values")
    )
    first = pieces[0]
    return SpikeEvents(sum(map(len, pieces)), first.batch, first.width, starts, sources, values)


# ---- learning ---------------------------------------------------------------------------------------------


def with_gradient(outputs: np.ndarray, by_outputs: np.ndarray, steps: int) -> WindowTargets:
    """Targets at which the squared loss of the network has the given derivative by its outputs.

    The loss is sum_w sum_b |y_wb - t_wb|^2 / (2 B), so that t = y - B dL/dy.

    Parameters
    ----------
    outputs, by_outputs : ndarray, (K, B, outputs)
        y, as the network says now, and dL/dy.
    steps : int
        Of a window.

    Returns
    -------
    WindowTargets
    """
    return WindowTargets.in_a_row(steps, outputs - outputs.shape[1] * by_outputs)


def answers(
    network: AdaptiveSpikingNetwork, parameters: Parameters, inputs: SpikeEvents, steps: int
) -> np.ndarray:
    """What a network says to recorded inputs, (K, B, outputs)."""
    nothing = np.zeros((len(inputs) // steps, inputs.batch, network.widths[-1]))
    checked, driven, windows = network.check(parameters, inputs, WindowTargets.in_a_row(steps, nothing))
    core = network.working_core(checked, driven, windows)
    core.start(None)
    run = Run(core, windows)
    run.forward(core.before.copies())
    return np.array([core.read(average).copy() for average in run.averages])


@dataclass
class Learner:
    """Plays with frozen weights, then makes some updates on what it played.

    Between the updates the episodes are carried along, so that a checkpoint may fall between two of them.
    """

    setting: Setting
    network: AdaptiveSpikingNetwork

    def __call__(self, parameters: Parameters, state: State | None, rng: np.random.Generator) -> Outcome:
        """One update; new episodes where the last ones have been used up."""
        setting, log_deviations = self.setting, parameters[LOG_DEVIATION]
        if state is None or state["used"] == setting.epochs:
            state = self.played(parameters, rng)
        inputs = SpikeEvents(
            setting.decisions * setting.steps, setting.agents, INPUTS, state["starts"], state["sources"],
            state["values"],
        )  # fmt: skip
        weights = of_network(parameters)
        # the weights have not changed since the episodes were played
        outputs = (
            state["outputs"] if state["used"] == 0 else answers(self.network, weights, inputs, setting.steps)
        )
        found = POLICY.loss(
            actions=state["actions"],
            means=outputs[..., :ACTION],
            log_deviations=log_deviations,
            values=outputs[..., ACTION],
            old_log_probabilities=state["log_probabilities"],
            advantages=state["advantages"],
            value_targets=state["value_targets"],
        )
        by_outputs = np.concatenate([found.by_means, found.by_values[..., None]], axis=-1)
        targets = with_gradient(outputs, by_outputs, setting.steps)
        result = adaptive_bptt(self.network, weights, inputs, targets, regulariser=REGULARISER)
        gradients = result.gradients | {LOG_DEVIATION: found.by_log_deviations}
        first, second = state["goals"]
        figures = {
            "goals an episode": first + second,
            "first half": first,
            "second half": second,
            "reward": state["reward"],
            "value error": found.value_error,
            "deviation": float(np.exp(log_deviations).mean()),
            "clipped": found.clipped,
            "rate": 1000 * result.rates.mean(),
        }
        return Outcome(gradients, figures, dict(state) | {"used": state["used"] + 1})

    def played(self, parameters: Parameters, rng: np.random.Generator) -> dict[str, Any]:
        """New episodes as arrays, and what they were worth."""
        setting = self.setting
        played = play(setting, self.network, parameters, rng)
        values = played.outputs[..., ACTION].copy()
        advantages = generalised_advantages(
            played.rewards, values, discount=setting.discount, decay=setting.decay
        )
        means = played.outputs[..., :ACTION]
        return {
            "used": np.array(0),
            "starts": played.inputs.starts,
            "sources": played.inputs.sources,
            "values": played.inputs.values,
            "outputs": played.outputs,
            "actions": played.actions,
            "log_probabilities": log_probability(played.actions, means, parameters[LOG_DEVIATION]),
            "advantages": standardised(advantages),
            "value_targets": advantages + values,
            "goals": goals_of_halves(played.reached).mean(axis=0),
            "reward": played.rewards.sum(axis=0).mean(),
        }


def goals_of_halves(reached: np.ndarray) -> np.ndarray:
    """Goals of each episode in its first and in its second half, (B, 2)."""
    half = len(reached) // 2
    return np.stack([reached[:half].sum(axis=0), reached[half:].sum(axis=0)], axis=1)
