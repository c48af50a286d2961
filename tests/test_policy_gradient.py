"""Pieces of proximal policy optimisation: derivatives by complex step, sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.policy_gradient import (
    ProximalPolicy,
    clipped_surrogate,
    clipped_surrogate_gradient,
    draw_actions,
    entropy,
    generalised_advantages,
    log_probability,
    log_probability_gradients,
    standardised,
)

STEP = 1e-30  # of complex steps
SEEDS = st.integers(0, 2**32 - 1)


def complex_gradient(function, at):
    """The derivative of a real analytic function by each entry."""
    found = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1j * STEP
        found[index] = function(moved).imag / STEP
    return found


def decisions(seed, steps=6, agents=5, size=2):
    """What a PPO loss needs, with ratios on all sides of the clip."""
    rng = np.random.default_rng(seed)
    shape = steps, agents
    actions, means = rng.normal(size=(*shape, size)), rng.normal(size=(*shape, size))
    log_deviations = rng.uniform(-1, 0.5, size)
    old = log_probability(actions, means, log_deviations) + rng.normal(0, 0.4, shape)
    advantages, values, targets = (rng.normal(size=shape) for _ in range(3))
    return {
        "actions": actions, "means": means, "log_deviations": log_deviations, "values": values,
        "old_log_probabilities": old, "advantages": advantages, "value_targets": targets,
    }  # fmt: skip


# ---- Gaussian policy --------------------------------------------------------------------------------------


def test_the_density_is_that_of_the_normal_distribution():
    mean, deviation, action = 0.3, 0.7, 1.1
    expected = math.exp(-((action - mean) ** 2) / (2 * deviation**2)) / math.sqrt(2 * math.pi) / deviation
    found = log_probability(np.array([action]), np.array([mean]), np.array([math.log(deviation)]))
    assert float(np.exp(found)) == pytest.approx(expected, rel=1e-14)
    # independent components multiply
    both = log_probability(np.array([action, 0.0]), np.array([mean, 1.0]), np.zeros(2))
    alone = [
        log_probability(np.array([a]), np.array([m]), np.zeros(1)) for a, m in ((action, mean), (0.0, 1.0))
    ]
    assert float(both) == pytest.approx(float(sum(alone)), rel=1e-14)


@given(SEEDS)
def test_the_gradients_of_the_density(seed):
    rng = np.random.default_rng(seed)
    actions, means, deviations = rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), rng.uniform(-1, 1, (3, 2))
    by_means, by_deviations = log_probability_gradients(actions, means, deviations)
    expected = complex_gradient(lambda m: log_probability(actions, m, deviations).sum(), means)
    np.testing.assert_allclose(by_means, expected, rtol=1e-12, atol=1e-13)
    expected = complex_gradient(lambda s: log_probability(actions, means, s).sum(), deviations)
    np.testing.assert_allclose(by_deviations, expected, rtol=1e-12, atol=1e-13)


def test_actions_have_mean_deviation_and_entropy():
    rng = np.random.default_rng(0)
    means, log_deviations = np.array([0.5, -1.0]), np.log([0.2, 0.5])
    drawn = draw_actions(rng, np.broadcast_to(means, (200_000, 2)), log_deviations)
    np.testing.assert_allclose(drawn.mean(axis=0), means, atol=0.005)
    np.testing.assert_allclose(drawn.std(axis=0), [0.2, 0.5], rtol=0.01)
    surprise = -log_probability(drawn, means, log_deviations).mean()
    assert surprise == pytest.approx(float(entropy(log_deviations)), abs=0.01)
    expected = complex_gradient(lambda s: entropy(s), log_deviations)
    np.testing.assert_allclose(expected, np.ones(2), rtol=1e-14)
    assert draw_actions(rng, means.astype(np.float32), np.zeros(2, np.float32)).dtype == np.float32


# ---- advantages -------------------------------------------------------------------------------------------


@given(SEEDS, st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_advantages_are_sums_of_deltas(seed, discount, decay, ends_there):
    rng = np.random.default_rng(seed)
    rewards, values, last = rng.normal(size=(7, 3)), rng.normal(size=(7, 3)), rng.normal(size=3)
    found = generalised_advantages(
        rewards, values, None if ends_there else last, discount=discount, decay=decay
    )
    after = np.vstack([values[1:], (0 if ends_there else 1) * last])
    deltas = rewards + discount * after - values
    for k in range(7):
        weights = (discount * decay) ** np.arange(7 - k)
        np.testing.assert_allclose(found[k], weights @ deltas[k:], rtol=1e-10, atol=1e-12)


def test_with_decay_one_they_are_returns_less_the_value():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    found = generalised_advantages(rewards, values, discount=0.9, decay=1.0)
    returns = [(0.9 ** np.arange(5 - k)) @ rewards[k:] for k in range(5)]
    np.testing.assert_allclose(found + values, returns, rtol=1e-12)


def test_standardised_advantages():
    drawn = standardised(np.random.default_rng(0).normal(3, 2, (50, 4)))
    assert drawn.mean() == pytest.approx(0, abs=1e-14)
    assert drawn.std() == pytest.approx(1, rel=1e-14)
    assert (standardised(np.full(3, 0.1)) == 0).all()


# ---- the clip ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.1, 2.0, -2.2, -2.0),  # inside, both signs
        (1.1, -2.0, 2.2, 2.0),
        (1.5, 2.0, -2.4, 0.0),  # already more likely than need be
        (1.5, -2.0, 3.0, 2.0),  # a mistake made more likely: not held
        (0.5, 2.0, -1.0, -2.0),  # a good deed made less likely: not held
        (0.5, -2.0, 1.6, 0.0),
    ],
)
def test_all_sides_of_the_clip(ratio, advantage, loss, slope):
    r, a = np.array([ratio]), np.array([advantage])
    assert clipped_surrogate(r, a, 0.2)[0] == pytest.approx(loss)
    assert clipped_surrogate_gradient(r, a, 0.2)[0] == pytest.approx(slope)
    assert -min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage) == pytest.approx(loss)


@given(SEEDS)
def test_the_loss_and_all_its_gradients(seed):
    given_, rule = decisions(seed), ProximalPolicy(clip=0.2, value_share=0.7, entropy_share=0.3)
    found = rule.loss(**given_)

    def loss(**changed):
        return rule.loss(**(given_ | changed)).loss

    ratio = np.exp(
        log_probability(*(given_[name] for name in ("actions", "means", "log_deviations")))
        - given_["old_log_probabilities"]
    )
    gain = given_["advantages"]
    by_hand = (
        -np.minimum(ratio * gain, np.clip(ratio, 0.8, 1.2) * gain).mean()
        + 0.7 * ((given_["values"] - given_["value_targets"]) ** 2).mean()
        - 0.3 * entropy(given_["log_deviations"])
    )
    assert found.loss == pytest.approx(by_hand, rel=1e-12)
    for name, gradient in (
        ("means", found.by_means), ("values", found.by_values), ("log_deviations", found.by_log_deviations)
    ):  # fmt: skip
        expected = complex_gradient(lambda moved, name=name: loss(**{name: moved}), given_[name])
        assert gradient.shape == given_[name].shape
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-13, err_msg=name)


def test_such_decisions_are_on_all_sides_of_the_clip():
    """What the property above compares is no loss without a clip, and not one that is all clipped."""
    sides = set()
    for seed in range(5):
        given_ = decisions(seed)
        now = log_probability(given_["actions"], given_["means"], given_["log_deviations"])
        ratio = np.exp(now - given_["old_log_probabilities"])
        side = np.digitize(ratio, [0.8, 1.2])
        sides |= set(zip(side.ravel().tolist(), (given_["advantages"] > 0).ravel().tolist(), strict=True))
        held = ProximalPolicy().loss(**given_)
        assert 0.05 < held.clipped < 0.6
        assert ((held.by_means == 0).all(axis=-1)).mean() == held.clipped
    assert len(sides) == 6


def test_before_the_first_update_it_is_the_policy_gradient():
    given_ = decisions(0)
    given_["old_log_probabilities"] = log_probability(
        given_["actions"], given_["means"], given_["log_deviations"]
    )
    found = ProximalPolicy(value_share=0.0).loss(**given_)
    by_means, _ = log_probability_gradients(given_["actions"], given_["means"], given_["log_deviations"])
    gain = given_["advantages"]
    np.testing.assert_allclose(found.by_means, -gain[..., None] * by_means / gain.size, rtol=1e-14)
    assert found.clipped == 0
    assert found.surrogate == pytest.approx(-gain.mean(), rel=1e-12)


# ---- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [("means", (6, 5)), ("values", (6, 5, 1)), ("advantages", (5,)), ("old_log_probabilities", (6, 1)),
     ("value_targets", (1, 5))],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(name, shape):
    with pytest.raises(ValueError, match=f"^{name}: expected shape"):
        ProximalPolicy().loss(**(decisions(0) | {name: np.zeros(shape)}))
    with pytest.raises(ValueError, match=r"^log_deviations: expected shape \(2,\)"):
        ProximalPolicy().loss(**(decisions(0) | {"log_deviations": np.zeros(1)}))


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="clip"):
        ProximalPolicy(clip=0.0)
    with pytest.raises(ValueError, match="value_share"):
        ProximalPolicy(value_share=-1.0)
    with pytest.raises(ValueError, match="entropy_share"):
        ProximalPolicy(entropy_share=float("nan"))
    with pytest.raises(ValueError, match="discount"):
        generalised_advantages(np.zeros((2, 1)), np.zeros((2, 1)), discount=1.5)
    with pytest.raises(ValueError, match="values"):
        generalised_advantages(np.zeros((2, 3)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="last_values"):
        generalised_advantages(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2))
