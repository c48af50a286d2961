"""What goes wrong in implementations of spiking graph networks on manifolds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refsnn.vectors.case import Leaves, Mistake, Problem

GRAPH = "Ahat = deg^-1/2 A deg^-1/2, refsnn/models/manifold/graph.py"
CURRENT = "x^l[t] = Ahat s^{l-1}[t] W^l^T"
NEURON = "h_t = leak v_{t-1} + gain x_t, s_t = H(h_t - threshold)"
DRIVE = "u^l = step_size mean_t x^l[t]"
STEP = "z^l = Exp(v^l) at z^{l-1}, refsnn/models/manifold/geometry.py"
VECTOR = "v^l, the tangent vector of u^l at z^{l-1}"
HEAD = "refsnn/models/manifold/heads.py"
DOWN = "ubar, g <- adjoints of the step (Sun 2024, Eq. 12)"
SLOPE = "psi = ds/dh (Sun 2024, Eq. 11)"
Applies = Callable[[dict[str, Any]], bool]


def _curved(given: dict[str, Any]) -> bool:
    return any(given["curvature"])


def _away(given: dict[str, Any]) -> bool:
    """Where points may leave the manifold: chords, which may be imaginary then, are not asked for."""
    return _curved(given) and given["loss"] == "classes"


def _by_spikes(given: dict[str, Any]) -> bool:
    return bool(given["algorithm"] == "differentiation_via_spikes")


def _is(name: str, value: Any) -> Applies:
    return lambda given: bool(given[name] == value)


def _several(given: dict[str, Any]) -> bool:
    return given["loss"] == "links" and len(given["curvature"]) > 1


def _made(name: str, says: str, equation: str, applies: Applies = lambda given: True) -> Mistake:
    def changes(problem: Problem) -> Problem | None:
        given = problem.hyperparameters
        return problem.changed(**{f"mistake__{name}": True}) if applies(given) else None

    return Mistake(name, says, equation, changes)


def _other(
    name: str, says: str, equation: str, option: str, value: Any, applies: Applies = lambda given: True
) -> Mistake:
    def changes(problem: Problem) -> Problem | None:
        given = problem.hyperparameters
        new = value[given[option]] if isinstance(value, dict) else value
        if given[option] == new or not applies(given):
            return None
        return problem.changed(**{option.replace(".", "__"): new})

    return Mistake(name, says, equation, changes)


def _updates(problem: Problem, leaves: Leaves) -> Leaves:
    return {path: -leaf if path.startswith("gradients/") else leaf for path, leaf in leaves.items()}


MISTAKES = (
    _made("no-loops", "the graph has no loops at its nodes", GRAPH),
    _made("unnormalised", "sums over neighbours are not divided by degrees", GRAPH),
    _made("mean-of-neighbours", "the mean of the neighbours: deg^-1 A", GRAPH),
    _made("transposed", "square weights are transposed", CURRENT),
    _made("summed-drive", "the drive is a sum over time: 1/T is missing", DRIVE),
    _other("unit-step", "the step size is missing", DRIVE, "step_size", 1.0),
    _made("no-gain", "the current is not multiplied by the gain", NEURON, lambda given: given["gain"] != 1),
    _other(
        "other-comparison",
        "a potential equal to the threshold is decided the other way",
        NEURON,
        "fires",
        {">": ">=", ">=": ">"},
    ),
    _made("no-reset", "there is no reset", "v_t after the spike"),
    _other("no-leak", "the neuron does not leak", NEURON, "leak", 1.0),
    _other(
        "other-reset",
        "the reset is soft for hard",
        "v_t after the spike",
        "reset",
        "soft",
    ),
    _made("from-the-origin", "each block steps from the origin, not from the last point", STEP),
    _made("unit-radius", "the radius is taken for 1: |v| is not divided by R", STEP, _away),
    *(
        _other(f"tangent-{name}", f"the tangent vector is that of {name!r}", VECTOR, "tangent", name, _away)
        for name in ("transport", "project", "ambient")
    ),
    _made(
        "other-head",
        "logits are read from the drives and not the points, or the reverse",
        HEAD,
        _is("loss", "classes"),
    ),
    _made(
        "coordinates-read",
        "logits are read from the coordinates of the points, they should be from Log_o",
        HEAD,
        lambda given: given["loss"] == "classes" and given["head"] == "manifold" and _curved(given),
    ),
    _made("summed-loss", "the loss is a sum over nodes or pairs, it should be the mean", HEAD),
    _made(
        "chord", "distances are those through the ambient space", HEAD, lambda given: given["loss"] == "links"
    ),
    _made(
        "other-distance",
        "distances of factors are added and not their squares, or the reverse",
        HEAD,
        _several,
    ),
    _made("other-power", "the distance enters with the other power", HEAD, _is("loss", "links")),
    _made("no-temperature", "the temperature is missing", HEAD, _is("loss", "links")),
    _other(
        "other-way",
        "you differentiated via spikes, it should be via the manifold, or the reverse",
        "Sun 2024, Eqs. 11 and 12",
        "algorithm",
        {
            "differentiation_via_spikes": "differentiation_via_manifold",
            "differentiation_via_manifold": "differentiation_via_spikes",
        },
    ),
    _other(
        "other-adjoint",
        "the derivative of a step by its point is c0 I and should be that of the whole step, or the reverse",
        DOWN,
        "adjoint",
        {"exact": "paper", "paper": "exact"},
        lambda given: not _by_spikes(given) and _curved(given) and given["tangent"] != "ambient",
    ),
    _made("points-stopped", "no gradient goes from a point to the one before: only by the drives", DOWN),
    _made("coefficients-stopped", "the derivative of c0 and c1 is missing", DOWN, _curved),
    _made(
        "transport-stopped",
        "the derivative of the tangent vector by the point is missing",
        DOWN,
        lambda given: _curved(given) and given["tangent"] != "ambient",
    ),
    _made(
        "origin-stopped",
        "the origin moves with the curvature: its derivative is missing",
        "o = (R, 0, ..), R = 1/sqrt|curvature|",
        lambda given: bool(given["learn_curvature"]),
    ),
    _other(
        "reset-gradient",
        "the gradient goes through the reset and should not, or the reverse (detach_reset)",
        "dv_t/dh_t",
        "detach_reset",
        {True: False, False: True},
        _by_spikes,
    ),
    *(
        _other(f"psi-{shape}", f"psi has the shape {shape}", SLOPE, "surrogate.shape", shape, _by_spikes)
        for shape in ("sigmoid", "arctan", "fast_sigmoid", "triangle", "boxcar")
    ),
    _other(
        "psi-height-1",
        "psi is 1 at the threshold, not surrogate.height",
        SLOPE,
        "surrogate.height",
        1.0,
        _by_spikes,
    ),
    _other(
        "psi-slope-1", "the slope of psi is 1, not surrogate.slope", SLOPE, "surrogate.slope", 1.0, _by_spikes
    ),
    Mistake(
        "updates",
        "the sign is that of an update; gradients are dL/d(parameter)",
        "dL/d(parameter)",
        lambda problem: problem,
        _updates,
    ),
)
