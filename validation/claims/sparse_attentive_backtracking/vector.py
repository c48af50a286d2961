"""The open reference vector, in all digits that are printed; N5, cuts that are moved by a step."""

from __future__ import annotations

import numpy as np

from validation.claims.sparse_attentive_backtracking.by_hand import Arrays
from validation.claims.sparse_attentive_backtracking.problems import BACKENDS, Problem, network_of
from validation.ledger import Measured, claim

LOSS, OUTPUTS = "1.135279521847", "24.651694595334"
WEIGHTS = "0.50696437", "0.49303343"
HIDDEN = "0.31861456", "0.16351278", "-1.43184306"
SUMMARY = "0.29205763", "0.0911488", "-0.83664432"
NORMS = {
    "cell.input_weight": "1.2123275878e-02",
    "cell.recurrent_weight": "1.5138614486e-02",
    "cell.input_bias": "2.2597354474e-02",
    "cell.recurrent_bias": "2.2597354474e-02",
    "attention.memory_weight": "2.6881622286e-02",
    "attention.query_weight": "2.2938980982e-03",
    "attention.score_weight": "1.8613700382e-02",
    "readout.weight": "1.1127886996e-01",
    "readout.summary_weight": "6.9453491626e-02",
    "readout.bias": "1.1252886190e-02",
}
UNCUT = {"cell.recurrent_weight": "2.5399983100e-02", "all": "1.518612769433e-01"}
DETACHED = {"cell.recurrent_weight": "7.4131530821e-03", "all": "1.421554506691e-01"}
EVERYTHING = "query", "key", "value"


def open_vector(cut: int | None = 3, detached: tuple[str, ...] = ()) -> Problem:
    """Parameters, inputs and labels from counters."""
    network = network_of(
        widths=(2, 3, 3), score_width=2, top=2, store_every=2, truncate_every=cut, detached=detached
    )
    parameters, first = {}, 0
    for name, shape in network.parameter_shapes().items():
        numbers = np.arange(first, first + int(np.prod(shape)))
        parameters[name] = (0.6 * np.sin(0.9 * numbers + 0.3)).reshape(shape)
        first += numbers.size
    assert first == 119
    inputs = np.cos(0.7 * np.arange(36)).reshape(2, 9, 2).swapaxes(0, 1).copy()
    labels = ((7 * np.arange(18) + 3) % 3).reshape(2, 9).T.copy()
    return Problem(
        network, parameters, inputs, labels, {name: np.zeros((2, 3)) for name in ("hidden", "cell")}
    )


def differ(number: float, printed: str) -> bool:
    """Whether a number, rounded as it was printed, is another."""
    mantissa, _, power = printed.partition("e")
    digits = len(mantissa.partition(".")[2])
    return (
        f"{number:.{digits}e}" != f"{float(printed):.{digits}e}"
        if power
        else round(number, digits) != float(printed)
    )


def norms(gradients: Arrays) -> dict[str, float]:
    """Of each leaf and of all."""
    found = {name: float(np.linalg.norm(gradients[name])) for name in NORMS}
    return found | {"all": float(np.sqrt(sum(norm**2 for norm in found.values())))}


def wrong_figures(gradient_of: dict[str, Arrays]) -> int:
    """Norms that are not those printed."""
    tables = {"cut": NORMS, "uncut": UNCUT, "detached": DETACHED}
    return sum(
        differ(norms(gradient_of[case])[name], printed)
        for case, table in tables.items()
        for name, printed in table.items()
    )


CASES = {"cut": open_vector(), "uncut": open_vector(10), "detached": open_vector(3, EVERYTHING)}


@claim(
    "sparse_attentive_backtracking/vector",
    "The open reference vector of the specification comes out in every printed digit, from both backends and from the complex step by hand.",
    source="specification, section 5",
    metric="printed figures that differ",
    relation="==",
    bound=0,
    control="cuts one step later, by hand",
)
def reference_vector(rng: np.random.Generator) -> Measured:
    by_hand = {case: problem.complex_step() for case, problem in CASES.items()}
    value = wrong_figures(by_hand)
    problem = CASES["cut"]
    slots = [len(row) for row in ([j for j in range(5) if problem.base.times[j] < t] for t in range(1, 10))]
    value += slots != [1, 1, 2, 2, 3, 3, 4, 4, 5]
    value += sum(differ(x, p) for x, p in zip(problem.base.summary[0][-1][0], SUMMARY, strict=True))
    for backend in BACKENDS:
        value += wrong_figures({case: one.leaves(backend) for case, one in CASES.items()})
        result = problem.result(backend)
        value += differ(result.loss, LOSS) + differ(float(np.abs(result.outputs).sum()), OUTPUTS)
        value += bool(result.weights[-1, 0, :3].any())
        value += sum(differ(x, p) for x, p in zip(result.weights[-1, 0, 3:], WEIGHTS, strict=True))
        value += sum(differ(x, p) for x, p in zip(result.final_state["hidden"][0], HIDDEN, strict=True))
    moved = {"cut": problem.complex_step(cut=lambda t: t % 3 == 1)}
    return Measured(value, wrong_figures(by_hand | moved))


@claim(
    "sparse_attentive_backtracking/N5",
    r"With the cuts moved by a step, before $t\equiv1$, the gradient of the open vector is another.",
    source="specification, N5",
    metric="relative error over all parameters",
    relation="in",
    bound=(0.325, 0.335),
    control="cuts where they belong",
)
def moved_cuts(rng: np.random.Generator) -> Measured:
    problem = CASES["cut"]
    truth = problem.leaves()

    def distance(phase: int) -> float:
        found = problem.complex_step(cut=lambda t: t % 3 == phase)
        whole = sum(np.square(truth[name]).sum() for name in NORMS)
        return float(np.sqrt(sum(np.square(found[name] - truth[name]).sum() for name in NORMS) / whole))

    return Measured(distance(1), distance(0), {"before steps 2, 5, 8": distance(2)})
