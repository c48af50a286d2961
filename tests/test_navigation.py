"""The navigation task against one agent written by hand, and its geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.datasets import Navigation, navigation_rates

# ---- one agent, in plain numbers --------------------------------------------------------------------------


def one_step(world, position, goal, action):
    """Where one agent ends before it is put anywhere, its reward, and whether it is in the goal."""
    (x, y), (dx, dy) = position, action
    length = math.sqrt(dx * dx + dy * dy)
    if length > world.longest_step:
        dx, dy = dx * world.longest_step / length, dy * world.longest_step / length
    x, y, reward = x + dx, y + dy, 0.0
    distance = math.sqrt(x * x + y * y)
    if distance > 1:
        x, y, reward = x / distance, y / distance, world.wall_reward
    reached = math.sqrt((x - goal[0]) ** 2 + (y - goal[1]) ** 2) <= world.goal_radius
    return (x, y), reward + (world.goal_reward if reached else 0.0), reached


@given(
    seed=st.integers(0, 2**32 - 1),
    agents=st.integers(1, 4),
    goal_radius=st.floats(0.05, 0.9),
    goal_distance=st.floats(0, 1),
    longest_step=st.floats(0.05, 0.8),
)
def test_a_walk_is_that_of_one_agent_at_a_time(seed, agents, goal_radius, goal_distance, longest_step):
    rng = np.random.default_rng(seed)
    world = Navigation(agents, goal_radius, goal_distance, longest_step, 2.0, -0.5)
    before = world.reset(np.random.default_rng(seed))
    goals, reached = world.goals.copy(), np.zeros(agents, int)
    for _ in range(30):
        actions = rng.normal(size=(agents, 2)) * longest_step
        positions, rewards = world.step(actions)
        for agent in range(agents):
            place, reward, hit = one_step(world, before[agent], goals[agent], actions[agent])
            assert rewards[agent] == pytest.approx(reward)
            reached[agent] += hit
            if not hit:
                assert positions[agent] == pytest.approx(place, abs=1e-12)
        distance = np.hypot(*(positions - goals).T)
        assert (distance > goal_radius).all()  # nobody stays in a goal
        assert (np.hypot(*positions.T) <= 1).all()
        before = positions
    np.testing.assert_array_equal(world.reached, reached)
    np.testing.assert_array_equal(world.goals, goals)  # fixed within an episode


def test_walls_goals_and_long_steps_all_happen_in_such_walks():
    """What the property above compares is no stroll in the middle."""
    rng = np.random.default_rng(0)
    world = Navigation(500, longest_step=0.3)
    world.reset(rng)
    counts = np.zeros(3, int)
    for _ in range(30):
        actions = rng.normal(size=(500, 2)) * 0.3
        _, rewards = world.step(actions)
        assert set(np.unique(rewards)) <= {-0.02, 0.0, 0.98, 1.0}
        counts += [
            (rewards == -0.02).sum(), (rewards >= 0.9).sum(), (np.hypot(*actions.T) > 0.3).sum()
        ]  # fmt: skip
    assert (counts > 100).all()


# ---- what the task is about -------------------------------------------------------------------------------


def test_walking_straight_to_the_goal_pays_and_ends_elsewhere():
    world = Navigation(50)
    positions = world.reset(np.random.default_rng(1))
    waiting = np.ones(50, bool)
    due = np.ceil((np.hypot(*(world.goals - positions).T) - 0.3) / 0.02)
    for count in range(1, 101):
        way = world.goals - positions
        # some goals lie near the wall, but their middles are inside: nobody runs into it
        positions, rewards = world.step(0.02 * way / np.hypot(*way.T)[:, None])
        arrived = waiting & (count == due)
        np.testing.assert_array_equal(rewards[waiting], arrived[waiting].astype(float))
        waiting &= ~arrived
        if not waiting.any():
            break
    assert not waiting.any()
    assert count > 40
    assert (world.reached >= 1).all()
    assert (np.hypot(*(world.goals - positions).T) > 0.3).all()


def test_an_agent_is_moved_far_and_can_return():
    world = Navigation(1)
    positions = world.reset(np.random.default_rng(2))
    jumps, goal = [], world.goals[0].copy()
    for _ in range(1000):
        before = positions[0]
        way = goal - before
        positions, rewards = world.step((0.02 * way / np.hypot(*way))[None])
        if rewards[0]:
            assert rewards[0] == 1
            jumps.append(np.hypot(*(positions[0] - before)))
        else:
            assert np.hypot(*(positions[0] - before)) == pytest.approx(0.02)
    assert world.reached[0] == len(jumps) > 10
    assert np.mean(jumps) > 0.5
    np.testing.assert_array_equal(world.goals[0], goal)


def test_the_wall_holds_and_costs_once_a_step():
    world = Navigation(20, goal_radius=0.01, goal_distance=0.0)
    positions = world.reset(np.random.default_rng(3))
    start = positions
    outwards = positions / np.hypot(*positions.T)[:, None]
    for count in range(1, 60):
        positions, rewards = world.step(0.02 * outwards)
        expected = np.where(np.hypot(*start.T) + 0.02 * count > 1, -0.02, 0.0)
        np.testing.assert_array_equal(rewards, expected)
    np.testing.assert_allclose(positions, outwards, rtol=0, atol=1e-14)
    _, rewards = world.step(np.zeros((20, 2)))
    np.testing.assert_array_equal(rewards, 0)  # standing at the wall is free
    positions, rewards = world.step(-0.02 * outwards)
    np.testing.assert_array_equal(rewards, 0)
    np.testing.assert_allclose(positions, 0.98 * outwards, rtol=0, atol=1e-14)


def test_goals_are_on_their_circle_and_agents_all_over_the_rest():
    agents = 20_000
    world = Navigation(agents)
    positions = world.reset(np.random.default_rng(4))
    np.testing.assert_allclose(np.hypot(*world.goals.T), 0.85, rtol=1e-12)
    angle = np.arctan2(*world.goals.T[::-1])
    np.testing.assert_allclose(np.histogram(angle, 8, (-np.pi, np.pi))[0] / agents, 1 / 8, atol=0.01)
    # seen from the goal's direction: uniform in the disc less the goal, by counting a fine grid
    along = (positions * world.goals).sum(axis=1) / 0.85
    grid = np.linspace(-1, 1, 801)
    x, y = np.meshgrid(grid, grid)
    free = (x**2 + y**2 <= 1) & ((x - 0.85) ** 2 + y**2 > 0.09)
    expected = np.histogram(x[free], 5, (-1, 1))[0] / free.sum()
    np.testing.assert_allclose(np.histogram(along, 5, (-1, 1))[0] / agents, expected, atol=0.015)
    radius = np.hypot(*positions.T)
    share = ((x**2 + y**2 <= 0.25) & free).sum() / free.sum()
    assert (radius <= 0.5).mean() == pytest.approx(share, abs=0.015)
    first = world.goals.copy()
    world.reset(np.random.default_rng(5))
    assert (world.goals != first).all()


def test_a_seed_gives_the_same_episode_and_results_are_copies():
    def walk(seed):
        world, moves = Navigation(100, longest_step=0.2), np.random.default_rng(9)
        positions = [world.reset(np.random.default_rng(seed))]
        for _ in range(40):
            positions.append(world.step(moves.normal(size=(100, 2)))[0])
        assert world.reached.sum() > 5  # some were put anywhere
        return np.array(positions)

    np.testing.assert_array_equal(walk(6), walk(6))
    assert (walk(6) != walk(7)).any()
    world = Navigation(2)
    positions = world.reset(np.random.default_rng(0))
    kept, moves = world.positions.copy(), np.full((2, 2), 5.0)
    positions += 100
    np.testing.assert_array_equal(world.positions, kept)
    world.step(moves)
    np.testing.assert_array_equal(moves, 5.0)
    assert world.step(np.zeros((2, 2), np.float32))[0].dtype == np.float64


# ---- what agents perceive ---------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(), (3,), (2, 3)]),
    neurons=st.integers(2, 5),
    reward_neurons=st.integers(1, 3),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_rates_are_those_of_the_loops(seed, shape, neurons, reward_neurons, dtype):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-0.7, 0.7, (*shape, 2)).astype(dtype)
    rewards = rng.choice([-0.02, 0.0, 0.98, 1.0], shape).astype(dtype)
    rates = navigation_rates(positions, rewards, neurons, reward_neurons, 0.8, 0.3)
    assert rates.dtype == dtype
    assert rates.shape == (*shape, 2 * neurons + 2 * reward_neurons)
    for index in np.ndindex(*shape):
        expected = []
        for coordinate in positions[index].tolist():
            for neuron in range(neurons):
                spacing = 2 / (neurons - 1)
                distance = (-1 + neuron * spacing - coordinate) / (0.8 * spacing)
                expected.append(0.3 * math.exp(-(distance**2) / 2))
        expected += [0.3 if rewards[index] > 0 else 0.0] * reward_neurons
        expected += [0.3 if rewards[index] < 0 else 0.0] * reward_neurons
        np.testing.assert_allclose(rates[index], expected, rtol=1e-5 if dtype == np.float32 else 1e-12)


# ---- refusals ---------------------------------------------------------------------------------------------


def begun():
    world = Navigation(2)
    world.reset(np.random.default_rng(0))
    return world


PLACES, NOTHING = np.zeros((3, 2)), np.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Navigation(0), ValueError, "agents: expected"),
        (lambda: Navigation(2.0), TypeError, "agents: expected"),
        (lambda: Navigation(2, goal_radius=0.0), ValueError, "goal_radius: expected"),
        (lambda: Navigation(2, goal_radius=1.0), ValueError, "goal_radius: expected"),
        (lambda: Navigation(2, goal_distance=1.1), ValueError, "goal_distance: expected"),
        (lambda: Navigation(2, longest_step=0.0), ValueError, "longest_step: expected"),
        (lambda: Navigation(2, goal_reward=np.nan), ValueError, "goal_reward: expected"),
        (lambda: Navigation(2, wall_reward="no"), TypeError, "wall_reward: expected"),
        (lambda: Navigation(2).reset(0), TypeError, "rng: expected"),
        (lambda: Navigation(2).step(np.zeros((2, 2))), RuntimeError, "call reset first"),
        (lambda: begun().step(np.zeros((3, 2))), ValueError, "actions: expected shape"),
        (lambda: begun().step(np.zeros((2, 2), int)), TypeError, "actions: expected a float32 or float64"),
        (lambda: begun().step(np.full((2, 2), np.nan)), ValueError, "actions: expected finite"),
        (lambda: navigation_rates(np.zeros(3), NOTHING), ValueError, "positions: expected two coordinates"),
        (lambda: navigation_rates(PLACES, NOTHING[:2]), ValueError, "rewards: expected shape"),
        (lambda: navigation_rates(PLACES, np.float32(NOTHING)), TypeError, "rewards: expected dtype"),
        (lambda: navigation_rates(PLACES, NOTHING, 1), ValueError, "neurons: expected"),
        (lambda: navigation_rates(PLACES, NOTHING, 2, 0), ValueError, "reward_neurons: expected"),
        (lambda: navigation_rates(PLACES, NOTHING, width=0.0), ValueError, "width: expected"),
        (lambda: navigation_rates(PLACES, NOTHING, highest_rate=-1.0), ValueError, "highest_rate: expected"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
