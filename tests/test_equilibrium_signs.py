"""Nudges of random sign, and how many synapses are pushed the right way."""

from __future__ import annotations

import numpy as np
import pytest
from equilibrium_cases import PLAIN, draw, energy, rest, worst
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.random_sign import random_sign
from refsnn.algorithms.sign_agreement import SignAgreement, sign_agreement

seeds = st.integers(0, 2**32 - 1)
W1 = "coupling.1.2.weight"
SETTLE = {"free_steps": 500, **PLAIN}

# ---------------------------------------------------------------- random signs


@given(seed=seeds)
def test_the_mean_of_both_signs_is_the_symmetric_estimate(seed):
    model, p, x, y = draw(seed, energy())
    phases = {"free_steps": 30, "nudged_steps": 9, **PLAIN}
    plus, minus = (
        equilibrium_propagation(model, p, x, y, **phases, nudge=nudge).gradients for nudge in (0.3, -0.3)
    )
    both = equilibrium_propagation(model, p, x, y, **phases, nudge=0.3, symmetric=True).gradients
    assert worst({name: (plus[name] + minus[name]) / 2 for name in p}, both) <= 1e-11


@given(seed=seeds, probability=st.sampled_from([0.0, 0.2, 0.5, 1.0]), nudge=st.sampled_from([0.3, -2, 0.1j]))
def test_signs_are_drawn_with_the_probability(seed, probability, nudge):
    rng, twin = np.random.default_rng(seed), np.random.default_rng(seed)
    drawn = [random_sign(nudge, rng, probability) for _ in range(2000)]
    assert drawn == [-nudge if twin.random() < probability else nudge for _ in range(2000)]
    turned = sum(value == -nudge for value in drawn) / 2000
    assert abs(turned - probability) <= 6 * np.sqrt(probability * (1 - probability) / 2000)
    assert all(type(value) in (float, complex) for value in drawn)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, None), TypeError, "rng: expected a numpy.random.Generator"),
        ((0, 1), TypeError, "rng"),
        ((0, np.random.default_rng(0)), ValueError, "nudge: expected a number other than 0"),
        ((complex("nan"), np.random.default_rng(0)), ValueError, "nudge: expected a finite number"),
        (("1", np.random.default_rng(0)), TypeError, "nudge"),
        (
            (0.1, np.random.default_rng(0), 1.5),
            ValueError,
            r"probability: expected a finite number in \[0, 1\]",
        ),
    ],
)
def test_bad_draws_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        random_sign(*arguments)


# ---------------------------------------------------------------- agreement of signs


@given(seed=seeds)
def test_agreement_is_counted_entry_by_entry(seed):
    rng = np.random.default_rng(seed)
    first, second = ({"w": rng.integers(-1, 2, (3, 4)) * 1e-200, "b": rng.normal(size=2)} for _ in range(2))
    counted = sign_agreement(first, second)
    for name, fractions in counted.items():
        pairs = list(zip(first[name].ravel(), second[name].ravel(), strict=True))
        same = sum(np.sign(a) == np.sign(b) != 0 for a, b in pairs) / len(pairs)
        zero = sum(a == 0 == b for a, b in pairs) / len(pairs)
        assert fractions == SignAgreement(same, zero)


def test_agreement_of_the_update_and_the_gradient():
    model, p, x, y = draw(14, energy())
    rest(model, p, x, drop=False)
    truth = bptt_convergent(model, p, x, y, **SETTLE, steps_back=20).gradients
    near = equilibrium_propagation(model, p, x, y, **SETTLE, nudged_steps=20, nudge=1e-4).gradients
    assert set(sign_agreement(near, truth).values()) == {SignAgreement(1.0, 0.0)}
    against = {name: -array for name, array in near.items()}
    assert set(sign_agreement(against, truth).values()) == {SignAgreement(0.0, 0.0)}
    # one step back reaches the output only: the rest is exactly 0 in BPTT, and drift in the update
    short = bptt_convergent(model, p, x, y, **SETTLE, steps_back=1).gradients
    assert sign_agreement(short, short)[W1] == SignAgreement(0.0, 1.0)
    assert sign_agreement(near, short)[W1] == SignAgreement(0.0, 0.0)


def test_what_cannot_be_compared_is_refused():
    arrays = {"w": np.ones(2)}
    for other, error, message in (
        ({"v": np.ones(2)}, ValueError, r"expected the names \['w'\]"),
        ({"w": np.ones(3)}, ValueError, r"gradient\['w'\]: expected shape \(2,\)"),
        ({"w": np.ones(2) + 0j}, TypeError, "expected real arrays"),
    ):
        with pytest.raises(error, match=message):
            sign_agreement(arrays, other)
