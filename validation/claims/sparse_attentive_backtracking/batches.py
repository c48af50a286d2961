"""O16, N8: samples of a batch do not see each other, unless thresholds are mixed as the release mixes them."""

from __future__ import annotations

import numpy as np

from validation.claims.sparse_attentive_backtracking.by_hand import Arrays
from validation.claims.sparse_attentive_backtracking.problems import (
    BACKENDS,
    Problem,
    differing,
    draw,
    error,
    variety,
)
from validation.ledger import Measured, claim, require


def one_by_one(problem: Problem, backend: str = "cpu") -> Arrays:
    """Mean of the gradients of single samples; those of start and inputs side by side."""
    singles = [problem.of_samples(slice(b, b + 1)).leaves(backend) for b in range(problem.batch)]
    found = {}
    for name in singles[0]:
        axis = 1 if name == "inputs" else 0
        whole = [leaves[name] for leaves in singles]
        own = name.startswith("start") or name == "inputs"
        found[name] = np.concatenate(whole, axis) / problem.batch if own else sum(whole) / problem.batch
    return found


@claim(
    "sparse_attentive_backtracking/O16",
    r"The gradient of a batch is the mean of the gradients of its samples.",
    source="specification, O16",
    metric="largest relative error of a leaf, 18 networks of 3 samples with two survivors and more, both backends",
    relation="<=",
    bound=1e-12,
    control="the first sample left out",
)
def mean_of_samples(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for problem in variety(rng, several=True, firm=5e-2, batch=3, mix_batch=False):
        for backend in BACKENDS:
            value = max(value, error(problem.leaves(backend), one_by_one(problem, backend)))
        if not control:
            others = problem.of_samples(slice(1, None)).result().gradients
            control = error(others, problem.result().gradients)
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/N8",
    r"Thresholds mixed over the batch, as in the release, break O16; with one sample not a bit is another.",
    source="specification, N8 and 7.2",
    metric="largest relative error of a leaf, smallest of 6 networks of 3 samples",
    relation=">=",
    bound=1e-3,
    control="thresholds of each sample's own",
)
def mixed_thresholds(rng: np.random.Generator) -> Measured:
    values, controls, counts = [], [], set()
    for setting in ((2, 2, 3), (3, 1, 1), (3, 2, 5)) * 2:
        problem = draw(rng, setting, batch=3)
        mixed = problem.changed(mix_batch=True)
        values.append(error(mixed.leaves(), one_by_one(mixed)))
        controls.append(error(problem.leaves(), one_by_one(problem)))
        for backend in BACKENDS:
            single = mixed.of_samples(slice(0, 1))
            same = differing(single.leaves(backend), problem.of_samples(slice(0, 1)).leaves(backend)) == 0
            require(same, "one sample sees another")
        counts |= set((mixed.result().weights[-1] != 0).sum(-1).tolist())
    return Measured(
        min(values), max(controls), {"survivors at the end": str(sorted(counts)), "largest": max(values)}
    )
