"""O1, O2, O4 and N1-N3, N7: the gradient is the derivative of the frozen-cut function, and of no other."""

from __future__ import annotations

import numpy as np

from validation.claims.sparse_attentive_backtracking.problems import (
    BACKENDS,
    Problem,
    draw,
    error,
    variety,
)
from validation.ledger import Measured, claim, require

# with cuts and several survivors
CUT = (2, 2, 3), (3, 1, 1), (2, 3, 2)


def drawn(rng: np.random.Generator, count: int = 6, **options: object) -> list[Problem]:
    """Some networks with cuts."""
    return [draw(rng, CUT[k % len(CUT)], **options) for k in range(count)]  # type: ignore[arg-type]


@claim(
    "sparse_attentive_backtracking/O1",
    r"The gradient is the derivative of the frozen-cut function, in which $(h_{t-1},c_{t-1})$ at cuts, and what is detached, are constants of the run itself.",
    source="specification, O1",
    metric="largest relative error of a leaf (parameters, start, inputs) against the complex step, 54 networks, both backends",
    relation="<=",
    bound=1e-10,
    control="the ordinary forward pass, nothing constant",
)
def frozen_cut(rng: np.random.Generator) -> Measured:
    value = control = skipped = 0.0
    for problem in variety(rng, every=True):
        expected = problem.complex_step()
        results = [problem.leaves(backend) for backend in BACKENDS]
        value = max(value, *(error(found, expected) for found in results))
        if control < 1:
            control = max(control, error(results[0], problem.complex_step(ordinary=True)))
        skipped += problem.skipped
    return Measured(value, control, {"draws skipped": int(skipped)})


@claim(
    "sparse_attentive_backtracking/O1.twins",
    r"Plain and compiled kernels select the same memories, and give the same numbers.",
    source="specification, section 7, pitfalls vii and ix",
    metric="largest relative error of a leaf, 18 networks with two survivors and more in which both select the same",
    relation="<=",
    bound=1e-12,
    control="float32",
)
def twins(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for problem in variety(rng, several=True, firm=1e-1, mix_batch=False):
        plain, compiled = (problem.result(backend) for backend in BACKENDS)
        same = np.array_equal(plain.weights != 0, compiled.weights != 0)
        require(
            same and np.array_equal(plain.threshold_slots, compiled.threshold_slots),
            "other memories were selected",
        )
        value = max(value, error(compiled.gradients, plain.gradients))
        single = {name: array.astype(np.float32) for name, array in problem.parameters.items()}
        if not control and problem.network.loss_function == "cross_entropy":
            start = {name: array.astype(np.float32) for name, array in problem.start.items()}
            narrow = Problem(
                problem.network, single, problem.inputs.astype(np.float32), problem.targets, start
            ).leaves()
            control = error({name: narrow[name] for name in plain.gradients}, plain.gradients)
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O2",
    r"Central differences of the frozen-cut function miss the gradient by the square of their step.",
    source="specification, O2",
    metric=r"$\log_{10}$ of the ratio of the errors at steps $10^{-3}$ and $10^{-4}$, of 6 networks the one farthest from 2",
    relation="in",
    bound=(1.9, 2.1),
    control="differences of the ordinary forward pass",
)
def differences(rng: np.random.Generator) -> Measured:
    slopes, wrong, skipped = [], [], 0
    for problem in drawn(rng, batch=1, gap=1e-2):
        found, uncut = problem.result().gradients, problem.changed(truncate_every=None, detached=())
        slopes.append(
            np.log10(np.divide(*(error(problem.differences(step), found) for step in (1e-3, 1e-4))))
        )
        wrong.append(np.log10(np.divide(*(error(uncut.differences(step), found) for step in (1e-3, 1e-4)))))
        skipped += problem.skipped
    worst = max(slopes, key=lambda slope: abs(slope - 2))
    return Measured(worst, max(wrong), {"draws skipped": skipped})


@claim(
    "sparse_attentive_backtracking/O2.rounding",
    r"At step $10^{-6}$ what is left is rounding.",
    source="specification, O2",
    metric="largest relative error of a leaf, 6 networks, each leaf with a twentieth of the gradient or more",
    relation="<=",
    bound=1e-7,
    control=r"step $10^{-2}$",
)
def small_differences(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for problem in drawn(rng, batch=1, gap=1e-2, lively=5e-2):
        found = problem.result().gradients
        value = max(value, error(problem.differences(1e-6), found))
        control = max(control, error(problem.differences(1e-2), found))
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O4",
    r"With truncation off the gradient is the true one.",
    source="specification, O4",
    metric="largest relative error of a leaf against the complex step of the ordinary forward pass, 18 networks",
    relation="<=",
    bound=1e-10,
    control=r"a cut every third step",
)
def nothing_cut(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for number, problem in enumerate(variety(rng, detached=())):
        whole = problem.changed(truncate_every=None if number % 2 else problem.steps + 1)
        expected = whole.complex_step(ordinary=True)
        value = max(value, *(error(whole.leaves(backend), expected) for backend in BACKENDS))
        control = max(control, error(problem.changed(truncate_every=3).leaves(), expected))
    return Measured(value, control)


# -- controls ---------------------------------------------------------------------------------------------


@claim(
    "sparse_attentive_backtracking/N1",
    r"With cuts active the ordinary forward pass has another derivative.",
    source="specification, N1",
    metric="largest relative error of a leaf, smallest of 6 networks",
    relation=">=",
    bound=1e-3,
    control="the frozen-cut function",
)
def ordinary_derivative(rng: np.random.Generator) -> Measured:
    problems = drawn(rng)
    values = [error(p.leaves(), p.complex_step(ordinary=True)) for p in problems]
    return Measured(
        min(values), max(error(p.leaves(), p.complex_step()) for p in problems), {"largest": max(values)}
    )


@claim(
    "sparse_attentive_backtracking/N2",
    r"Detached values change the gradient, and not a bit of the loss.",
    source="specification, N2",
    metric="largest relative error of a leaf, smallest of 6 networks",
    relation=">=",
    bound=1e-4,
    control="an empty memory, of which no value is read",
)
def values_detached(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for problem in drawn(rng):
        other = problem.changed(detached=("value",))
        require(other.result().loss == problem.result().loss, "the loss has changed")
        values.append(error(other.leaves(), problem.leaves()))
        empty = problem.changed(store_every=None, empty_memory=True)
        controls.append(error(empty.changed(detached=("value",)).leaves(), empty.leaves()))
    return Measured(min(values), max(controls), {"largest": max(values)})


@claim(
    "sparse_attentive_backtracking/N3",
    r"A cut drops the adjoint of the cell state too: with $h$ alone frozen the derivative is another.",
    source="specification, N3",
    metric="largest relative error of a leaf, smallest of 6 LSTMs",
    relation=">=",
    bound=1e-3,
    control=r"$h$ and $c$ frozen",
)
def hidden_frozen_alone(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for problem in drawn(rng):
        values.append(error(problem.leaves(), problem.complex_step(frozen=("hidden",))))
        controls.append(error(problem.leaves(), problem.complex_step()))
    return Measured(min(values), max(controls), {"largest": max(values)})


@claim(
    "sparse_attentive_backtracking/N7",
    r"The threshold carries gradient: with $\delta_t$ a constant the derivative is another.",
    source="specification, N7",
    metric="largest relative error of a leaf, smallest of 6 networks with two survivors and more",
    relation=">=",
    bound=1e-3,
    control=r"$\delta_t$ as it is",
)
def thresholds_detached(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for problem in drawn(rng):
        values.append(error(problem.leaves(), problem.complex_step(threshold_frozen=True)))
        controls.append(error(problem.leaves(), problem.complex_step()))
    return Measured(min(values), max(controls), {"largest": max(values)})
