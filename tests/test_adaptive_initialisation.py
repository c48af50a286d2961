"""Initial weights of an LSNN: their laws, Dale's law, the official recipe written a second time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.models.adaptive.initialisation import (
    balanced_square,
    dale_weight,
    gaussian_weight,
    glorot_uniform,
    signed_weight,
    synapse_mask,
)
from refsnn.models.adaptive.signs import check_signs, matrix_signs, neuron_signs


def test_gaussian_weights_have_the_variance_of_their_senders():
    weight = gaussian_weight(np.random.default_rng(0), 400, 100)
    assert weight.shape == (400, 100)
    scaled = weight * 10
    assert abs(scaled.mean()) < 6 / np.sqrt(weight.size)
    assert abs(scaled.var() - 1) < 6 * np.sqrt(2 / weight.size)
    assert abs((scaled**4).mean() - 3) < 6 * np.sqrt(96 / weight.size)  # the fourth moment of a Gaussian


def test_glorot_weights_fill_their_interval():
    weight = glorot_uniform(np.random.default_rng(1), 50, 220)
    limit = np.sqrt(6 / 270)
    assert weight.shape == (50, 220)
    assert 0.999 * limit < weight.max() < limit
    assert -limit < weight.min() < -0.999 * limit
    assert abs(weight.var() - limit**2 / 3) < 6 * limit**2 * np.sqrt(4 / 45 / weight.size)


@pytest.mark.parametrize("connectivity", [None, 0.3])
def test_signed_weights_have_magnitudes_and_signs_of_their_own(connectivity):
    weight, signs = signed_weight(np.random.default_rng(2), 300, 100, connectivity)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    present = weight != 0
    assert np.array_equal(np.sign(weight[present]), signs[present])
    assert abs(signs.mean()) < 6 / np.sqrt(signs.size)
    # independent of neurons: no row or column of one sign
    assert np.abs(signs.mean(axis=0)).max() < 0.4
    assert np.abs(signs.mean(axis=1)).max() < 0.6
    magnitude = np.abs(weight[present]) * 10
    assert abs(magnitude.mean() - np.sqrt(2 / np.pi)) < 6 * 0.603 / np.sqrt(magnitude.size)
    assert abs((magnitude**2).mean() - 1) < 6 * np.sqrt(2 / magnitude.size)
    share = 1 if connectivity is None else 1 - np.exp(-connectivity)
    assert abs(present.mean() - share) < 0.01
    # signs of absent synapses are drawn like others
    assert connectivity is None or abs(signs[~present].mean()) < 6 / np.sqrt((~present).sum())


def test_masks_draw_pairs_with_replacement():
    draws = np.array([synapse_mask(np.random.default_rng(seed), 7, 5, 0.43) for seed in range(3000)])
    assert draws.shape == (3000, 7, 5)
    # floor(0.43 * 35) = 15 pairs: each entry is there with probability 1 - (34/35)^15
    expected = 1 - (34 / 35) ** 15
    deviation = np.sqrt(expected * (1 - expected) / 3000)
    assert np.abs(draws.mean(axis=0) - expected).max() < 5 * deviation
    counts = draws.sum(axis=(1, 2))
    assert counts.max() <= 15
    assert counts.min() < 15
    assert len(set(counts)) > 3


# ---- signs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "excitatory"), [(80, 61), (220, 166), (20, 16), (3, 3), (1, 1), (4, 4)])
def test_three_quarters_and_one_are_excitatory(count, excitatory):
    """As in the tutorial: int(0.75 n) + 1, inhibitory neurons first."""
    signs = neuron_signs(np.random.default_rng(0), count)
    assert signs.tolist() == [-1.0] * (count - excitatory) + [1.0] * excitatory


def test_inhibitory_recurrent_neurons_do_not_adapt():
    """120 LIF neurons stand before 100 adaptive ones."""
    signs = neuron_signs(np.random.default_rng(0), 220)
    assert (signs[120:] == 1).all()
    assert (signs[:54] == -1).all()


def test_shuffled_signs_are_the_same_in_another_order():
    plain = neuron_signs(np.random.default_rng(0), 80)
    orders = {tuple(neuron_signs(np.random.default_rng(seed), 80, shuffle=True)) for seed in range(20)}
    assert len(orders) == 20
    assert all(sorted(order) == plain.tolist() for order in orders)
    firsts = np.mean(
        [neuron_signs(np.random.default_rng(seed), 80, shuffle=True) for seed in range(600)], axis=0
    )
    assert np.abs(firsts - plain.mean()).max() < 5 * np.sqrt(1 - plain.mean() ** 2) / np.sqrt(600)


def test_signs_belong_to_columns():
    """The presynaptic neuron: what it sends to all others has one sign."""
    signs = matrix_signs(np.array([1.0, -1.0, 1.0]), 2)
    assert signs.tolist() == [[1, -1, 1], [1, -1, 1]]


# ---- Dale's law -------------------------------------------------------------------------------------------


def official_square(rng: np.random.Generator, neuron_sign: np.ndarray) -> np.ndarray:
    """The recipe of the official code in loops, (pre, post); the same draw, transposed."""
    n = len(neuron_sign)
    theta = abs(rng.standard_normal((n, n))).T.copy()
    excitatory = [i for i in range(n) if neuron_sign[i] > 0]
    inhibitory = [i for i in range(n) if neuron_sign[i] < 0]
    if inhibitory:
        value_e = sum(theta[i, k] for i in excitatory for k in range(n))
        value_i = sum(theta[i, k] for i in inhibitory for k in range(n))
        for i in inhibitory:
            theta[i] *= value_e / value_i
        for k in range(n):
            s = sum(theta[i, k] * neuron_sign[i] for i in range(n))
            weaker = excitatory if s < 0 else inhibitory
            for i in weaker:
                theta[i, k] += abs(s) / len(weaker)
    w = theta * neuron_sign[:, None]
    # the radius by powers of w squared repeatedly, not by an eigenvalue routine
    power, log_norm = w.copy(), 0.0
    for _ in range(60):
        size = np.abs(power).max()
        power, log_norm = power / size, log_norm + np.log(size)
        power, log_norm = power @ power, 2 * log_norm
    log_norm += np.log(np.abs(power).max())
    return w / np.exp(log_norm / 2.0**60)


@given(seed=st.integers(0, 2**32), count=st.integers(2, 14), share=st.floats(0, 0.999))
def test_square_is_the_official_recipe(seed, count, share):
    signs = neuron_signs(np.random.default_rng(seed), count, share, shuffle=True)
    found = balanced_square(np.random.default_rng(seed), signs)
    expected = official_square(np.random.default_rng(seed), signs).T
    # an eigenvalue of modulus 1 in a matrix of norm n moves by up to n^2 roundings
    bound = 1e-13 * max(1, float((found**2).sum()))
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()
    assert np.array_equal(np.sign(found), np.tile(signs, (count, 1)))
    assert abs(np.abs(np.linalg.eigvals(found)).max() - 1) <= bound
    if (signs < 0).any():
        assert np.abs(found.sum(axis=1)).max() <= 1e-12 * np.abs(found).sum(axis=1).max()


def test_balancing_only_adds():
    """Against the matrix scaled as a whole: no magnitude shrinks, only one kind grows in each row."""
    signs = neuron_signs(np.random.default_rng(0), 30)
    found = balanced_square(np.random.default_rng(3), signs)
    magnitude = np.abs(np.random.default_rng(3).standard_normal((30, 30)))
    magnitude[:, signs < 0] *= magnitude[:, signs > 0].sum() / magnitude[:, signs < 0].sum()
    # the factor of the radius, from an entry of each row that did not grow
    ratio = np.abs(found) / magnitude
    factor = ratio.min()
    for row in range(30):
        grown = np.abs(found[row]) > factor * magnitude[row] * (1 + 1e-12)
        assert len(set(signs[grown])) == 1
        assert (ratio[row][~grown] <= factor * (1 + 1e-12)).all()
        assert len(set(np.round((np.abs(found[row]) - factor * magnitude[row])[grown], 12))) == 1


def test_without_inhibition_nothing_is_balanced():
    signs = np.ones(12)
    found = balanced_square(np.random.default_rng(4), signs)
    drawn = np.abs(np.random.default_rng(4).standard_normal((12, 12)))
    assert np.ptp(found / drawn) <= 1e-14
    assert abs(np.abs(np.linalg.eigvals(found)).max() - 1) <= 1e-12


@pytest.mark.parametrize("post", [4, 20, 33])
def test_rows_are_the_first_or_drawn_with_replacement(post):
    signs = neuron_signs(np.random.default_rng(0), 20)
    found = dale_weight(np.random.default_rng(5), signs, post)
    square = balanced_square(np.random.default_rng(5), signs)
    assert found.shape == (post, 20)
    if post <= 20:
        assert np.array_equal(found, square[:post])
    else:
        rows = [int(np.flatnonzero((square == row).all(axis=1))[0]) for row in found]
        assert len(set(rows)) < 20  # some twice, so some not at all
        assert rows[:20] != list(range(20))


@given(seed=st.integers(0, 2**32), post=st.integers(3, 40), connectivity=st.floats(0.05, 1))
def test_sparse_weights_keep_dales_law_and_the_budget(seed, post, connectivity):
    signs = neuron_signs(np.random.default_rng(seed), 20, shuffle=True)
    weight = dale_weight(np.random.default_rng(seed), signs, post, connectivity)
    assert np.array_equal(check_signs(weight, signs), weight)
    assert 1 <= (weight != 0).sum() <= int(connectivity * post * 20)


def test_float32_is_the_same_draw_rounded():
    rng = np.random.default_rng
    signs = neuron_signs(rng(0), 20)
    single = neuron_signs(rng(0), 20, dtype=np.float32)
    pairs = [
        (gaussian_weight(rng(1), 4, 5), gaussian_weight(rng(1), 4, 5, np.float32)),
        (glorot_uniform(rng(1), 4, 5), glorot_uniform(rng(1), 4, 5, np.float32)),
        *zip(signed_weight(rng(1), 4, 5, 0.5), signed_weight(rng(1), 4, 5, 0.5, np.float32), strict=True),
        (dale_weight(rng(1), signs, 25, 0.5), dale_weight(rng(1), single, 25, 0.5)),
        (signs, single),
        (matrix_signs(signs, 2), matrix_signs(single, 2)),
    ]
    for double, narrow in pairs:
        assert (double.dtype, narrow.dtype) == (np.float64, np.float32)
        assert np.array_equal(double.astype(np.float32), narrow)
        assert np.abs(narrow).max() > 0


# ---- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "signs", "message"),
    [
        (
            [[0.5, 0.5, 0.0], [0.0, -0.1, 0.25]],
            [1.0, -1.0, -1.0],
            r"w: expected weights <= 0 from the inhibitory neuron 1, got 0.5 to neuron 0 \(1 of its 2 "
            "weights, 2 against their sign in all",
        ),
        (
            [[0.5], [-0.5]],
            [1.0],
            "w: expected weights >= 0 from the excitatory neuron 0, got -0.5 to neuron 1",
        ),
        ([[0.5], [-0.5]], [[1.0], [1.0]], "from the excitatory neuron 0, got -0.5 to neuron 1"),
        ([[0.5], [-0.5]], [[-1.0], [-1.0]], "from the inhibitory neuron 0, got 0.5 to neuron 0"),
        ([[0.5], [0.25]], [-1.0], r"got 0.5 to neuron 0 \(2 of its 2 weights, 2 against their sign"),
        ([[0.5], [0.5]], [[1.0], [-1.0]], "expected weights <= 0 from the neuron 0, got 0.5 to neuron 1"),
        ([[0.5, 0.5]], [1.0, 0.0], r"signs of w: expected \+1 and -1 alone, got 0.0 at \[1\]"),
        ([[0.5, 0.5]], [1.0], r"signs of w: expected shape \(2,\), one a presynaptic neuron, or \(1, 2\)"),
        ([[0.5, 0.5]], [1, -1], "signs of w: expected a float32 or float64 array, got dtype int64"),
        ([[np.nan, 0.5]], [1.0, 1.0], "w: expected finite numbers"),
    ],
)
def test_weights_against_their_signs_are_refused(weight, signs, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check_signs(np.array(weight), np.array(signs), "w")


def test_zero_has_either_sign():
    weight = np.array([[0.0, -0.0], [-0.0, 0.0]])
    assert np.array_equal(check_signs(weight, np.array([1.0, -1.0])), weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: gaussian_weight(0, 3, 2), r"rng: expected a numpy\.random\.Generator"),
        (lambda rng: gaussian_weight(rng, 0, 2), "post: expected an integer of at least 1, got 0"),
        (lambda rng: glorot_uniform(rng, 3, 2.0), "pre: expected an integer, got float"),
        (lambda rng: glorot_uniform(rng, 3, 2, np.int64), "dtype: expected float32 or float64"),
        (
            lambda rng: signed_weight(rng, 3, 2, 1.5),
            r"connectivity: expected a finite number in \(0, 1\], got 1.5",
        ),
        (lambda rng: synapse_mask(rng, 3, 2, 0.0), "connectivity: expected a finite number"),
        (
            lambda rng: synapse_mask(rng, 3, 2, 0.1),
            "connectivity: expected at least one synapse in a weight of 3 x 2, got 0.1; raise it to 0.167 "
            "or more",
        ),
        (
            lambda rng: neuron_signs(rng, 3, 1.0),
            r"excitatory_share: expected a finite number in \[0, 1\), got 1.0",
        ),
        (lambda rng: neuron_signs(rng, 3, -0.1), "excitatory_share: expected a finite number"),
        (lambda rng: neuron_signs(rng, 0), "count: expected an integer of at least 1"),
        (
            lambda rng: dale_weight(rng, np.array([-1.0, -1.0]), 3),
            "signs: expected at least one excitatory neuron",
        ),
        (lambda rng: dale_weight(rng, np.array([1.0, 0.5]), 3), r"signs: expected \+1 and -1 alone, got 0.5"),
        (lambda rng: dale_weight(rng, np.ones((2, 2)), 3), r"signs: expected shape \(pre,\)"),
        (lambda rng: dale_weight(rng, np.ones(2), 3, -1), "connectivity: expected a finite number"),
        (lambda rng: matrix_signs(np.ones(2), 0), "post: expected an integer of at least 1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(np.random.default_rng(0))
