"""O12: DEEP R keeps its budget, its signs and its guard; draws as it says; and is its pseudo-code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn.algorithms.deep_rewiring import DeepRewiring
from refsnn.algorithms.optimisers import Adam, GradientDescent, Optimiser
from validation.claims.lsnn.rewiring_by_hand import Matrices, RewiringByHand
from validation.ledger import Measured, claim, require

NAMES = ("layer.1.input_weight", "layer.1.recurrent_weight", "readout.weight")
BIAS = "readout.bias"
RATE, L1, NEW = 0.05, 0.01, 1e-12
OPTIMISERS: dict[str, Optimiser] = {"adam": Adam(RATE), "sgd": GradientDescent(RATE)}


@dataclass(frozen=True)
class Problem:
    """Dale's law on three matrices, a start within the budget, gradients that drift."""

    shares: tuple[float, ...]
    signs: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    gradients: list[dict[str, np.ndarray]]

    @property
    def budget(self) -> int:
        """K, of the definition."""
        return int(sum(share * self.signs[name].size for name, share in zip(NAMES, self.shares, strict=True)))

    def rule(self, optimiser: str, **options: Any) -> DeepRewiring:
        shares = dict(zip(NAMES, self.shares, strict=True))
        return DeepRewiring(self.signs, OPTIMISERS[optimiser], shares, **options)

    def by_hand(self, optimiser: str, *planted: str, **options: float) -> RewiringByHand:
        weights = [self.parameters[name].T.copy() for name in NAMES]
        signs = [self.signs[name].T for name in NAMES]
        shares = list(self.shares)
        return RewiringByHand(
            weights, signs, self.parameters[BIAS], shares, optimiser, RATE, planted=planted, **options
        )


def problem(
    rng: np.random.Generator,
    shares: tuple[float, ...] = (0.23, 0.21, 0.31),
    filled: tuple[float, ...] = (0.8, 0.8, 0.8),
    updates: int = 12,
) -> Problem:
    """12 inputs, 15 neurons, 4 outputs."""
    shapes = dict(zip(NAMES, ((15, 12), (15, 15), (4, 15)), strict=True))
    signs, parameters = {}, {}
    for (name, shape), share, part in zip(shapes.items(), shares, filled, strict=True):
        signs[name] = np.tile(rng.choice((-1.0, 1.0), shape[1]), (shape[0], 1))
        weight = np.zeros(shape)
        there = rng.permutation(weight.size)[: int(part * share * weight.size)]
        weight.flat[there] = rng.exponential(0.15, len(there))
        parameters[name] = weight * signs[name]
    parameters[BIAS] = rng.standard_normal(4)
    drift = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}
    gradients = [
        {name: value + 0.5 * rng.standard_normal(value.shape) for name, value in drift.items()}
        for _ in range(updates)
    ]
    return Problem(shares, signs, parameters, gradients)


@dataclass(frozen=True)
class Update:
    """Strengths and weights before and after one update, (post, pre), and dL/dw between them."""

    signs: Matrices
    strengths_before: Matrices
    strengths: Matrices
    weights_before: Matrices
    weights: Matrices
    gradients: Matrices

    def active(self) -> int:
        return sum(int((strength > 0).sum()) for strength in self.strengths)

    def full(self) -> bool:
        return any(bool((strength > 0).all()) for strength in self.strengths)

    def deaths(self) -> int:
        """Entries that were there and are not, or are new in the same place."""
        pairs = zip(self.strengths_before, self.strengths, strict=True)
        return sum(int(((old > 0) & (new <= NEW)).sum()) for old, new in pairs)


def packaged(
    given: Problem, optimiser: str, rng: np.random.Generator, temperature: float = 0.0
) -> Iterator[Update]:
    """What the package does."""
    rule = given.rule(optimiser, temperature=temperature)
    state = rule.initial_state(given.parameters)
    signs = [given.signs[name] for name in NAMES]
    for gradients in given.gradients:
        before, state = state, rule.update(state, gradients, rng)
        weights_before, weights = rule.weights(before), rule.weights(state)
        yield Update(
            signs,
            *([of[name] for name in NAMES] for of in (before.strengths, state.strengths)),
            *([of[name] for name in NAMES] for of in (weights_before, weights, gradients)),
        )


def handmade(
    given: Problem, optimiser: str, rng: np.random.Generator, *planted: str, temperature: float = 0.0
) -> Iterator[Update]:
    """What the pseudo-code does, with errors planted."""
    twin = given.by_hand(optimiser, *planted, temperature=temperature)
    signs = [given.signs[name] for name in NAMES]
    for gradients in given.gradients:
        before, weights_before = [th.T.copy() for th in twin.theta], [w.T.copy() for w in twin.weights()]
        twin.step([gradients[name].T for name in NAMES], gradients[BIAS], rng=rng)
        after, weights = [th.T.copy() for th in twin.theta], [w.T.copy() for w in twin.weights()]
        yield Update(signs, before, after, weights_before, weights, [gradients[name] for name in NAMES])


@dataclass
class Activity:
    """What happened in the runs that a claim is about; a claim on a quiet run says nothing."""

    updates: int = 0
    deaths: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    def see(self, update: Update) -> Update:
        self.updates += 1
        self.deaths += update.deaths()
        return update

    def checked(self) -> dict[str, Any]:
        require(self.deaths >= self.updates, f"{self.deaths} synapses died in {self.updates} updates")
        return {"updates": self.updates, "synapses that died": self.deaths, **self.details}


@claim(
    "lsnn/O12.count",
    r"After each rewiring exactly $K=\lfloor\sum_Mp_M|M|\rfloor$ entries of all matrices together are active, as long as candidates suffice; Adam and SGD, "
    r"with and without temperature.",
    source="specification, O12; Bellec et al. 2018 (ICLR)",
    metric="updates of 48 after which another number is active",
    relation="==",
    bound=0,
    control="no guard: what the optimiser wakes stays awake",
)
def count_of_active(rng: np.random.Generator) -> Measured:
    value = control = 0
    seen = Activity()
    for optimiser in OPTIMISERS:
        for temperature in (0.0, 0.001):
            given = problem(rng)
            for update in packaged(given, optimiser, rng, temperature):
                require(not seen.see(update).full(), "no candidates are left in a matrix")
                value += update.active() != given.budget
            wrong = handmade(given, optimiser, rng, "no guard", temperature=temperature)
            control += sum(update.active() != given.budget for update in wrong)
    return Measured(value, control, seen.checked())


@claim(
    "lsnn/O12.bound",
    r"There are never more than $K$ active entries, also where a matrix runs out of candidates, so that the budget is not met.",
    source="specification, O12",
    metric="most active entries after an update, less K",
    relation="<=",
    bound=0,
    control="the entries of one matrix are not counted",
)
def never_above(rng: np.random.Generator) -> Measured:
    given = problem(rng, shares=(1.0, 0.1, 0.2), filled=(1.0, 0.0, 0.5))
    value = control = -np.inf
    seen, short = Activity(), 0
    for optimiser in OPTIMISERS:
        for update in packaged(given, optimiser, rng):
            value = max(value, seen.see(update).active() - given.budget)
            short += update.active() < given.budget
        wrong = handmade(given, optimiser, rng, "one matrix is not counted")
        control = max(control, *(update.active() - given.budget for update in wrong))
    require(short > 0, "candidates sufficed everywhere")
    return Measured(value, control, seen.checked() | {"updates that did not meet the budget": short})


def sign_violations(update: Update) -> int:
    """Entries with an active weight of the wrong sign, a dormant one that is not 0, or a flip."""
    found = 0
    lists = (update.signs, update.strengths, update.weights_before, update.weights)
    for signs, strength, before, weight in zip(*lists, strict=True):
        active = strength > 0
        found += int((np.sign(weight) != signs)[active].sum())
        found += int((weight != 0)[~active].sum())
        found += int((weight * before < 0).sum())
    return found


@claim(
    "lsnn/O12.signs",
    r"$\mathrm{sign}(w)=s$ for every active entry, $w=0$ for every dormant one, and no entry ever flips its sign: under Dale's law a neuron stays excitatory "
    r"or inhibitory.",
    source="specification, O12",
    metric="violations over all entries and updates",
    relation="==",
    bound=0,
    control=r"$w=s\theta$ for negative strengths too",
)
def signs_stay(rng: np.random.Generator) -> Measured:
    value = control = 0
    seen = Activity()
    for optimiser in OPTIMISERS:
        given = problem(rng)
        value += sum(sign_violations(seen.see(update)) for update in packaged(given, optimiser, rng, 0.001))
        wrong = handmade(given, optimiser, rng, "negative strengths work", temperature=0.001)
        control += sum(map(sign_violations, wrong))
    return Measured(value, control, seen.checked())


def woken(update: Update) -> int:
    """Entries that were dormant and are active at another strength than a new synapse has."""
    pairs = zip(update.strengths_before, update.strengths, strict=True)
    return sum(int(((old <= 0) & (new > 0) & (new != NEW)).sum()) for old, new in pairs)


@claim(
    "lsnn/O12.guard",
    r"A dormant entry becomes active by reconnection alone, at $\theta=10^{-12}$; whatever moments Adam keeps of it.",
    source="specification, O12 and section 3.4",
    metric="entries that wake at another strength, over 12 updates of Adam and 12 of SGD",
    relation="==",
    bound=0,
    control="no guard",
)
def guarded(rng: np.random.Generator) -> Measured:
    value = control = new = 0
    seen = Activity()
    for optimiser in OPTIMISERS:
        given = problem(rng)
        for update in packaged(given, optimiser, rng):
            value += woken(seen.see(update))
            new += sum(int((strength == NEW).sum()) for strength in update.strengths)
        control += sum(map(woken, handmade(given, optimiser, rng, "no guard")))
    require(new > 0, "nothing was reconnected")
    return Measured(value, control, seen.checked() | {"synapses reconnected": new})


def overwritten(update: Update) -> int:
    """New synapses in the place of one that plain descent and the shrink had left alive."""
    found = 0
    lists = (update.signs, update.strengths_before, update.strengths, update.gradients)
    for signs, old, new, gradient in zip(*lists, strict=True):
        survivor = old - RATE * (signs * gradient + L1)
        found += int(((old > 0) & (survivor > NEW) & (new == NEW)).sum())
    return found


@claim(
    "lsnn/O12.candidates",
    r"Only entries with $\theta\le0$ are reconnected; a synapse that the update left alive is not touched.",
    source="specification, section 3.4",
    metric="living synapses replaced in 12 updates of SGD",
    relation="==",
    bound=0,
    control="candidates are all entries",
)
def dormant_alone(rng: np.random.Generator) -> Measured:
    given, seen = problem(rng), Activity()
    value = sum(overwritten(seen.see(update)) for update in packaged(given, "sgd", rng))
    control = sum(map(overwritten, handmade(given, "sgd", rng, "reconnected anywhere")))
    return Measured(value, control, seen.checked())


def leaves(twin: RewiringByHand) -> Matrices:
    """All arrays of a twin: strengths, weights, bias and moments."""
    return [*twin.theta, *twin.weights(), twin.bias, *(twin.m if twin.optimiser == "adam" else ()), *twin.s]


@claim(
    "lsnn/O12.transcription",
    r"With given masks of reconnections, 6 updates of Adam and 6 of SGD are those of the pseudo-code written down a second time in the official layout, "
    r"array by array: strengths, weights, the bias, both moments (dense, of dormant entries too).",
    source="specification, section 3.4 and O12",
    metric="largest relative difference of any array (max-norm) after any of the 12 updates",
    relation="<=",
    bound=1e-15,
    control="moments of dormant entries rest",
)
def same_as_pseudo_code(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    deaths = 0
    for optimiser in OPTIMISERS:
        given = problem(rng, updates=6)
        rule = given.rule(optimiser)
        state, twin = rule.initial_state(given.parameters), given.by_hand(optimiser)
        wrong = given.by_hand(optimiser, "moments of dormant entries rest")
        for gradients in given.gradients:
            of_matrices = [gradients[name].T for name in NAMES]
            before = [th > 0 for th in twin.theta]
            masks = twin.step(of_matrices, gradients[BIAS], rng=rng)
            deaths += sum(int((was & (th <= NEW)).sum()) for was, th in zip(before, twin.theta, strict=True))
            wrong.step(of_matrices, gradients[BIAS], masks)
            named = {name: mask.T for name, mask in zip(NAMES, masks, strict=True)}
            state = rule.update(state, gradients, reconnect=named)
            weights = rule.weights(state)
            found = [state.strengths[name].T for name in NAMES] + [weights[name].T for name in NAMES]
            found.append(state.strengths[BIAS])
            for of in state.optimiser.moments.values():
                found += [of[name].T for name in (*NAMES, BIAS)]
            expected = leaves(twin)[: len(found)]
            for one, other in zip(found, expected, strict=True):
                value = max(value, float(np.abs(one - other).max() / np.abs(other).max()))
            for one, other in zip(leaves(wrong), leaves(twin), strict=True):
                if np.abs(other).max():
                    control = max(control, float(np.abs(one - other).max() / np.abs(other).max()))
    require(deaths > 12, f"{deaths} synapses died")
    return Measured(value, control, {"synapses that died": deaths})


@claim(
    "lsnn/O12.projected",
    r"At $T=0$, $l_1=0$ and without reconnections DEEP R with SGD is projected SGD on the active weights, $w\leftarrow w-\eta\,\partial L/\partial w$, "
    r"0 for good where that would cross 0; the bias follows plain SGD.",
    source="specification, O12",
    metric="largest difference of any weight or bias over 12 updates",
    relation="<=",
    bound=1e-15,
    control="no guard: projection alone, from which a dormant weight comes back",
)
def projected(rng: np.random.Generator) -> Measured:
    given = problem(rng)
    rule, twin = given.rule("sgd", l1=0.0), given.by_hand("sgd", "no guard", l1=0.0)
    state = rule.initial_state(given.parameters)
    expected = {name: value.copy() for name, value in given.parameters.items()}
    nothing = [np.zeros(th.shape, bool) for th in twin.theta]
    value, control, stopped = 0.0, 0.0, 0
    for gradients in given.gradients:
        state = rule.update(state, gradients, reconnect={})
        twin.step([gradients[name].T for name in NAMES], gradients[BIAS], nothing)
        found = rule.weights(state)
        for name in (*NAMES, BIAS):
            moved = expected[name] - RATE * gradients[name]
            if name != BIAS:
                alive = (expected[name] != 0) & (moved * given.signs[name] > 0)
                stopped += int(((expected[name] != 0) & ~alive).sum())
                moved = np.where(alive, moved, 0)
            expected[name] = moved
            value = max(value, float(np.abs(found[name] - moved).max()))
        for name, weight in zip(NAMES, twin.weights(), strict=True):
            control = max(control, float(np.abs(weight.T - expected[name]).max()))
    alive = sum(int((expected[name] != 0).sum()) for name in NAMES)
    require(stopped >= 5 and alive >= 5, f"{stopped} weights stopped, {alive} are left")
    return Measured(value, control, {"weights stopped at 0": stopped, "weights left": alive})


def deviation(counts: np.ndarray, probabilities: np.ndarray, draws: int) -> float:
    """Largest distance of binomial counts from their means, in standard deviations."""
    expected = draws * probabilities
    return float(np.max(np.abs(counts - expected) / np.sqrt(expected * (1 - probabilities))))


@claim(
    "lsnn/O12.uniform",
    r"Places are drawn uniformly and without replacement among all entries with $\theta\le0$, those that died in the same update included.",
    source="specification, section 3.4",
    metric="largest deviation of a candidate's count from its mean over 1500 rewirings, in standard deviations",
    relation="<=",
    bound=5.5,
    control="only the dead of the same update are drawn",
)
def uniform_choice(rng: np.random.Generator) -> Measured:
    names, signs = NAMES[:1], {NAMES[0]: np.ones((6, 8))}
    start = np.zeros((6, 8))
    start.flat[:12] = 1.0
    gradient = np.where(np.arange(48).reshape(6, 8) < 5, 30.0, 0.0)  # 5 of 12 die
    rule = DeepRewiring(signs, OPTIMISERS["sgd"], 0.25)
    state = rule.initial_state({names[0]: start})
    draws, counts, wrong = 1500, np.zeros((6, 8)), np.zeros((6, 8))
    for _ in range(draws):
        counts += rule.update(state, {names[0]: gradient}, rng).strengths[names[0]] == NEW
        twin = RewiringByHand(
            [start.T], [np.ones((8, 6))], np.zeros(1), [0.25], "sgd", RATE,
            planted=("only the dead of this update are drawn",),
        )  # fmt: skip
        wrong += twin.step([gradient.T], np.zeros(1), rng=rng)[0].T
    require(counts.sum() == 5 * draws, "not five of five were drawn")
    candidates = np.r_[0:5, 12:48]  # 41 of them
    share = np.full(41, 5 / 41)
    value = deviation(counts.flat[candidates], share, draws)
    return Measured(
        value,
        deviation(wrong.flat[candidates], share, draws),
        {"candidates": 41, "drawn that were alive": int(counts.flat[5:12].sum())},
    )


@claim(
    "lsnn/O12.split",
    r"How many synapses come back in which matrix is multinomial with probabilities $p_M|M|/\sum_{M'}p_{M'}|M'|$.",
    source="specification, section 3.4",
    metric="largest deviation of a matrix's total over 400 rewirings of an empty network, and of the scatter of its numbers, in standard deviations",
    relation="<=",
    bound=5.5,
    control=r"probabilities in proportion to $p_M$ alone",
)
def split_by_room(rng: np.random.Generator) -> Measured:
    given = problem(rng, filled=(0.0, 0.0, 0.0), updates=1)
    rule, draws = given.rule("sgd"), 400
    state, still = rule.initial_state(given.parameters), {
        name: np.zeros_like(value) for name, value in given.parameters.items()
    }  # fmt: skip
    numbers, wrong = [], np.zeros(3)
    for _ in range(draws):
        active = rule.active(rule.update(state, still, rng))
        numbers.append([active[name].sum() for name in NAMES])
        twin = given.by_hand("sgd", "the split is of p alone")
        masks = twin.step([still[name].T for name in NAMES], still[BIAS], rng=rng)
        wrong += [mask.sum() for mask in masks]
    rooms = np.array(
        [share * given.signs[name].size for name, share in zip(NAMES, given.shares, strict=True)]
    )
    counts, total, share = np.sum(numbers, axis=0), draws * given.budget, rooms / rooms.sum()
    require(counts.sum() == total, "the budget was not met")
    # squared deviations of binomial numbers, 1 in the mean with a variance of about 2
    squares = (numbers - given.budget * share) ** 2 / (given.budget * share * (1 - share))
    scatter = float(np.abs(squares.mean(axis=0) - 1).max() / np.sqrt(2 / draws))
    return Measured(
        max(deviation(counts, share, total), scatter),
        deviation(wrong, share, total),
        {
            "budget": given.budget,
            "mean numbers": " ".join(f"{mean:.2f}" for mean in counts / draws),
            "scatter, in standard deviations": scatter,
        },
    )
