"""From bytes to a schedule: within the budget always, the figures of the paper, and clear refusals."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.schedules.planning import STRATEGIES, Plan, Sizes, bytes_of, plan
from refsnn.schedules.simulation import simulate

BUDGETED = ("auto", "hsm", "revolve", "ism", "msm")
FIXED = ("all_tapes", "all_states", "nothing", "chen", "periodic", "bisection")
# large enough that tables weigh little beside a state
LARGE = Sizes(state=10**6, tape=4 * 10**6)


def made(steps, sizes, budget, strategy, every=7):
    """A plan, or None where it is refused for its budget; any other refusal is an error."""
    every = every if strategy == "periodic" else None
    try:
        return plan(steps, sizes, budget, strategy, every=every)
    except ValueError as error:
        if not str(error).startswith(("budget:", "strategy: a table")):
            raise
        return None


@st.composite
def wishes(draw, longest=90, largest=5000):
    """Steps, sizes, and a budget between just enough and enough for all tapes."""
    steps, state = draw(st.integers(1, longest)), draw(st.integers(1, largest))
    tape = draw(st.one_of(st.integers(1, 20000), st.integers(1, 8).map(lambda ratio: ratio * state)))
    sizes = Sizes(state, tape, draw(st.integers(0, 2)) * state)
    most = steps * (state + tape)
    return steps, sizes, sizes.fixed + draw(st.one_of(st.integers(0, most), st.integers(0, most // 8)))


@given(wishes(), st.sampled_from(STRATEGIES))
def test_no_plan_takes_more_than_its_budget_and_each_counts_as_it_says(wish, strategy):
    steps, sizes, budget = wish
    found = made(steps, sizes, budget, strategy)
    if found is None:
        assert strategy in ("msm", *FIXED)
        return
    assert found.peak_bytes + found.table_bytes <= budget
    assert found.peak_bytes == sizes.fixed + found.schedule.units * found.unit_bytes
    assert found.steps == steps
    counts = found.counts
    assert counts.cost == found.cost == simulate(found.schedule).cost
    assert counts.backs == steps
    # what is pushed at the peak fits into the slots in bytes too
    assert counts.peak_units <= found.schedule.units
    pushed_tape = sizes.tape + (0 if found.schedule.shares_input else sizes.state)
    if counts.internal_pushes:
        assert pushed_tape <= found.schedule.internal_units * found.unit_bytes
    if counts.hidden_pushes:
        assert sizes.state <= found.schedule.hidden_units * found.unit_bytes
    assert found.saved == 1 - found.peak_bytes / (sizes.state + steps * sizes.tape)
    assert found.overhead(3.0) == pytest.approx((found.cost / steps - 1) / 4)


@given(wishes(), st.sampled_from(STRATEGIES[1:]), st.integers(1, 100))
def test_auto_is_never_worse_than_another(wish, strategy, every):
    """Within the same bytes, tables included."""
    automatic, other = made(*wish, "auto"), made(*wish, strategy, every)
    assert automatic is not None
    assert other is None or automatic.cost <= other.cost


@given(wishes(longest=300, largest=40), st.sampled_from(["chen", "periodic"]), st.integers(2, 30))
def test_auto_is_never_worse_than_segments_where_tables_outweigh_states(wish, strategy, every):
    automatic, other = made(*wish, "auto"), made(*wish, strategy, every)
    assert other is None or automatic.cost <= other.cost


@pytest.mark.parametrize("strategy", ["hsm", "ism"])
@pytest.mark.parametrize("budget", ["20 kB", "400 kB", "3 MB", "60 MB"])
def test_auto_without_room_for_a_table(budget, strategy):
    """Small states, many steps; fewer bytes favour states, more favour tapes."""
    automatic, other = (plan(10**6, Sizes(100, 400), budget, one) for one in ("auto", strategy))
    assert automatic.table_bytes == 0
    assert automatic.cost <= other.cost


@pytest.mark.parametrize(
    ("steps", "sizes", "budget"), [(109, Sizes(44, 176), 2990), (10**6, Sizes(100, 400), 600_000)]
)
def test_auto_is_never_worse_than_chen(steps, sizes, budget):
    """Where no table fits, tapes of one segment beside states are better than either alone."""
    assert plan(steps, sizes, budget).cost <= plan(steps, sizes, budget, "chen").cost


@given(wishes())
def test_more_bytes_never_cost_more_steps(wish):
    steps, sizes, budget = wish
    costs = [plan(steps, sizes, more).cost for more in (budget, budget + sizes.state, 2 * budget)]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("strategy", FIXED)
def test_what_keeps_what_it_keeps_fits_exactly_or_is_refused(strategy):
    sizes, every = Sizes(64, 320), 7 if strategy == "periodic" else None
    for steps in (1, 2, 3, 10, 50, 51):
        free = plan(steps, sizes, strategy=strategy, every=every)
        assert free.counts.peak_units == free.schedule.units  # not a unit too many
        again = plan(steps, sizes, free.peak_bytes, strategy, every=every)
        assert again.cost == free.cost
        if free.peak_bytes > sizes.fixed:
            message = f"strategy='{strategy}' needs {free.peak_bytes} bytes for {steps} steps, got"
            with pytest.raises(ValueError, match=rf"^budget: {message} {free.peak_bytes - 1}; take .*auto"):
                plan(steps, sizes, free.peak_bytes - 1, strategy, every=every)


# -- figures -------------------------------------------------------------------------------------------------


def with_slots(steps, slots, slot_bytes):
    return LARGE.fixed + slots * slot_bytes


@pytest.mark.parametrize(
    ("slots", "cost"), [(2, 28864), (5, 6292), (10, 3640), (20, 2750), (50, 1950), (100, 1900), (500, 1500)]
)
def test_internal_states_at_a_thousand_steps(slots, cost):
    """m counts the working core."""
    found = plan(1000, LARGE, with_slots(1000, slots - 1, 5 * 10**6), "ism")
    assert (found.cost, found.schedule.units) == (cost, slots - 1)
    assert plan(1000, LARGE, with_slots(1000, slots - 1, 5 * 10**6) - 1, "ism").cost > cost


@pytest.mark.parametrize(
    ("slots", "cost"), [(2, 29820), (3, 13155), (10, 4636), (50, 2948), (500, 2498), (1000, 1999)]
)
@pytest.mark.parametrize("strategy", ["hsm", "revolve"])
def test_hidden_states_at_a_thousand_steps(slots, cost, strategy):
    """m counts the start."""
    found = plan(1000, LARGE, with_slots(1000, slots - 1, 10**6), strategy)
    assert (found.cost, found.schedule.units) == (cost, slots - 1)


def test_the_headline():
    """50 internal states: 95 % of the tapes saved, 31.7 % more time; hidden states do not give it."""
    internal = plan(1000, LARGE, with_slots(1000, 49, 5 * 10**6), "ism")
    assert internal.overhead() == pytest.approx(0.95 / 3, rel=1e-12)
    assert 100 * internal.overhead() == pytest.approx(31.7, abs=0.05)
    assert plan(1000, LARGE, with_slots(1000, 49, 10**6), "hsm").overhead() == pytest.approx(1.948 / 3)
    assert plan(1000, LARGE, with_slots(1000, 42, 5 * 10**6), "ism").cost <= 2000  # m = 43
    assert plan(1000, LARGE, with_slots(1000, 41, 5 * 10**6), "ism").cost > 2000


@pytest.mark.parametrize(("alpha", "units"), [(2, 44), (3, 62), (5, 87), (10, 129)])
def test_mixed_units_for_twice_the_steps(alpha, units):
    """Least units for C <= 2 T at T = 1000; alpha = 5 saves 98 % at a third more time."""
    sizes = Sizes(10**7, (alpha - 1) * 10**7)
    budgets = [sizes.fixed + count * 10**7 + 10**6 for count in (units - 1, units)]
    fewer, enough = (plan(1000, sizes, budget, "msm") for budget in budgets)
    assert (fewer.schedule.units, enough.schedule.units) == (units - 1, units)
    assert fewer.cost > 2000 >= enough.cost
    assert enough.counts.cost == enough.cost
    if alpha == 5:
        assert 0.97 < enough.saved < 0.98  # of tapes without their inputs; the start and the core weigh 9
        assert 1 - units / 5000 == pytest.approx(0.983, abs=5e-4)
        assert enough.overhead() <= 1 / 3


def test_chen_at_a_thousand_steps():
    found = plan(1000, LARGE, strategy="chen")
    assert (found.cost, found.slot_bytes) == (1992, (30 + 31 * 4) * 10**6)  # in the last segment but one
    same_bytes = LARGE.fixed + found.slot_bytes + 10**6
    assert plan(1000, LARGE, same_bytes).cost < 1992
    assert plan(1000, LARGE, LARGE.fixed + 92 * 10**6 + 9 * 10**5).cost <= 1992  # 40.6 % fewer bytes


@pytest.mark.parametrize(
    "strategy", ["hsm", "revolve", "ism", "nothing", "auto", "chen", "all_tapes", "bisection"]
)
def test_a_thousand_million_steps_are_planned_at_once(strategy):
    begin = time.process_time()
    found = plan(10**9, Sizes(1000, 4000), "100 MB" if strategy in BUDGETED else None, strategy)
    cost, told = found.cost, str(found)
    assert time.process_time() - begin < 0.5
    assert found.steps == 10**9 <= cost
    assert "T = 1000000000" in told
    if strategy in BUDGETED:
        assert found.peak_bytes + found.table_bytes <= 10**8


def test_too_many_steps_for_a_table_are_refused():
    with pytest.raises(ValueError, match=r"a table for 1000000000 steps does not fit .* take 'hsm' or 'ism'"):
        plan(10**9, Sizes(1000, 4000), "100 MB", "msm")


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 MB", 50_000_000),
        ("2 GiB", 2**31),
        ("1.5 kB", 1500),
        ("12 B", 12),
        (" 3MB ", 3_000_000),
        ("0.5 MiB", 2**19),
        (12, 12),
        pytest.param("7 KiB", 7168),
        pytest.param("1.001 kB", 1001),
        pytest.param("9" * 400 + " B", 10**400 - 1, id="400 digits"),
    ],
)
def test_bytes_of(text, expected):
    assert bytes_of(text) == expected
    assert isinstance(bytes_of(text), int)


@pytest.mark.parametrize(
    "text", ["", "50", "MB", "-5 MB", "5 XB", "5 MB more", "1e3 kB", "0 MB", "0.1 B", "1,5 MB"]
)
def test_text_that_is_no_budget(text):
    with pytest.raises(ValueError, match=r"^budget: expected"):
        bytes_of(text)


@pytest.mark.parametrize(
    ("budget", "error"),
    [
        (True, TypeError),
        (None, TypeError),
        ([5], TypeError),
        (0, ValueError),
        (-3, ValueError),
    ],
)
def test_other_things_that_are_no_budget(budget, error):
    with pytest.raises(error, match=r"^budget: expected an integer"):
        bytes_of(budget)


def test_a_float_is_no_budget():
    message = "budget: expected bytes as a whole number or text, got a float; give budget=50000000 or '50 MB'"
    with pytest.raises(TypeError, match=rf"^{message}$"):
        bytes_of(5e7)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_budget_too_small_names_the_least_bytes(strategy):
    sizes, every = Sizes(100, 400), 1 if strategy == "periodic" else None
    assert sizes.fixed == 100 + 2 * 100 + 400 + 100
    with pytest.raises(
        ValueError, match=r"^budget: expected at least 800 bytes, .* got 799; nothing runs in less"
    ):
        plan(10, sizes, 799, strategy, every=every)


@pytest.mark.parametrize("strategy", ["auto", "hsm", "revolve", "ism", "nothing"])
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_the_least_bytes_are_enough(strategy, steps):
    found = plan(steps, Sizes(100, 400), 800, strategy)
    assert (found.cost, found.schedule.units) == (steps * (steps + 1) // 2, 0)
    assert found.counts.cost == found.cost


@pytest.mark.parametrize("strategy", BUDGETED)
def test_a_budget_that_is_missing(strategy):
    with pytest.raises(
        ValueError, match=rf"^budget: expected bytes for strategy='{strategy}', got none; give"
    ):
        plan(10, LARGE, None, strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (0, ValueError),
        (-3, ValueError),
        (2.0, TypeError),
        (None, TypeError),
        ("9", TypeError),
        (True, TypeError),
    ],
)
def test_lengths_that_are_none(steps, error, strategy):
    with pytest.raises(error, match=r"^steps: expected an integer"):
        plan(steps, LARGE, "1 GB", strategy)


@pytest.mark.parametrize("field", ["state", "tape", "adjoint"])
@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (1.5, TypeError), (None, TypeError), (True, TypeError)]
)
def test_sizes_that_are_none(field, value, error):
    with pytest.raises(error, match=rf"^{field}: expected an integer"):
        Sizes(**{"state": 1, "tape": 1, "adjoint": 1, field: value})


def test_sizes():
    assert Sizes(16, 40) == Sizes(16, 40, 16)
    assert (Sizes(16, 40, 8).core, Sizes(16, 40, 8).fixed) == (72, 96)
    for bad in ({"state": 0, "tape": 1}, {"state": 1, "tape": 0}):
        with pytest.raises(ValueError, match=r"expected an integer of at least 1"):
            Sizes(**bad)
    with pytest.raises(TypeError, match=r"^sizes: expected a Sizes such as"):
        plan(10, (16, 40), 1000)


def test_strategies_and_periods_that_are_none():
    with pytest.raises(ValueError, match=r"^strategy: expected one of 'auto', 'hsm'"):
        plan(10, LARGE, "1 GB", "best")
    with pytest.raises(ValueError, match=r"^every: expected none with strategy='hsm', got 3"):
        plan(10, LARGE, "1 GB", "hsm", every=3)
    with pytest.raises(ValueError, match=r"^every: expected a period with strategy='periodic', got none"):
        plan(10, LARGE, "1 GB", "periodic")
    with pytest.raises(ValueError, match=r"^every: expected an integer of at least 1"):
        plan(10, LARGE, "1 GB", "periodic", every=0)


@pytest.mark.parametrize("ratio", [-1.0, float("nan"), float("inf")])
def test_time_ratios_that_are_none(ratio):
    with pytest.raises(ValueError, match=r"^ratio"):
        plan(10, LARGE, "1 GB").overhead(ratio)


def test_a_plan_says_what_it_is():
    found = plan(1000, LARGE, with_slots(1000, 49, 5 * 10**6), "ism")
    assert isinstance(found, Plan)
    expected = 100 * (1 - (LARGE.fixed + 245 * 10**6) / (10**6 + 4 * 10**9))
    assert str(found) == (
        f"ISM: T = 1000, C/T = 1.950, 253000000 bytes ({expected:.1f} % saved), 0 of a table, "
        "about 32 % more time"
    )
