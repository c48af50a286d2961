"""DEEP R against its pseudo-code written a second time, its invariants, its statistics, its relatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.deep_rewiring import DeepRewiring
from refsnn.algorithms.fixed_signs import FixedSigns, SignedState
from refsnn.algorithms.optimisers import Adam, GradientDescent, Optimiser, OptimiserState, Staircase
from refsnn.algorithms.soft_deep_rewiring import SoftDeepRewiring
from validation.claims.lsnn.rewiring_by_hand import RewiringByHand

INPUT, RECURRENT, READOUT = "layer.1.input_weight", "layer.1.recurrent_weight", "readout.weight"
MATRICES = (INPUT, RECURRENT, READOUT)
BIAS = "readout.bias"
OPTIMISERS: dict[str, Optimiser] = {
    "adam": Adam(0.05),
    "sgd": GradientDescent(0.05),
    "momentum": GradientDescent(0.02, 0.9),
    "staircase": Adam(Staircase(0.05, 0.5, 3)),
}


@dataclass
class Case:
    """Signs, sparse weights within the budget, and gradients that push some entries for long."""

    signs: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    connectivity: dict[str, float]
    gradient: Callable[[], dict[str, np.ndarray]]


def case(seed: int, sizes=(5, 7, 3), shares=(0.3, 0.2, 0.4), dtype=np.float64, filled: float = 0.8) -> Case:
    rng = np.random.default_rng(seed)
    n_in, n, n_out = sizes
    shapes = {INPUT: (n, n_in), RECURRENT: (n, n), READOUT: (n_out, n)}
    signs, parameters = {}, {}
    for (name, shape), share in zip(shapes.items(), shares, strict=True):
        signs[name] = np.tile(rng.choice((-1.0, 1.0), shape[1]), (shape[0], 1)).astype(dtype)
        present = np.zeros(shape, bool)
        present.flat[rng.permutation(present.size)[: int(filled * share * present.size)]] = True
        weight = np.abs(rng.standard_normal(shape)) * 0.1 * signs[name]
        parameters[name] = np.where(present, weight, 0).astype(dtype)
    parameters[BIAS] = rng.standard_normal(n_out).astype(dtype)
    drift = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}

    def gradient() -> dict[str, np.ndarray]:
        return {
            name: (value + rng.standard_normal(value.shape)).astype(dtype) for name, value in drift.items()
        }

    return Case(signs, parameters, dict(zip(shapes, shares, strict=True)), gradient)


def by_hand(made: Case, optimiser: str, planted=(), **options) -> RewiringByHand:
    return RewiringByHand(
        [made.parameters[name].T.copy() for name in MATRICES],
        [made.signs[name].T for name in MATRICES],
        made.parameters[BIAS],
        [made.connectivity[name] for name in MATRICES],
        optimiser,
        0.05,
        planted=planted,
        **options,
    )


def count(rule: DeepRewiring, state: SignedState) -> int:
    return sum(int(mask.sum()) for mask in rule.active(state).values())


# ---- a second writing -------------------------------------------------------------------------------------


def disagreement(seed: int, optimiser: str, planted=(), **options) -> tuple[float, int, int]:
    """Worst relative difference of any array in six iterations; deaths; entries pushed up while dormant."""
    made = case(seed)
    rule = DeepRewiring(made.signs, OPTIMISERS[optimiser], made.connectivity, **options)
    state, twin = rule.initial_state(made.parameters), by_hand(made, optimiser, planted)
    rng, worst, deaths, tempted = np.random.default_rng(seed), 0.0, 0, 0
    for _ in range(6):
        gradients = made.gradient()
        before = [th > 0 for th in twin.theta]
        given_masks = twin.step([gradients[name].T for name in MATRICES], gradients[BIAS], rng=rng)
        deaths += sum(int((was & (th <= 1e-12)).sum()) for was, th in zip(before, twin.theta, strict=True))
        tempted += sum(
            int((~was & (gradients[name].T * s < 0)).sum())
            for name, was, s in zip(MATRICES, before, twin.signs, strict=True)
        )
        masks = {name: mask.T for name, mask in zip(MATRICES, given_masks, strict=True)}
        if planted:  # a wrong twin may ask for what the package refuses
            masks = {name: mask & ~(state.strengths[name] > 0) for name, mask in masks.items()}
        state = rule.update(state, gradients, reconnect=masks)
        pairs = [(state.strengths[name].T, th) for name, th in zip(MATRICES, twin.theta, strict=True)]
        pairs += [(rule.weights(state)[name].T, w) for name, w in zip(MATRICES, twin.weights(), strict=True)]
        pairs += [(state.strengths[BIAS], twin.bias)]
        if optimiser == "adam":
            for moment, of in (("first_moment", twin.m), ("second_moment", twin.s)):
                pairs += [
                    (state.optimiser.moments[moment][name].T, value)
                    for name, value in zip((*MATRICES, BIAS), of, strict=True)
                ]
        worst = max(worst, *(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs))
    return worst, deaths, tempted


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_second_writing(optimiser, seed):
    worst, deaths, tempted = disagreement(seed, optimiser)
    assert deaths > 5
    assert tempted > 100
    assert worst <= 1e-15


@pytest.mark.parametrize(
    "planted", ["no guard", "moments of dormant entries rest", "shrinks what is dormant too"]
)
def test_the_second_writing_sees_errors(planted):
    seen = []
    for seed in range(3):
        try:
            seen.append(disagreement(seed, "adam", (planted,))[0] > 1e-3)
        except ValueError:  # the budget is full of what should not be there
            seen.append(True)
    assert all(seen)


def test_sparse_moments_agree_with_the_second_writing_until_something_reconnects():
    """Resting moments are the second writing's; they differ from it when they are forgotten."""
    made = case(0)
    rule = DeepRewiring(made.signs, Adam(0.05), made.connectivity, sparse_moments=True)
    state = rule.initial_state(made.parameters)
    twin = by_hand(made, "adam", ("moments of dormant entries rest",))
    nothing = [np.zeros(th.shape, bool) for th in twin.theta]
    for _ in range(6):
        gradients = made.gradient()
        twin.step([gradients[name].T for name in MATRICES], gradients[BIAS], reconnect=nothing)
        state = rule.update(state, gradients, reconnect={})
        for i, (name, th) in enumerate(zip(MATRICES, twin.theta, strict=True)):
            moments = state.optimiser.moments
            assert np.abs(state.strengths[name].T - th).max() <= 1e-15
            assert np.abs(moments["first_moment"][name].T - twin.m[i]).max() <= 1e-15
            assert np.abs(moments["second_moment"][name].T - twin.s[i]).max() <= 1e-15
            assert 0 < (moments["second_moment"][name] == 0).sum() < th.size


def test_sparse_moments_are_forgotten_at_reconnection():
    made = case(1)
    rng = np.random.default_rng(1)
    rule = DeepRewiring(made.signs, Adam(0.05), made.connectivity, sparse_moments=True)
    state, seen = rule.initial_state(made.parameters), 0
    for _ in range(10):
        state = rule.update(state, made.gradient(), rng)
        for name in MATRICES:
            fresh = state.strengths[name] == 1e-12
            moments = state.optimiser.moments["second_moment"][name]
            assert (moments[fresh] == 0).all()
            survivors = (state.strengths[name] > 0) & ~fresh
            assert (moments[survivors] > 0).all()
            seen += int(fresh.sum())
    assert seen > 10


# ---- invariants -------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32),
    sizes=st.tuples(st.integers(2, 8), st.integers(2, 9), st.integers(1, 5)),
    optimiser=st.sampled_from(sorted(OPTIMISERS)),
    temperature=st.sampled_from([0.0, 0.002]),
    options=st.fixed_dictionaries({"per_matrix": st.booleans(), "sparse_moments": st.booleans()}),
    filled=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_invariants(seed, sizes, optimiser, temperature, options, filled):
    made = case(seed, sizes, (0.5, 0.3, 0.6), filled=filled)
    rule = DeepRewiring(
        made.signs, OPTIMISERS[optimiser], made.connectivity, temperature=temperature, **options
    )
    rng = np.random.default_rng(seed)
    state = rule.initial_state(made.parameters)
    rooms = {name: made.connectivity[name] * made.signs[name].size for name in MATRICES}
    budget = sum(map(int, rooms.values())) if options["per_matrix"] else int(sum(rooms.values()))
    assert rule.budget == budget
    for _ in range(5):
        before = state
        state = rule.update(before, made.gradient(), rng)
        weights, active = rule.weights(state), rule.active(state)
        fresh = {name: state.strengths[name] == 1e-12 for name in MATRICES}
        full = [name for name in MATRICES if active[name].all()]
        assert count(rule, state) <= budget
        if not full:
            assert count(rule, state) == budget
        if options["per_matrix"]:
            assert all(active[name].sum() == int(rooms[name]) for name in MATRICES)
        for name, signs in made.signs.items():
            assert np.array_equal(np.sign(weights[name][active[name]]), signs[active[name]])
            assert (weights[name][~active[name]] == 0).all()
            assert (weights[name] * rule.weights(before)[name] >= 0).all()
            # what was dormant is dormant, or new
            was = before.strengths[name] > 0
            assert (~was & active[name] <= fresh[name]).all()
            assert (state.strengths[name][~was & ~active[name]] == 0).all()


def test_never_above_the_budget_where_candidates_run_out():
    """A matrix without free places leaves room that others do not take in the same update."""
    made = case(3, shares=(1.0, 0.1, 0.1), filled=1.0)
    made.parameters[RECURRENT][:] = 0
    made.parameters[READOUT][:] = 0
    rule = DeepRewiring(made.signs, GradientDescent(0.1), made.connectivity, l1=0.0)
    state, counts = rule.initial_state(made.parameters), []
    rng = np.random.default_rng(3)
    still = {name: np.zeros_like(value) for name, value in made.parameters.items()}
    for _ in range(20):
        state = rule.update(state, still, rng)
        counts.append(count(rule, state))
    assert counts[0] < rule.budget
    assert counts == sorted(counts)
    assert counts[-1] == rule.budget


def test_a_dead_synapse_keeps_its_strength_until_the_next_update():
    signs = {"w": np.array([[1.0, 1.0, 1.0, 1.0]])}
    rule = DeepRewiring(signs, GradientDescent(1.0), 0.5, l1=0.0)
    state = rule.initial_state({"w": np.array([[0.5, 0.25, 0.0, 0.0]])})
    state = rule.update(state, {"w": np.array([[1.0, 0.0, -1.0, 0.0]])}, reconnect={})
    assert state.strengths["w"].tolist() == [[-0.5, 0.25, 0.0, 0.0]]
    assert rule.weights(state)["w"].tolist() == [[0.0, 0.25, 0.0, 0.0]]
    mask = np.array([[True, False, False, False]])  # just died: a candidate
    state = rule.update(state, {"w": np.array([[-9.0, 0.0, 0.0, 0.0]])}, reconnect={"w": mask})
    assert state.strengths["w"].tolist() == [[1e-12, 0.25, 0.0, 0.0]]


def test_l1_is_in_units_of_the_decayed_rate_and_each_matrix_has_its_own():
    made = case(4)
    zero = {name: np.zeros_like(value) for name, value in made.parameters.items()}
    l1 = {INPUT: 0.001, RECURRENT: 0.0, READOUT: 0.002}
    rule = DeepRewiring(made.signs, GradientDescent(Staircase(0.5, 0.5, 1)), made.connectivity, l1)
    start = rule.initial_state(made.parameters)
    state = rule.update(rule.update(start, zero, reconnect={}), zero, reconnect={})
    for name, shrink in l1.items():
        here = start.strengths[name] > 0.01
        lost = (start.strengths[name] - state.strengths[name])[here]
        assert here.any()
        assert np.allclose(lost, (0.5 + 0.25) * shrink, rtol=1e-12, atol=1e-16)
    assert np.array_equal(state.strengths[BIAS], made.parameters[BIAS])


def test_noise_has_its_temperature_and_falls_on_the_active_alone():
    signs = {"w": np.ones((200, 200))}
    present = np.random.default_rng(5).random((200, 200)) < 0.5
    weights = {"w": np.where(present, 5.0, 0.0)}
    rule = DeepRewiring(signs, GradientDescent(0.5), 0.6, l1=0.2, temperature=0.25)
    state = rule.update(
        rule.initial_state(weights), {"w": np.zeros((200, 200))}, np.random.default_rng(6), reconnect={}
    )
    moved = state.strengths["w"][present] - 5.0
    # mean -eta l1 = -0.1, variance 2 eta T = 0.25; 20000 samples
    assert abs(moved.mean() + 0.1) < 6 * 0.5 / np.sqrt(moved.size)
    assert abs(moved.var() - 0.25) < 6 * 0.25 * np.sqrt(2 / moved.size)
    assert (state.strengths["w"][~present] == 0).all()


def test_same_seed_same_bits_and_nothing_given_changes():
    made = case(7)
    rule = DeepRewiring(made.signs, Adam(0.05), made.connectivity, temperature=0.01)
    gradients, start = made.gradient(), rule.initial_state(made.parameters)
    kept = {path: value.copy() for path, value in start.as_arrays().items()}
    twice = [rule.update(start, gradients, np.random.default_rng(8)).as_arrays() for _ in range(2)]
    other = rule.update(start, gradients, np.random.default_rng(9)).as_arrays()
    for path, value in kept.items():
        assert np.array_equal(start.as_arrays()[path], value)
        assert np.array_equal(twice[0][path], twice[1][path])
    assert not np.array_equal(twice[0][f"strengths/{RECURRENT}"], other[f"strengths/{RECURRENT}"])


def test_float32_stays_and_keeps_the_invariants():
    made = case(10, dtype=np.float32)
    rule = DeepRewiring(made.signs, Adam(0.05), made.connectivity, temperature=0.001)
    state, rng = rule.initial_state(made.parameters), np.random.default_rng(10)
    for _ in range(6):
        state = rule.update(state, made.gradient(), rng)
        assert count(rule, state) == rule.budget
    for path, value in state.as_arrays().items():
        assert path.endswith("iteration") or value.dtype == np.float32
    assert any((state.strengths[name] == np.float32(1e-12)).any() for name in MATRICES)
    assert all(value.dtype == np.float32 for value in rule.weights(state).values())


def test_kept_in_a_file_and_resumed_to_the_same_bits(tmp_path):
    made = case(11)
    rule = DeepRewiring(made.signs, Adam(0.05), made.connectivity)
    gradients = [made.gradient() for _ in range(6)]
    state, rng = rule.initial_state(made.parameters), np.random.default_rng(11)
    for gradient in gradients[:3]:
        state = rule.update(state, gradient, rng)
    with h5py.File(tmp_path / "state.h5", "w") as file:
        for path, value in state.as_arrays().items():
            file[path] = value
    position = rng.bit_generator.state
    for gradient in gradients[3:]:
        state = rule.update(state, gradient, rng)
    loaded = {}
    with h5py.File(tmp_path / "state.h5") as file:
        file.visititems(
            lambda path, item: loaded.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    resumed, rng = SignedState.from_arrays(loaded), np.random.default_rng()
    rng.bit_generator.state = position
    for gradient in gradients[3:]:
        resumed = rule.update(resumed, gradient, rng)
    for path, value in state.as_arrays().items():
        assert np.array_equal(resumed.as_arrays()[path], value)


# ---- statistics -------------------------------------------------------------------------------------------


def z_scores(counts: np.ndarray, probabilities: np.ndarray, draws: int) -> np.ndarray:
    return (counts - draws * probabilities) / np.sqrt(draws * probabilities * (1 - probabilities))


def test_choice_is_uniform_among_all_that_are_not_active():
    """In one matrix of 20 entries, 6 active, one of which dies: 5 stay, one of 15 is drawn."""
    signs = {"w": np.ones((4, 5))}
    start = np.zeros((4, 5))
    start.flat[:6] = [0.1, 1, 1, 1, 1, 1]
    gradient = np.zeros((4, 5))
    gradient.flat[0] = 1.0  # kills the first, which can be drawn too
    rule = DeepRewiring(signs, GradientDescent(1.0), 0.3, l1=0.0)
    state, rng = rule.initial_state({"w": start}), np.random.default_rng(12)
    counts, draws = np.zeros(20), 4000
    for _ in range(draws):
        counts += (rule.update(state, {"w": gradient}, rng).strengths["w"] == 1e-12).ravel()
    assert counts.sum() == draws
    assert (counts[1:6] == 0).all()
    candidates = np.r_[counts[0], counts[6:]]
    assert np.abs(z_scores(candidates, np.full(15, 1 / 15), draws)).max() < 5


def test_split_is_multinomial_in_the_rooms_of_the_matrices():
    """Probabilities p_M |M| over their sum, and the variance of single draws: not proportional, not of p."""
    shapes, shares = {"a": (10, 10), "b": (5, 8), "c": (6, 30)}, {"a": 0.1, "b": 0.5, "c": 0.2}
    rooms = np.array([10.0, 20.0, 36.0])
    rule = DeepRewiring(
        {name: np.ones(shape) for name, shape in shapes.items()}, GradientDescent(1.0), shares
    )
    empty = {name: np.zeros(shape) for name, shape in shapes.items()}
    state, rng = rule.initial_state(empty), np.random.default_rng(13)
    splits = []
    for _ in range(1500):
        active = rule.active(rule.update(state, empty, rng))
        splits.append([active[name].sum() for name in shapes])
    splits = np.array(splits)
    assert rule.budget == 66
    assert (splits.sum(axis=1) == 66).all()
    share = rooms / 66
    deviation = np.sqrt(66 * share * (1 - share))
    assert (np.abs(splits.mean(axis=0) - rooms) < 5 * deviation / np.sqrt(1500)).all()
    assert np.allclose(splits.std(axis=0), deviation, rtol=0.1)
    assert np.abs(np.corrcoef(splits.T)[0, 1] + np.sqrt(10 * 20 / (56 * 46))) < 0.12


# ---- relatives --------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), decay=st.booleans())
def test_without_rewiring_it_is_projected_descent_on_active_weights(seed, decay):
    """T = 0, l1 = 0, nothing reconnected: w <- w - eta dL/dw, stopped for good where it would cross 0."""
    made = case(seed)
    rate = Staircase(0.05, 0.5, 2) if decay else 0.05
    rule = DeepRewiring(made.signs, GradientDescent(rate), made.connectivity, l1=0.0)
    state = rule.initial_state(made.parameters)
    expected = {name: value.copy() for name, value in made.parameters.items()}
    stopped = 0
    for iteration in range(6):
        gradients = made.gradient()
        state = rule.update(state, gradients, reconnect={})
        eta = 0.05 * 0.5 ** (iteration // 2) if decay else 0.05
        for name, value in expected.items():
            moved = value - eta * gradients[name]
            if name in made.signs:
                crossed = (moved * made.signs[name] <= 0) & (value != 0)
                stopped += int(crossed.sum())
                moved = np.where((value != 0) & ~crossed, moved, 0)
            expected[name] = moved
            assert np.abs(rule.weights(state)[name] - moved).max() <= 1e-15
    assert stopped > 0


@given(seed=st.integers(0, 2**32), optimiser=st.sampled_from(sorted(OPTIMISERS)))
def test_fixed_signs_is_descent_projected_on_the_right_signs(seed, optimiser):
    """In w, not in theta: min(0, ...) for inhibitory columns, max(0, ...) for excitatory ones."""
    made = case(seed, shares=(1.0, 1.0, 1.0), filled=1.0)
    rule, plain = FixedSigns(made.signs, OPTIMISERS[optimiser]), OPTIMISERS[optimiser]
    state = rule.initial_state(made.parameters)
    weights, memory = made.parameters, plain.initial_state(made.parameters)
    revived = stopped = 0
    for _ in range(8):
        gradients, before = made.gradient(), weights
        state = rule.update(state, gradients)
        weights, memory = plain.update(weights, gradients, memory)
        for name, signs in made.signs.items():
            weights[name] = np.where(signs > 0, np.maximum(weights[name], 0), np.minimum(weights[name], 0))
            revived += int(((before[name] == 0) & (weights[name] != 0)).sum())
            stopped += int(((before[name] != 0) & (weights[name] == 0)).sum())
        found = rule.weights(state)
        for name, value in weights.items():
            assert np.abs(found[name] - value).max() <= 1e-15
    assert stopped > 0
    assert revived > 0


def test_soft_rewiring_is_its_formula():
    made = case(14)
    rule = SoftDeepRewiring(
        made.signs, GradientDescent(Staircase(0.05, 0.5, 3)), made.connectivity, l1=0.02, noise=0.3
    )
    state = rule.spread_state(made.parameters, np.random.default_rng(14))
    for name in MATRICES:
        dormant = made.parameters[name] == 0
        clip = -(1 - made.connectivity[name]) / made.connectivity[name] * (0.05 * 0.3**2 / 2) / 0.02
        assert rule.clip(name, 0) == pytest.approx(clip, rel=1e-14)
        assert ((state.strengths[name] <= 0) == dormant).all()
        assert clip <= state.strengths[name].min() < 0.8 * clip
    assert all(np.array_equal(rule.weights(state)[name], value) for name, value in made.parameters.items())
    clipped = woken = 0
    for iteration in range(10):
        gradients, eta = made.gradient(), 0.05 * 0.5 ** (iteration // 3)
        after = rule.update(state, gradients, np.random.default_rng(iteration))
        noise = np.random.default_rng(iteration)
        for name in MATRICES:
            theta, signs = state.strengths[name], made.signs[name]
            moved = theta - eta * np.where(theta > 0, gradients[name] * signs, 0)
            moved = moved + eta * (0.3 * noise.standard_normal(theta.shape) - 0.02 * (moved > 0))
            share = made.connectivity[name]
            clip = -(1 - share) / share * (eta * 0.3**2 / 2) / 0.02
            assert np.abs(after.strengths[name] - np.maximum(moved, clip)).max() <= 1e-15
            clipped += int((moved < clip).sum())
            woken += int(((theta <= 0) & (after.strengths[name] > 0)).sum())
        assert np.abs(after.strengths[BIAS] - (state.strengths[BIAS] - eta * gradients[BIAS])).max() <= 1e-15
        state = after
    assert clipped > 5
    assert woken > 5


def test_soft_rewiring_walks_to_its_share():
    """Without gradients, with steps short beside T / l1, a share p is active in the long run."""
    signs = {"w": np.ones((60, 60))}
    rule = SoftDeepRewiring(signs, GradientDescent(0.1), 0.3, l1=0.05, noise=1.0)
    rng, zero = np.random.default_rng(15), {"w": np.zeros((60, 60))}
    state = rule.spread_state({"w": np.ones((60, 60)) * 0.5}, rng)
    shares = []
    for iteration in range(1500):
        state = rule.update(state, zero, rng)
        if iteration >= 1000:
            shares.append((state.strengths["w"] > 0).mean())
    assert abs(np.mean(shares) - 0.3) < 0.03


def test_soft_rewiring_starts_as_in_its_script():
    signs = {"w": np.where(np.random.default_rng(0).random((100, 400)) < 0.5, -1.0, 1.0)}
    rule = SoftDeepRewiring(signs, GradientDescent(0.05), 0.1)
    state = rule.drawn_state({"w": np.zeros((100, 400))}, np.random.default_rng(16))
    theta, clip = state.strengths["w"], rule.clip("w", 0)
    assert clip == pytest.approx(-9 * 0.05 * 1e-10 / 2 / 1e-5, rel=1e-12)
    positive, between = theta[theta > 0], theta[(theta >= clip) & (theta <= 0)]
    assert abs(len(positive) / theta.size - 0.05) < 6 * np.sqrt(0.05 * 0.95 / theta.size)
    assert abs(len(between) / theta.size - 0.9) < 6 * np.sqrt(0.09 / theta.size)
    assert (positive**2).mean() == pytest.approx(1 / 400, rel=0.2)
    assert between.mean() == pytest.approx(clip / 2, rel=0.05)
    after = rule.update(state, {"w": np.zeros((100, 400))}, np.random.default_rng(17))
    assert after.strengths["w"].min() == clip


# ---- what is refused --------------------------------------------------------------------------------------

SIGNS = {"a": np.array([[1.0, -1.0], [1.0, -1.0]]), "b": np.ones((1, 2))}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepRewiring(SIGNS, Adam(0.1), 1.5), r"connectivity: expected a finite number in \(0, 1\]"),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), -0.1), "connectivity: expected a finite number"),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), 0.0), "connectivity: expected a finite number"),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), np.nan), "connectivity: expected a finite number"),
        (
            lambda: DeepRewiring(SIGNS, Adam(0.1), 0.1),
            r"connectivity: expected room for at least one synapse, got \{'a': 0.1, 'b': 0.1\} of "
            r"\{'a': 4, 'b': 2\} entries; raise it",
        ),
        (
            lambda: DeepRewiring(SIGNS, Adam(0.1), {"a": 0.5, "b": 0.4}, per_matrix=True),
            r"connectivity: expected room for at least one synapse, got \{'b': 0.4\}",
        ),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), {"a": 0.5}), r"connectivity: expected one number for each"),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), {"a": 0.5, "b": 2.0}), r"connectivity\['b'\]: expected"),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), 0.5, l1=-1.0), "l1: expected a finite number"),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), 0.5, temperature=-1.0), "temperature: expected a finite"),
        (lambda: DeepRewiring(SIGNS, Adam(0.1), 0.5, reconnection=0.0), "reconnection: expected a finite"),
        (lambda: DeepRewiring(SIGNS, 0.1, 0.5), r"optimiser: expected a Optimiser such as Adam\(0.01\)"),
        (lambda: DeepRewiring({}, Adam(0.1), 0.5), "signs: expected a dict of at least one array"),
        (lambda: FixedSigns({"a": np.array([[0.5]])}, Adam(0.1)), r"signs\['a'\]: expected \+1 and -1 alone"),
        (lambda: FixedSigns({"a": np.ones(2)}, Adam(0.1)), r"signs\['a'\]: expected shape \(post, pre\)"),
        (lambda: SoftDeepRewiring(SIGNS, Adam(0.1), 0.5, l1=0.0), "l1: expected a finite number"),
        (lambda: SoftDeepRewiring(SIGNS, Adam(0.1), 0.5, noise=0.0), "noise: expected a finite number"),
        (lambda: SoftDeepRewiring(SIGNS, Adam(0.1), 1.1), "connectivity: expected a finite number"),
    ],
)
def test_bad_rules_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": np.zeros((2, 2))}, r"parameters: expected all matrices of fixed sign, missing \['b'\]"),
        ({"a": np.zeros((2, 3)), "b": np.zeros((1, 2))}, r"parameters\['a'\]: expected shape \(2, 2\)"),
        (
            {"a": np.zeros((2, 2), np.float32), "b": np.zeros((1, 2), np.float32)},
            r"parameters\['a'\]: expected dtype float64 like the other arrays, got float32",
        ),
        (
            {"a": np.array([[0.0, 0.0], [0.0, 0.5]]), "b": np.zeros((1, 2))},
            "a: expected weights <= 0 from the inhibitory neuron 1, got 0.5 to neuron 1",
        ),
        (
            {"a": np.array([[0.1, -0.1], [0.1, -0.1]]), "b": np.ones((1, 2))},
            r"parameters: expected at most 3 active synapses, got 6, \{'a': 4, 'b': 2\}; set weights to 0 or",
        ),
        (None, "parameters: expected a dict of arrays, got NoneType"),
    ],
)
def test_bad_starts_are_refused(weights, message):
    with pytest.raises((TypeError, ValueError), match=message):
        DeepRewiring(SIGNS, Adam(0.1), 0.5).initial_state(weights)


def test_bad_updates_are_refused():
    rule = DeepRewiring(SIGNS, GradientDescent(0.1), 0.5, l1=0.0)
    start = {"a": np.array([[0.1, 0.0], [0.0, -0.1]]), "b": np.zeros((1, 2))}
    state, zero = rule.initial_state(start), {"a": np.zeros((2, 2)), "b": np.zeros((1, 2))}
    rng = np.random.default_rng(0)
    no = np.zeros((2, 2), bool)
    crowded = SignedState({"a": np.ones((2, 2)), "b": np.zeros((1, 2))}, state.optimiser)
    foreign = SignedState({"a": np.ones((3, 2)), "b": np.zeros((1, 2))}, state.optimiser)
    here, both = no.copy(), no.copy()
    here[0, 0] = both[0, 1] = both[1, 0] = True
    for arguments, message in (
        ((state, zero), "rng: expected a numpy.random.Generator"),
        ((state, zero, 0), "rng: expected a numpy.random.Generator"),
        ((state, {"a": zero["a"]}, rng), r"gradients: expected all matrices of fixed sign, missing \['b'\]"),
        ((state, zero | {"b": np.full((1, 2), np.nan)}, rng), r"gradients\['b'\]: expected finite numbers"),
        ((state, zero | {"c": np.zeros(1)}, rng), r"gradients: .* unknown \['c'\]"),
        ((crowded, zero, rng), "state: expected at most 3 active synapses, got 4"),
        ((foreign, zero, rng), r"state: .* \(2, 2\), .* it is the state of another network"),
        (({}, zero, rng), "state: expected a SignedState"),
        (
            (state, zero, None, {"a": here}),
            r"reconnect\['a'\]: expected dormant entries, got 1 whose synapse",
        ),
        ((state, zero, None, {"a": both}), "reconnect: expected at most 3 active synapses, got 4"),
        ((state, zero, None, {"a": no[:1]}), r"reconnect\['a'\]: expected booleans of shape \(2, 2\)"),
        ((state, zero, None, {"c": no}), "reconnect: expected options among 'a', 'b', got 'c'"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            rule.update(*arguments)
    warm = DeepRewiring(SIGNS, GradientDescent(0.1), 0.5, temperature=0.1)
    with pytest.raises(TypeError, match=r"rng: expected a numpy\.random"):
        warm.update(state, zero, reconnect={})
    with pytest.raises(TypeError, match=r"rng: expected a numpy\.random"):
        SoftDeepRewiring(SIGNS, GradientDescent(0.1), 0.5).update(state, zero, None)
    with pytest.raises(ValueError, match=r"state: .* it is the state of another network"):
        rule.weights(foreign)
    with pytest.raises(ValueError, match=r"arrays: expected names under strengths/ and optimiser/"):
        SignedState.from_arrays({"a": np.zeros(2)})
    assert isinstance(state.optimiser, OptimiserState)
