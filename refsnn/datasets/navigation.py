"""Navigation to a hidden goal: find it once, then come back, again and again (Bellec 2018, section 6).

Plain geometry, many agents at once.  No code of the authors exists for this task; the numbers are parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.encoding import population_code

WALL = 1 - 4 * np.finfo(float).eps  # a hair inside, so that one who stands there is not outside by rounding


class Navigation:
    """Agents in a unit disc, each with a goal that it does not see.

    A goal is a disc around a point of the circle of radius `goal_distance`, drawn at `reset` and fixed until
    the next.  An agent that enters it is rewarded and put somewhere else.

    Parameters
    ----------
    agents : int
        B; each is alone in its own disc.
    goal_radius : float
        Of the goal.
    goal_distance : float
        From the origin to the middle of the goal, at most 1.
    longest_step : float
        What is longer is cut to it.
    goal_reward : float
        For entering the goal.
    wall_reward : float
        For running into the wall.

    Attributes
    ----------
    positions : ndarray of float64, (agents, 2)
        Where the agents are.
    goals : ndarray of float64, (agents, 2)
        The middles of their goals.
    reached : ndarray of int64, (agents,)
        How often each has been in its goal since the reset.

    Raises
    ------
    TypeError, ValueError
        For numbers out of range, and a goal that covers the disc.

    Examples
    --------
    >>> world = Navigation(agents=2)
    >>> positions = world.reset(np.random.default_rng(0))
    >>> positions, rewards = world.step(np.full((2, 2), 0.01))
    >>> positions.shape, rewards
    ((2, 2), array([0., 0.]))
    """

    def __init__(
        self,
        agents: int,
        goal_radius: float = 0.3,
        goal_distance: float = 0.85,
        longest_step: float = 0.02,
        goal_reward: float = 1.0,
        wall_reward: float = -0.02,
    ) -> None:
        self.agents = checks.count("agents", agents)
        self.goal_distance = checks.number("goal_distance", goal_distance, 0, 1)
        # some of the disc has to be left to start from
        self.goal_radius = checks.number("goal_radius", goal_radius, 0, 1, low_open=True, high_open=True)
        self.longest_step = checks.number("longest_step", longest_step, 0, low_open=True)
        self.goal_reward = checks.number("goal_reward", goal_reward)
        self.wall_reward = checks.number("wall_reward", wall_reward)
        self._rng: np.random.Generator | None = None

    def reset(self, rng: np.random.Generator) -> np.ndarray:
        """A new episode: new goals, new places.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws them, and later the places to which agents are put.

        Returns
        -------
        ndarray of float64, (agents, 2)
            Where the agents are.

        Raises
        ------
        TypeError
            For something else than a Generator.
        """
        self._rng = checks.generator("rng", rng)
        angle = rng.uniform(0, 2 * np.pi, self.agents)
        self.goals = self.goal_distance * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        self.positions = np.zeros((self.agents, 2))
        self.reached = np.zeros(self.agents, np.int64)
        self._put_anywhere(rng, np.arange(self.agents))
        return self.positions.copy()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray]:
        """Move all agents once.

        A step over the wall ends on it, on the ray from the origin, and costs `wall_reward`.  An agent then
        in its goal gets `goal_reward` (both where both hold) and is put anywhere outside the goal.

        Parameters
        ----------
        actions : array_like of float, (agents, 2)
            Steps; what is longer than `longest_step` is cut to it and keeps its direction.

        Returns
        -------
        positions : ndarray of float64, (agents, 2)
            Where the agents are now; the new place of those that were moved.
        rewards : ndarray of float64, (agents,)

        Raises
        ------
        RuntimeError
            Before the first `reset`.
        TypeError, ValueError
            For actions of wrong kind or shape, NaN and infinity.
        """
        if self._rng is None:
            raise RuntimeError("step: expected an episode that has begun; call reset first")
        moves = checks.float_array("actions", actions, (self.agents, 2))
        moves = moves.astype(np.float64)  # a copy too
        length = np.hypot(*moves.T)
        moves *= (self.longest_step / np.maximum(length, self.longest_step))[:, None]

        positions = self.positions + moves
        distance = np.hypot(*positions.T)
        at_wall = distance > 1
        positions[at_wall] *= WALL / distance[at_wall, None]
        in_goal = self._in_goal(positions, np.arange(self.agents))
        rewards = at_wall * self.wall_reward + in_goal * self.goal_reward

        self.positions = positions
        self.reached = self.reached + in_goal
        self._put_anywhere(self._rng, np.flatnonzero(in_goal))
        return self.positions.copy(), rewards

    def _in_goal(self, positions: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Whether agents at these places are in their goals."""
        return np.hypot(*(positions - self.goals[which]).T) <= self.goal_radius

    def _put_anywhere(self, rng: np.random.Generator, which: np.ndarray) -> None:
        """Uniform in the disc outside the goal: drawn again until it is."""
        while which.size:
            radius, angle = np.sqrt(rng.random(which.size)), rng.uniform(0, 2 * np.pi, which.size)
            places = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            good = ~self._in_goal(places, which)
            self.positions[which[good]] = places[good]
            which = which[~good]


def navigation_rates(
    positions: Any,
    rewards: Any,
    neurons: int = 40,
    reward_neurons: int = 10,
    width: float = 1.0,
    highest_rate: float = 0.2,
) -> np.ndarray:
    """What an agent perceives, as rates for `bernoulli_spikes`: where it is, and the reward just given.

    Parameters
    ----------
    positions : array_like of float, (*shape, 2)
        From `Navigation`; any number of dimensions before the last, for instance decisions and agents.
    rewards : array_like of float, (*shape)
        From `Navigation`, in the same dtype; 0 at the beginning of an episode.
    neurons : int
        For each coordinate, from 2; their centres are evenly spaced from -1 to 1.
    reward_neurons : int
        In each of two groups: the first speaks after a reward above 0, the second after one below.
    width : float
        Of the tuning curves, in distances between neighbouring centres.
    highest_rate : float
        In spikes per ms.

    Returns
    -------
    ndarray, (*shape, 2 neurons + 2 reward_neurons)
        First coordinate, second, rewards, punishments.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> rates = navigation_rates([[0.0, 1.0]], [1.0], neurons=3, reward_neurons=1, width=0.5)
    >>> rates.round(3)
    array([[0.027, 0.2  , 0.027, 0.   , 0.027, 0.2  , 0.2  , 0.   ]])
    """
    places = checks.float_array("positions", positions)
    if not places.ndim or places.shape[-1] != 2:
        raise ValueError(
            f"positions: expected two coordinates in the last dimension, got shape {places.shape}"
        )
    given = checks.float_array("rewards", rewards, places.shape[:-1], places.dtype)
    neurons, reward_neurons = (
        checks.count("neurons", neurons, minimum=2),
        checks.count("reward_neurons", reward_neurons),
    )
    centres = np.linspace(-1, 1, neurons).astype(places.dtype)
    spacing = 2 / (neurons - 1)
    width = checks.number("width", width, 0, low_open=True)
    place_rates = population_code(places, centres, width * spacing, highest_rate)
    signs = np.stack([given > 0, given < 0], axis=-1)
    reward_rates = np.repeat(signs, reward_neurons, axis=-1) * places.dtype.type(highest_rate)
    return np.concatenate([place_rates.reshape(*given.shape, 2 * neurons), reward_rates], axis=-1)
