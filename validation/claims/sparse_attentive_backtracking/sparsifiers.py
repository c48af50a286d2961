"""O10-O12, O15, N7: the sparsifier and its adjoint alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refsnn.kernels import attention_kernels
from refsnn.kernels.attention import CODES, Reading, Sparsifier
from validation.claims.sparse_attentive_backtracking.problems import BACKENDS, Problem, draw
from validation.ledger import Measured, claim, require

RULES = "paper", "dev", "release"


class Pulled(NamedTuple):
    """A reading of one sample spread over the slots, and what comes back to its scores."""

    weights: np.ndarray
    normaliser: float
    threshold_slot: int
    score_adjoint: np.ndarray


def rule_of(name: str, top: int, norm_shift: float = 1e-7, threshold_shift: float = 1e-7) -> Sparsifier:
    return Sparsifier(CODES[name], top, np.float64(norm_shift), np.float64(threshold_shift), False)


def pulled(rule: Sparsifier, scores: np.ndarray, upstream: np.ndarray, backend: str) -> Pulled:
    """wbar_j = `upstream`: the memories are the unit vectors, and the key of a slot is its score."""
    kernels, count = attention_kernels(backend), len(scores)
    whole = np.zeros((1, count), np.int32), np.zeros(1, np.int32), np.zeros(1, np.int32)
    reading = Reading(*whole, np.zeros((1, count)), np.zeros(1))
    kernels.select(rule, scores[None].copy(), count, reading, np.full(1, np.inf))
    memory, keys = np.eye(count)[:, None].copy(), scores[:, None, None].copy()
    by_key = np.zeros_like(keys)
    kernels.attend_backward(
        rule, count, keys, np.zeros((1, 1)), np.ones(1), False, memory, reading, upstream[None].copy(), True,
        np.zeros_like(memory), by_key, np.zeros(1), np.zeros((1, 1)), np.zeros((1, count)),
    )  # fmt: skip
    weights = np.zeros(count)
    alive = reading.chosen[0, : reading.survivors[0]]
    weights[alive] = reading.weights[0, : len(alive)]
    return Pulled(weights, float(reading.normaliser[0]), int(reading.threshold_slot[0]), by_key[:, 0, 0])


def scores_and_upstream(rng: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray]:
    """k_top and a, wbar of more slots than that, no two scores close."""
    while True:
        count = int(rng.integers(3, 14))
        top = int(rng.integers(1, count))
        scores = rng.standard_normal(count)
        if np.diff(np.sort(scores)).min() > 1e-2:
            return top, scores, rng.standard_normal(count)


@claim(
    "sparse_attentive_backtracking/O10",
    r"$k_{top}$ weights are not zero (`dev` one more, `release` one less), $w\ge0$, and $\sum_jw_j=(U-\varepsilon)/U$.",
    source="specification, O10 and table 2.4",
    metric="steps of 12 networks at which one of these fails, both backends",
    relation="==",
    bound=0,
    control="the count of the rule that comes next in the list",
)
def counts(rng: np.random.Generator) -> Measured:
    def wrong(problem: Problem, survivors: int, backend: str) -> int:
        weights, count, seen = problem.result(backend).weights, 0, 0
        for b, row in enumerate(problem.base.readings):
            for w, reading in zip(weights[:, b], row, strict=True):
                if reading is None or not reading.thresholded:
                    continue
                total, shift = reading.normaliser[0], problem.network.norm_shift
                right = (w != 0).sum() == survivors and (w >= 0).all()
                right = right and abs(w.sum() - (total - shift) / total) < 1e-14
                count, seen = count + (not right), seen + 1
        require(seen > 0, "no step with more slots than k_top")
        return count

    value = control = 0
    for setting in ((2, 2, 3), (3, 1, 1), (1, 2, 4), (4, 1, 5)):
        expected = {"paper": setting[0], "dev": setting[0] + 1, "release": setting[0] - 1}
        for number, rule in enumerate(RULES):
            problem = draw(rng, setting, sparsifier=rule)
            value += sum(wrong(problem, expected[rule], backend) for backend in BACKENDS)
            control += wrong(problem, expected[RULES[number - 2]], "cpu")
    return Measured(value, control)


def _relative(number: float, adjoint: np.ndarray) -> float:
    return abs(number) / max(1.0, np.abs(adjoint).max())


@claim(
    "sparse_attentive_backtracking/O11",
    r"A common shift of the scores changes nothing: $\sum_j\bar a_j=0$.",
    source="specification, O11",
    metric=r"$|\sum_j\bar a_j|$ relative to $\max(1,\max|\bar a_j|)$, 300 draws, three rules, both backends",
    relation="<=",
    bound=1e-13,
    control="the threshold detached",
)
def shift(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for number in range(300):
        top, scores, upstream = scores_and_upstream(rng)
        for backend in BACKENDS:
            found = pulled(rule_of(RULES[number % 3], top), scores, upstream, backend)
            value = max(value, _relative(found.score_adjoint.sum(), found.score_adjoint))
        control = max(control, _relative(_detached(found, upstream).sum(), found.score_adjoint))
    return Measured(value, control)


def _detached(found: Pulled, upstream: np.ndarray) -> np.ndarray:
    """ubar alone."""
    alive = found.weights != 0
    mean = (upstream * found.weights).sum()
    return np.where(alive, (upstream - mean) / found.normaliser, 0)


@claim(
    "sparse_attentive_backtracking/N7.sum",
    r"A detached threshold breaks $\sum_j\bar a_j=0$, with two survivors or more.",
    source="specification, N7",
    metric=r"$|\sum_j\bar u_j|$ relative to $\max(1,\max|\bar a_j|)$, median of 100 draws",
    relation=">=",
    bound=1e-3,
    control="the threshold attached",
)
def sum_rule_broken(rng: np.random.Generator) -> Measured:
    broken, kept = [], []
    for _ in range(100):
        top, scores, upstream = scores_and_upstream(rng)
        found = pulled(rule_of("paper", max(top, 2) if len(scores) > 2 else top), scores, upstream, "cpu")
        broken.append(_relative(_detached(found, upstream).sum(), found.score_adjoint))
        kept.append(_relative(found.score_adjoint.sum(), found.score_adjoint))
    return Measured(float(np.median(broken)), max(kept))


@claim(
    "sparse_attentive_backtracking/O11.scale",
    r"`paper` with $\varepsilon=0$: the weights of $\lambda a+\mu$ are those of $a$, $\lambda>0$.",
    source="specification, O11",
    metric="largest difference of a weight, 300 draws, both backends",
    relation="<=",
    bound=1e-13,
    control="raw scores",
)
def shift_and_scale(rng: np.random.Generator) -> Measured:
    def change(rule: Sparsifier, backend: str) -> float:
        one, other = (pulled(rule, a, upstream, backend).weights for a in (scores, factor * scores + offset))
        return float(np.abs(one - other).max())

    value = control = 0.0
    for _ in range(300):
        top, scores, upstream = scores_and_upstream(rng)
        factor, offset = rng.uniform(0.5, 3), rng.uniform(-1, 1)
        value = max(value, *(change(rule_of("paper", top, 0.0), backend) for backend in BACKENDS))
        control = max(control, change(rule_of("raw", top, 0.0), "cpu"))
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O12",
    r"$a\cdot\bar a=\rho\,\varepsilon/U+\Delta\sum_{j\in S}\bar u_j$ with $\Delta=\delta-a_\theta$.",
    source="specification, O12",
    metric=r"difference relative to $\max(1,\max|\bar a_j|)$, 300 draws, three rules, both backends",
    relation="<=",
    bound=1e-13,
    control=r"with $\varepsilon$ and $\Delta$ left out, of the size of 0.1",
)
def euler(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for number in range(300):
        top, scores, upstream = scores_and_upstream(rng)
        name = RULES[number % 3]
        wide = number % 2
        eps, kappa = (0.1, 1e-3) if wide else (1e-7, 1e-7)
        for backend in BACKENDS:
            found = pulled(rule_of(name, top, eps, kappa), scores, upstream, backend)
            if not found.weights.any():
                continue
            distance = {"paper": 0.0, "dev": -kappa, "release": kappa}[name]
            rho, sum_ = upstream @ found.weights, _detached(found, upstream).sum()
            product = scores @ found.score_adjoint
            expected = rho * eps / found.normaliser + distance * sum_
            value = max(value, _relative(product - expected, found.score_adjoint))
        control = max(control, _relative(product, found.score_adjoint) if wide else 0.0)
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O12.scale",
    r"and so $a\cdot\bar a=0$ for `paper` with $\varepsilon=0$.",
    source="specification, O12 and 4.1",
    metric=r"$|a\cdot\bar a|$ relative to $\max(1,\max|\bar a_j|)$, 300 draws and the worked example, both backends",
    relation="<=",
    bound=1e-13,
    control=r"$\varepsilon=0.1$",
)
def scale(rng: np.random.Generator) -> Measured:
    example: Any = np.array([0.3, -0.1, 0.7, 0.2, 0.5]), np.arange(1.0, 6.0)
    value = control = 0.0
    for backend in BACKENDS:
        found = pulled(rule_of("paper", 2, 0.0), *example, backend)
        printed = np.array([-10, 0, -10, 0, 20]) / 9
        value = max(
            value,
            np.abs(found.score_adjoint - printed).max(),
            np.abs(found.weights[[2, 4]] * 3 - [2, 1]).max(),
        )
    for _ in range(300):
        top, scores, upstream = scores_and_upstream(rng)
        for backend in BACKENDS:
            found = pulled(rule_of("paper", top, 0.0), scores, upstream, backend)
            value = max(value, _relative(scores @ found.score_adjoint, found.score_adjoint))
        other = pulled(rule_of("paper", top, 0.1), scores, upstream, "cpu")
        control = max(control, _relative(scores @ other.score_adjoint, other.score_adjoint))
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O15",
    r"A memory has no order: with its slots permuted the summary is the same.",
    source="specification, O15",
    metric="largest difference of a number, 200 draws, all rules, both backends",
    relation="<=",
    bound=1e-14,
    control="memories permuted, their scores not",
)
def permuted(rng: np.random.Generator) -> Measured:
    def summary(scores: np.ndarray, memory: np.ndarray, rule: Sparsifier, backend: str) -> np.ndarray:
        weights = pulled(rule, scores, np.zeros(len(scores)), backend).weights
        kernels, count, found = attention_kernels(backend), len(scores), np.zeros((1, memory.shape[1]))
        alive = np.flatnonzero(weights)
        chosen, kept = np.zeros((1, count), np.int32), np.zeros((1, count))
        chosen[0, : len(alive)], kept[0, : len(alive)] = alive, weights[alive]
        one = np.array([len(alive)], np.int32)
        kernels.summarise(memory[:, None].copy(), Reading(chosen, one, one, kept, np.ones(1)), found)
        return found

    value = control = 0.0
    for number in range(200):
        top, scores, _ = scores_and_upstream(rng)
        rule = rule_of((*RULES, "raw", "min", "softmax")[number % 6], top)
        memory, order = 0.5 * rng.standard_normal((len(scores), 4)), rng.permutation(len(scores))
        for backend in BACKENDS:
            own = summary(scores, memory, rule, backend)
            value = max(value, np.abs(own - summary(scores[order], memory[order], rule, backend)).max())
        control = max(control, np.abs(own - summary(scores, memory[order], rule, backend)).max())
    return Measured(value, control)
