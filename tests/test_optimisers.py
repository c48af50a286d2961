"""Optimisers: formulas written a second time, dtypes, state that is kept and goes on, what is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.optimisers import Adam, GradientDescent, Optimiser, OptimiserState, Staircase, clipped
from validation.experiments.checkpoints import TrainingState
from validation.experiments.training import Recipe

SHAPES = {"layer.weight": (4, 3), "layer.bias": (4,), "scale": ()}


def arrays(rng: np.random.Generator, dtype=np.float64, size: float = 1.0) -> dict[str, np.ndarray]:
    return {name: np.asarray(size * rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}


def run(optimiser: Optimiser, start, gradients, state: OptimiserState | None = None, active=None):
    state = optimiser.initial_state(start) if state is None else state
    for gradient in gradients:
        start, state = optimiser.update(start, gradient, state, active)
    return start, state


def worst(found, expected) -> float:
    assert found.keys() == expected.keys()
    return max(float(np.max(np.abs(found[name] - expected[name]))) for name in found)


def adam_of_one_number(start, gradients, rate, b1=0.9, b2=0.999, e=1e-8, corrected=False):
    """Every entry by itself, moments as sums over the past instead of a recursion."""
    past, here = [], start
    for t, g in enumerate(gradients, 1):
        past.append(float(g))
        m = (1 - b1) * sum(b1 ** (t - 1 - i) * value for i, value in enumerate(past))
        s = (1 - b2) * sum(b2 ** (t - 1 - i) * value**2 for i, value in enumerate(past))
        if corrected:
            here -= rate * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + e)
        else:
            here -= rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(s) + e)
    return here


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 12), corrected=st.booleans(), tiny=st.booleans())
def test_adam_is_its_formula(seed, steps, corrected, tiny):
    rng = np.random.default_rng(seed)
    start = arrays(rng)
    gradients = [arrays(rng, size=1e-8 if tiny else 1.0) for _ in range(steps)]
    found, state = run(Adam(0.01, bias_corrected_stability=corrected), start, gradients)
    assert state.iteration == steps
    for name in SHAPES:
        for index in np.ndindex(start[name].shape):
            expected = adam_of_one_number(
                start[name][index], [g[name][index] for g in gradients], 0.01, corrected=corrected
            )
            assert abs(found[name][index] - expected) <= 2e-15 * max(1, abs(expected))


def test_the_two_places_of_epsilon_differ_only_for_tiny_gradients():
    rng = np.random.default_rng(0)
    start, small, usual = arrays(rng), [arrays(rng, size=1e-8)], [arrays(rng)]
    plain, other = Adam(0.01), Adam(0.01, bias_corrected_stability=True)
    assert worst(run(plain, start, small)[0], run(other, start, small)[0]) > 1e-3
    assert 0 < worst(run(plain, start, usual)[0], run(other, start, usual)[0]) < 1e-5


def test_first_updates_of_adam_by_hand():
    """At constant g the corrections cancel the decays: each update is eta g / (|g| + epsilon_t)."""
    start, size = {"w": np.array([1.0, 1.0])}, np.array([250.0, 3e-8])
    found, _ = run(Adam(0.125), start, [{"w": size * [1, -1]}] * 3)
    moved = 0.125 * sum(size / (size + 1e-8 / np.sqrt(1 - 0.999**t)) for t in (1, 2, 3))
    assert np.allclose(found["w"], [1, 1] + moved * [-1, 1], rtol=1e-14, atol=0)
    assert 0.01 < moved[1] < 0.1 < 0.374 < moved[0]


@given(seed=st.integers(0, 2**32), momentum=st.sampled_from([0.0, 0.5, 0.9]), steps=st.integers(1, 8))
def test_gradient_descent_is_its_formula(seed, momentum, steps):
    rng = np.random.default_rng(seed)
    start, gradients = arrays(rng), [arrays(rng) for _ in range(steps)]
    found, state = run(GradientDescent(0.1, momentum), start, gradients)
    # velocities written out: gradient i counts momentum^0 + ... + momentum^(steps - 1 - i) times
    expected = {
        name: start[name]
        - 0.1 * sum(sum(momentum**k for k in range(steps - i)) * g[name] for i, g in enumerate(gradients))
        for name in SHAPES
    }
    assert worst(found, expected) <= 1e-14
    assert sorted(state.moments) == (["velocity"] if momentum else [])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_as_the_training_loop_of_the_experiments(momentum, dtype):
    """With a schedule a name, one mini-batch after the other, as `training.update` has it."""
    from types import SimpleNamespace

    from validation.experiments import training

    rng = np.random.default_rng(5)
    start, gradients = arrays(rng, dtype), [arrays(rng, dtype) for _ in range(6)]
    recipe = Recipe(1, 1, dict.fromkeys(SHAPES, 0.1) | {"scale": 0.3}, momentum, cosine=True)
    state = TrainingState(
        parameters=dict(start), velocity={name: np.zeros_like(start[name]) for name in start}, running={}
    )
    state.order = np.arange(6)
    images = SimpleNamespace(train_images=np.arange(6), train_labels=np.zeros(6, int))
    diagnostics = SimpleNamespace(outputs=np.zeros((1, 2)), residual=None, spike_rates={}, statistics={})

    def gradient(_parameters, image, _labels, _rng):
        return SimpleNamespace(loss=0.0, gradients=gradients[int(image[0])], diagnostics=diagnostics)

    for _ in range(6):
        training.update(state, gradient, images, recipe, rng, 6)
    rates = {name: (lambda done, name=name: recipe.decay(done, 6) * recipe.rate(name)) for name in SHAPES}
    found, _ = run(GradientDescent(rates, momentum), start, gradients)
    for name in SHAPES:
        assert np.array_equal(found[name], state.parameters[name])
        assert not np.array_equal(found[name], start[name])


OPTIMISERS = [
    GradientDescent(0.1),
    GradientDescent(0.1, 0.9),
    Adam(Staircase(0.1, 0.5, 2)),
    Adam(0.1, bias_corrected_stability=True),
]


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_stay_and_nothing_given_changes(optimiser, dtype):
    rng = np.random.default_rng(1)
    start, gradients = arrays(rng, dtype), arrays(rng, dtype)
    state = optimiser.initial_state(start)
    state = optimiser.update(start, gradients, state)[1]
    before = [
        {name: value.copy() for name, value in of.items()}
        for of in (start, gradients, *state.moments.values())
    ]
    found, after = optimiser.update(start, gradients, state)
    for of, kept in zip((start, gradients, *state.moments.values()), before, strict=True):
        for name in of:
            assert np.array_equal(of[name], kept[name])
            assert not np.shares_memory(of[name], found[name])
    assert (state.iteration, after.iteration) == (1, 2)
    for of in (found, *after.moments.values()):
        for name, value in of.items():
            assert value.dtype == dtype
            assert value.shape == SHAPES[name]
            assert isinstance(value, np.ndarray)
            assert not np.array_equal(value, np.zeros_like(value))


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=repr)
def test_kept_in_a_file_and_resumed_to_the_same_bits(optimiser, tmp_path):
    rng = np.random.default_rng(2)
    start, gradients = arrays(rng, np.float32), [arrays(rng, np.float32) for _ in range(7)]
    whole, end = run(optimiser, start, gradients)
    half, state = run(optimiser, start, gradients[:3])
    with h5py.File(tmp_path / "state.h5", "w") as file:
        for path, value in state.as_arrays().items():
            file[path] = value
    loaded = {}
    with h5py.File(tmp_path / "state.h5") as file:
        file.visititems(
            lambda path, item: loaded.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    resumed, last = run(optimiser, half, gradients[3:], OptimiserState.from_arrays(loaded))
    assert last.iteration == end.iteration == 7
    for name in SHAPES:
        assert np.array_equal(resumed[name], whole[name])
        for moment in optimiser.moments:
            assert np.array_equal(last.moments[moment][name], end.moments[moment][name])


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=repr)
def test_resting_entries_move_neither_value_nor_moment(optimiser):
    rng = np.random.default_rng(3)
    start, gradients = arrays(rng), [arrays(rng) for _ in range(4)]
    everything, state = run(optimiser, start, gradients[:2])
    mask = rng.random((4, 3)) < 0.5
    assert mask.any()
    assert not mask.all()
    found, after = run(optimiser, everything, gradients[2:], state, {"layer.weight": mask})
    dense, dense_after = run(optimiser, everything, gradients[2:], state)
    pairs = [(found, everything, dense)] + [
        (after.moments[moment], state.moments[moment], dense_after.moments[moment])
        for moment in optimiser.moments
    ]
    for now, before, unmasked in pairs:
        assert np.array_equal(now["layer.weight"][~mask], before["layer.weight"][~mask])
        assert np.array_equal(now["layer.weight"][mask], unmasked["layer.weight"][mask])
        assert np.array_equal(now["layer.bias"], unmasked["layer.bias"])
        assert not np.any(unmasked["layer.weight"] == before["layer.weight"])


def test_forgotten_moments_are_zero_and_others_stay():
    rng = np.random.default_rng(4)
    optimiser = Adam(0.1)
    _, state = run(optimiser, arrays(rng), [arrays(rng)])
    mask = np.eye(4, 3, dtype=bool)
    after = state.forgotten({"layer.weight": mask})
    for moment in optimiser.moments:
        assert (after.moments[moment]["layer.weight"][mask] == 0).all()
        assert np.array_equal(
            after.moments[moment]["layer.weight"][~mask], state.moments[moment]["layer.weight"][~mask]
        )
        assert (state.moments[moment]["layer.weight"] != 0).all()
        assert np.array_equal(after.moments[moment]["scale"], state.moments[moment]["scale"])
    assert after.iteration == state.iteration


# ---- learning rates ---------------------------------------------------------------------------------------


@given(every=st.integers(1, 9), iterations=st.integers(1, 60), not_before=st.integers(0, 40))
def test_staircase_is_the_loop_of_the_tutorials(every, iterations, not_before):
    schedule, rate = Staircase(0.01, 0.3, every, not_before), 0.01
    for iteration in range(iterations):
        if iteration > 0 and iteration % every == 0 and iteration >= not_before:
            rate *= 0.3
        assert schedule(iteration) == pytest.approx(rate, rel=1e-13)


def test_the_rate_of_the_first_stair_is_exact():
    assert {Staircase(0.01, 0.8, 2500)(k) for k in range(2500)} == {0.01}
    assert Staircase(0.01, 0.8, 2500)(2500) == 0.01 * 0.8


def test_the_rate_decays_between_updates_and_not_before():
    start, gradient = {"w": np.array([0.0])}, {"w": np.array([-1.0])}
    optimiser, state, seen = GradientDescent(Staircase(1.0, 0.5, 2)), None, []
    for _ in range(5):
        start, state = run(optimiser, start, [gradient], state)
        seen.append(float(start["w"][0]))
    assert np.diff([0.0, *seen]).tolist() == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_rates_by_name():
    start = {"a": np.array([0.0]), "b": np.array([0.0])}
    gradient = {"a": np.array([-1.0]), "b": np.array([-1.0])}
    found, _ = run(GradientDescent({"a": 0.5, "b": Staircase(1.0, 0.5, 1)}), start, [gradient] * 2)
    assert (found["a"][0], found["b"][0]) == (1.0, 1.5)


# ---- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientDescent(-0.1), r"learning_rate: expected a finite number in \[0, inf\), got -0.1"),
        (lambda: Adam(np.nan), "learning_rate: expected a finite number"),
        (lambda: Adam("0.1"), "learning_rate: expected a real number, got str"),
        (lambda: Adam({"w": -1.0}), r"learning_rate\['w'\]: expected a finite number"),
        (lambda: GradientDescent(0.1, 1.0), r"momentum: expected a finite number in \[0, 1\), got 1.0"),
        (lambda: Adam(0.1, first_decay=1.0), "first_decay: expected a finite number"),
        (lambda: Adam(0.1, second_decay=-0.1), "second_decay: expected a finite number"),
        (lambda: Adam(0.1, stability=0.0), r"stability: expected a finite number in \(0, inf\)"),
        (lambda: Staircase(0.0, 0.5, 10), "rate: expected a finite number"),
        (lambda: Staircase(0.1, -0.5, 10), "factor: expected a finite number"),
        (lambda: Staircase(0.1, 0.5, 0), "every: expected an integer of at least 1, got 0"),
        (lambda: Staircase(0.1, 0.5, 2.5), "every: expected an integer"),
        (lambda: Staircase(0.1, 0.5, 2, -1), "not_before: expected an integer of at least 0"),
    ],
)
def test_bad_hyper_parameters_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_bad_updates_are_refused():
    rng = np.random.default_rng(6)
    optimiser, start, gradients = Adam(0.1), arrays(rng), arrays(rng)
    state = optimiser.initial_state(start)
    for wrong, message in (
        ({"scale": gradients["scale"]}, r"gradients: expected the keys .* missing \['layer.bias'"),
        (gradients | {"other": gradients["scale"]}, r"gradients: .* unknown \['other'\]"),
        (gradients | {"layer.bias": np.zeros(3)}, r"gradients\['layer.bias'\]: expected shape \(4,\)"),
        (gradients | {"layer.bias": np.full(4, np.nan)}, r"gradients\['layer.bias'\]: .* got 4 NaN"),
        (
            {name: value.astype(np.float32) for name, value in gradients.items()},
            "expected dtype float64 like the other arrays, got float32",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            optimiser.update(start, wrong, state)
    for wrong_state, message in (
        (GradientDescent(0.1, 0.9).initial_state(start), "state: .* it is the state of another optimiser"),
        (
            optimiser.initial_state({"scale": start["scale"]}),
            r"state.moments\['first_moment'\]: expected the",
        ),
        ({}, "state: expected a OptimiserState"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            optimiser.update(start, gradients, wrong_state)
    for mask, message in (
        ({"layer.bias": np.ones(3, bool)}, r"active\['layer.bias'\]: expected booleans of shape \(4,\)"),
        ({"layer.bias": np.ones(4)}, "expected booleans"),
        ({"bias": np.ones(4, bool)}, r"active\['bias'\]: expected booleans of shape of a parameter"),
    ):
        with pytest.raises(ValueError, match=message):
            optimiser.update(start, gradients, state, mask)
    with pytest.raises(ValueError, match=r"learning_rate: expected a rate for 'layer.weight', got rates for"):
        Adam({"scale": 0.1}).update(start, gradients, state)
    with pytest.raises(ValueError, match="learning_rate: expected a finite number"):
        Adam(lambda iteration: -1.0).update(start, gradients, state)


def test_arrays_that_are_no_state_are_refused():
    for wrong, message in (
        ({"velocity/w": np.zeros(2)}, "expected the state of an optimiser with 'iteration'"),
        (
            {"iteration": np.array(0), "velocity": np.zeros(2)},
            "expected names such as 'velocity/<parameter>'",
        ),
        ({"iteration": np.array(-1)}, "iteration: expected an integer of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            OptimiserState.from_arrays(wrong)


def test_clipping_scales_all_together_or_nothing():
    rng = np.random.default_rng(0)
    gradients = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    total = np.sqrt(sum(np.square(value).sum() for value in gradients.values()))
    small = clipped(gradients, 0.5 * total)
    for name, value in gradients.items():
        assert np.allclose(small[name], 0.5 * value, rtol=1e-14)
        assert clipped(gradients, 1.01 * total)[name] is value
    single = {name: value.astype(np.float32) for name, value in gradients.items()}
    assert all(value.dtype == np.float32 for value in clipped(single, 0.1).values())
    with pytest.raises(ValueError, match="norm"):
        clipped(gradients, 0.0)
