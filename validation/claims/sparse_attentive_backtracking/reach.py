"""O9, O19: where credit comes to, by a search of the graph."""

from __future__ import annotations

import numpy as np

from refsnn.models.attentive.network import SCORES, SPARSIFIERS
from validation.claims.sparse_attentive_backtracking.by_hand import cuts_of
from validation.claims.sparse_attentive_backtracking.problems import BACKENDS, OFF, Problem, draw
from validation.ledger import Measured, claim, require

SETTINGS = (2, 2, 3), (3, 1, 1), (1, 2, 4), (2, 1, OFF), (0, 6, 2), (9, 2, 5), (2, 4, 5), (2, 5, 5), (1, 3, 2)


def reachable(problem: Problem, sample: int, reminded: bool = True, zero_slot: bool = True) -> np.ndarray:
    """Which of the steps 1..T credit for a loss at T comes to; without reminding edges, or the exception for slot 0."""
    base, cut = problem.base, cuts_of(problem.network)
    blank = not problem.network.empty_memory and not problem.start["hidden"][sample].any()
    open_, seen = [problem.steps], set()
    while open_:
        t = open_.pop()
        if t in seen or t < 1:
            continue
        seen.add(t)
        if not cut(t):
            open_.append(t - 1)
        reading = base.readings[sample][t - 1]
        if reading is None or not reminded:
            continue
        read = list(np.flatnonzero(reading.alive[0]))
        if read and reading.thresholded:
            alone = (
                zero_slot and blank and read == [0]
            )  # its wbar is 0, so that the threshold gets nothing either
            read += [] if alone else [int(reading.threshold_slot[0])]
        open_ += [base.times[j] for j in read]
    found = np.zeros(problem.steps, bool)
    found[np.array(sorted(seen)) - 1] = True
    return found


@claim(
    "sparse_attentive_backtracking/O9",
    r"$\bar h_t\ne0$ exactly where $t$ is reachable from $T$ along $t\to t-1$ (unless cut) and $t\to\tau(j)$ for survivors and the threshold's slot.",
    source="specification, O9",
    metric="steps at which one is so and the other not, 27 settings of 2 samples, loss at T only, both backends",
    relation="==",
    bound=0,
    control="a graph without the reminding edges",
)
def reached(rng: np.random.Generator) -> Measured:
    value = control = exceptions = steps = 0
    for number, setting in enumerate(SETTINGS):
        for score in SCORES:
            problem = draw(
                rng,
                setting,
                steps=20 + int(rng.integers(8)),
                score=score,
                sparsifier=SPARSIFIERS[(number + SCORES.index(score)) % 3],
                small_memory=("raw", "min", "softmax", "zero")[rng.integers(4)],
                readout="last",
                zero_start=bool(rng.random() < 0.7),
                empty_memory=bool(rng.random() < 0.2),
            )
            for backend in BACKENDS:
                reach = problem.result(backend).reach != 0
                for b in range(problem.batch):
                    expected = reachable(problem, b)
                    value += int((reach[:, b] != expected).sum())
                    control += int((reach[:, b] != reachable(problem, b, reminded=False)).sum())
                    exceptions += int((reach[:, b] != reachable(problem, b, zero_slot=False)).sum())
                    steps += int(expected.sum())
    require(steps > 0, "nothing is reached")
    return Measured(
        value, control, {"steps reached": steps, "wrong without the exception for slot 0": exceptions}
    )


@claim(
    "sparse_attentive_backtracking/O19",
    r"$k_{att}$ a multiple of $k_{trunc}$: a loss at $T\equiv0$ gives $\bar h_t=0$ for all $t$ that are neither $T$ nor a storage time.",
    source="specification, O19",
    metric="other steps that are reached, 6 networks, both backends",
    relation="==",
    bound=0,
    control=r"$k_{att}+1$, which is no multiple",
)
def windows_of_one_step(rng: np.random.Generator) -> Measured:
    def elsewhere(problem: Problem, backend: str) -> tuple[int, int]:
        reach = problem.result(backend).reach != 0
        stored = np.arange(1, problem.steps + 1) % problem.network.store_every == 0
        stored[-1] = True
        return int(reach[~stored].sum()), int(reach[:-1][stored[:-1]].sum())

    value = control = 0
    for setting in ((2, 5, 5), (2, 4, 2), (3, 3, 3)) * 2:
        steps = setting[2] * (24 // setting[2])
        problem = draw(rng, setting, steps=steps, readout="last", score=SCORES[rng.integers(3)], active=False)
        others, storages = zip(*(elsewhere(problem, backend) for backend in BACKENDS), strict=True)
        require(min(storages) > 0, "no storage time is reached")
        value += sum(others)
        control += elsewhere(problem.changed(store_every=problem.network.store_every + 1), "cpu")[0]
    return Measured(value, control)
