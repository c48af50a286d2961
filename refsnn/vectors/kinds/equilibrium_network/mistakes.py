"""What goes wrong in implementations of equilibrium propagation and its relatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refsnn.vectors.case import Leaves, Mistake, Problem
from refsnn.vectors.kinds.recurrent_network.mistakes import switch

STEP = "(E13) s <- (1 - eps) s + eps (h'(s) u + nudge), (E16) eps (sigma(u) + nudge), (E17) sigma(u + nudge)"
POTENTIAL = "(E12) u_n = W_n h_{n+1} + b_n + W_{n-1}^T h_{n-1}, or V_{n-1} h_{n-1}"
NUDGE = "(E5) s_{t+1} = F(s_t) - beta dl/ds(s_t)"
CONTRAST = "(E7) dL = -1/(beta B) sum_b (dPhi(s^beta_K) - dPhi(s_*)); over 2 beta between +beta and -beta"
PHI = "(E11) Phi = sum_n <h_n, W_n h_{n+1} + b_n>"
CIRCLE = "dL = -Re 1/(N B) sum_k (dPhi(s^{beta_k}) - dPhi(s_*)) / beta_k, beta_k = beta exp(2 pi i k / N)"
CONTINUAL = "(A6) theta_{t+1} = theta_t + eta (dPhi(s_{t+1}) - dPhi(s_t)) / (beta B)"
FIELD = "(E21) dW_n = -(s^{n,beta} - s^n_*)^T h_{n+1}(s_*) / (beta B), dV_n with n and n + 1 exchanged"
CORRECTED = "s_{t+1} = F(s_t) + nudge + (J^T - J)(s_t - s_*) (Scurria 2026)"
BACK = "(E4) nabla_s(t+1) = (dF/ds)^T nabla_s(t), K steps"
ADJOINT = "Lambda_{k+1} = dl/ds + J^T Lambda_k, Lambda_1 = dl/ds"
SETTLED = "max |s_{t+1} - s_t| <= tolerance, or max |Lambda_{k+1} - Lambda_k| <= tolerance max |dl/ds|"
LOSS = "L = 1/B sum_b 1/2 |s^0 - y|^2, or a cross-entropy"


Condition = Callable[[Problem], bool]


def of_rule(*names: str) -> Condition:
    """Whether a problem is of one of some rules."""
    return having("algorithm", *names)


def having(name: str, *values: Any) -> Condition:
    """Whether a hyper-parameter has one of some values."""
    return lambda problem: problem.hyperparameters.get(name) in values


def both(*conditions: Condition) -> Condition:
    """Whether all hold."""
    return lambda problem: all(condition(problem) for condition in conditions)


def negated(condition: Condition) -> Condition:
    """Whether it does not hold."""
    return lambda problem: not condition(problem)


def _steps(by: int) -> Any:
    """K one more or less."""

    def changes(problem: Problem) -> Problem | None:
        steps = problem.hyperparameters["nudged_steps"] + by
        return problem.changed(nudged_steps=steps) if steps >= 1 else None

    return changes


def _free_steps(problem: Problem) -> Problem | None:
    return problem.changed(free_steps=problem.hyperparameters["free_steps"] - 1)


def other_value(name: str, values: dict[Any, Any], applies: Condition, default: Any = None) -> Any:
    """A change of one hyper-parameter into another value."""

    def changes(problem: Problem) -> Problem | None:
        value = problem.hyperparameters.get(name, default)
        return problem.changed(**{name: values[value]}) if value in values and applies(problem) else None

    return changes


def _one_sided(problem: Problem) -> Problem | None:
    return problem.changed(symmetric=False) if problem.hyperparameters["symmetric"] else None


def _other_sign(problem: Problem, leaves: Leaves) -> Leaves:
    return {path: -value if path.startswith("gradients/") else value for path, value in leaves.items()}


def _feedback_lost(problem: Problem, leaves: Leaves) -> Leaves:
    return {path: 0 * value if path.endswith("feedback") else value for path, value in leaves.items()}


_TIED_CONTRASTS = of_rule("contrast", "continual", "step-by-step", "holomorphic")
CORRECTED_RULES = of_rule("non-conservative", "non-conservative-step-by-step")
FIELDS = of_rule("vector-field", "continual", "step-by-step")
_CONTRASTS = of_rule(
    "contrast", "continual", "step-by-step", "vector-field", "non-conservative",
    "non-conservative-step-by-step",
)  # fmt: skip
_HOLOMORPHIC = of_rule("holomorphic")
_NUDGED: Condition = lambda problem: _CONTRASTS(problem) or _HOLOMORPHIC(problem)  # noqa: E731
ENERGY, PROTOTYPICAL = having("family", "energy"), having("family", "prototypical")
_SLOW = negated(having("step_size", 1.0))
_SYMMETRIC = having("symmetric", True)
_LAYERED: Condition = lambda problem: len(problem.hyperparameters["widths"]) > 2  # noqa: E731
READOUT: Condition = lambda problem: problem.hyperparameters["readout"] > 0  # noqa: E731
_GATED = both(ENERGY, having("gated", True))
MISTAKES = (
    Mistake(
        "other-sign",
        "the gradient has the other sign: it is the update, or the reverse",
        CONTRAST,
        spoils=_other_sign,
    ),
    Mistake("nudge-sign", "the nudge pushes away from the target", NUDGE, switch("nudge-sign", _NUDGED)),
    Mistake("no-beta", "1/beta is missing", CONTRAST, switch("no-beta", _CONTRASTS)),
    Mistake(
        "no-two",
        "the symmetric contrast is divided by beta, not by 2 beta",
        CONTRAST,
        switch("no-two", both(_CONTRASTS, _SYMMETRIC)),
    ),
    Mistake("no-batch", "1/B is missing in the gradient", CONTRAST, switch("no-batch", _CONTRASTS)),
    Mistake("one-sided", "the contrast is that of +beta with the free state", CONTRAST, _one_sided),
    Mistake(
        "second-from-first",
        "the phase of -beta starts where that of +beta ended, not at the free state",
        CONTRAST,
        switch("second-from-first", both(of_rule("contrast", "vector-field"), _SYMMETRIC)),
    ),
    Mistake(
        "force-held",
        "the nudge is that of the free state all along",
        NUDGE,
        switch("force-held", of_rule("contrast", "vector-field", "holomorphic")),
    ),
    Mistake(
        "force-whole",
        "the nudge is not multiplied with the step size",
        STEP,
        switch("force-whole", both(_NUDGED, _SLOW)),
    ),
    Mistake("one-step-more", "K + 1 nudged steps, or steps back", NUDGE, _steps(1)),
    Mistake("one-step-less", "K - 1 nudged steps, or steps back", NUDGE, _steps(-1)),
    Mistake("one-free-step-less", "T - 1 free steps", "(E1) s_{t+1} = F(s_t), T steps", _free_steps),
    Mistake(
        "sequential",
        "layers are updated one after the other, each sees the new state of those before",
        STEP,
        switch("sequential", _LAYERED),
    ),
    Mistake("no-feedback", "layers do not hear those above them", POTENTIAL, switch("no-feedback", _LAYERED)),
    Mistake(
        "feedback-is-transposed",
        "feedback is W^T where it has weights of its own",
        POTENTIAL,
        switch("feedback-is-transposed", having("tied", False)),
    ),
    Mistake("no-leak", "the step size is 1 whatever it should be", STEP, switch("no-leak", _SLOW)),
    Mistake(
        "gate",
        "the gate h'(s) is there and should not, or the reverse",
        STEP,
        other_value("gated", {True: False, False: True}, ENERGY),
    ),
    Mistake("gate-at-potential", "the gate is h'(u), not h'(s)", STEP, switch("gate-at-potential", _GATED)),
    Mistake(
        "no-clamp",
        "states are not clamped to [0, 1]",
        STEP,
        other_value("clamp", {True: False}, having("clamp", True)),
    ),
    Mistake(
        "placement",
        "the nudge is inside of the activation and should not, or the reverse",
        STEP,
        other_value(
            "nudge_placement", {"inside": "outside", "outside": "inside"}, both(PROTOTYPICAL, _NUDGED)
        ),
    ),
    Mistake(
        "other-input",
        "the input goes through the activation and should not, or the reverse",
        "h_N(x) = rho(x) of an energy-based network, else x",
        switch("other-input"),
    ),
    Mistake(
        "products-of-states",
        "the products are of states, not of h(s)",
        PHI,
        switch("products-of-states", both(ENERGY, _TIED_CONTRASTS)),
    ),
    Mistake(
        "counted-twice",
        "a weight between two layers that move is counted twice, once for each direction",
        PHI,
        switch("counted-twice", both(_TIED_CONTRASTS, _LAYERED)),
    ),
    Mistake(
        "readout-at-free",
        "the read-out learns at the free state",
        "dl/dW_out, a mean over the nudged states",
        switch(
            "readout-at-free",
            both(of_rule("contrast", "holomorphic", "vector-field", "non-conservative"), READOUT),
        ),
    ),
    Mistake(
        "no-half",
        "the squared error lacks the factor 1/2",
        LOSS,
        switch("no-half", having("loss_function", "mean_squared_error")),
    ),
    Mistake("sum-over-batch", "the loss is a sum over the batch", LOSS, switch("sum-over-batch")),
    Mistake(
        "conjugated",
        "the states of the circle are conjugated",
        CIRCLE,
        switch("conjugated", of_rule("holomorphic")),
    ),
    Mistake(
        "radius-for-point",
        "each point is divided by beta, not by beta_k",
        CIRCLE,
        switch("radius-for-point", of_rule("holomorphic")),
    ),
    Mistake("no-points", "1/N is missing", CIRCLE, switch("no-points", of_rule("holomorphic"))),
    Mistake(
        "parameters-held",
        "the parameters do not move during the nudged phase",
        CONTINUAL,
        switch("parameters-held", of_rule("continual")),
    ),
    Mistake(
        "contrast-from-free",
        "each step is contrasted with the free state, not with the one before",
        CONTINUAL,
        switch("contrast-from-free", of_rule("continual")),
    ),
    Mistake(
        "reads-nudged",
        "the motion is multiplied with the nudged state of the other side",
        FIELD,
        switch("reads-nudged", of_rule("vector-field")),
    ),
    Mistake(
        "slope-in-update",
        "the motion is multiplied with the slope of the activation",
        FIELD,
        switch("slope-in-update", FIELDS),
    ),
    Mistake("feedback-lost", "feedback weights do not learn", FIELD, spoils=_feedback_lost),
    Mistake("uncorrected", "J^T - J is missing", CORRECTED, switch("uncorrected", CORRECTED_RULES)),
    Mistake(
        "correction-sign",
        "J - J^T in the place of J^T - J",
        CORRECTED,
        switch("correction-sign", CORRECTED_RULES),
    ),
    Mistake(
        "no-epsilon",
        "the motion of the states is not divided by the step size",
        "Delta_s = (s_{t+1} - s_t) / (eps beta B)",
        switch("no-epsilon", both(_CONTRASTS, _SLOW)),
    ),
    Mistake(
        "not-transposed",
        "the adjoint is multiplied with J, not with J^T",
        ADJOINT,
        switch("not-transposed", of_rule("recurrent-backpropagation")),
    ),
)
