"""What goes wrong with images, skips, outputs, edges, and the rarer options of equilibrium propagation."""

from __future__ import annotations

import numpy as np

from refsnn.vectors.case import Leaves, Mistake, Problem
from refsnn.vectors.kinds.equilibrium_network.by_hand import Network
from refsnn.vectors.kinds.equilibrium_network.mistakes import (
    CIRCLE,
    CONTINUAL,
    CORRECTED,
    CORRECTED_RULES,
    ENERGY,
    FIELD,
    FIELDS,
    LOSS,
    POTENTIAL,
    READOUT,
    SETTLED,
    STEP,
    Condition,
    both,
    having,
    negated,
    of_rule,
    other_value,
)
from refsnn.vectors.kinds.recurrent_network.mistakes import switch

UP = "(E19) u = P(w * h) + b, (w * h)[o, j, k] = sum_cpq w[o, c, p, q] h[c, j + p - P, k + q - P]"
DOWN = "(E19) u = w ~* P^-1(h), the transpose of P(w * h), with the maxima of P"
KERNEL = "(E20) dPhi/dw = corr(h_pre, P^-1(h_post)), dPhi/db a sum over the image"
FLAT = "(E19) W reads an image in the order (C, H, W)"
OUTPUT = "(E13) h_0 and its gate: rho and rho'; rho and 1 (official); identity and 1 (linear); (E16) no sigma"
EDGE = "(E23) the derivative of a clip at its edge: 0 (open), or as between the edges (closed)"
RHO = "sigm(z) = 1 / (1 + exp(-4 (z - 1/2)))"
STEPS = "Delta_readout(t) = dl/dW_out(s_t) - dl/dW_out(s_{t+1}), all of it in the first step"


def _channel_bias_mean(problem: Problem, leaves: Leaves) -> Leaves:
    """dPhi/db over the number of places of the image."""
    network, found = Network(problem.hyperparameters), dict(leaves)
    for n, m in network.images:
        path = f"gradients/coupling.{n}.{m}.bias"
        found[path] = found[path] / np.prod(network.shapes[n][1:])
    return found


def _pools(*kinds: str) -> Condition:
    return lambda problem: bool(set(problem.hyperparameters.get("poolings", [])) & set(kinds))


def _one_of(name: str) -> Condition:
    """Whether some entry of a list is not 0."""
    return lambda problem: any(problem.hyperparameters.get(name, []))


def _output_activation(problem: Problem) -> Problem | None:
    family, output = problem.hyperparameters["family"], problem.hyperparameters["output"]
    others = {"energy": {"linear": "official", "official": "linear"}}
    other = others.get(family, {"linear": "rho", "rho": "linear"}).get(output)
    return problem.changed(output=other) if other else None


_IMAGES = _one_of("kernels")
_TWICE = {True: False, False: True}
_HARD = having("activation", "hardsigm", "my_hard_sig", "ctrd_hard_sig")
VARIANT_MISTAKES = (
    Mistake(
        "kernel-flipped",
        "a convolution, whose kernel is turned round, in the place of a cross-correlation",
        UP,
        switch("kernel-flipped", _IMAGES),
    ),
    Mistake(
        "kernel-turned",
        "the two axes of the kernel are exchanged",
        UP,
        switch("kernel-turned", _IMAGES),
    ),
    Mistake(
        "feedback-unflipped",
        "feedback correlates with the kernel as it is, not with the kernel turned round",
        DOWN,
        switch("feedback-unflipped", _IMAGES),
    ),
    Mistake(
        "padding-repeats",
        "the border is repeated, it should be zeros",
        UP,
        switch("padding-repeats", _one_of("paddings")),
    ),
    Mistake(
        "padding-at-the-end",
        "all zeros stand below and on the right",
        UP,
        switch("padding-at-the-end", _one_of("paddings")),
    ),
    Mistake(
        "crop-front",
        "rows and columns are left out at the front, not at the end",
        UP,
        switch("crop-front", having("crop", True)),
    ),
    Mistake(
        "pooling-other",
        "means for maxima, or the reverse",
        UP,
        switch("pooling-other", _pools("max", "average")),
    ),
    Mistake(
        "unpool-all",
        "what goes down goes to all of a window, not to its maximum",
        DOWN,
        switch("unpool-all", _pools("max")),
    ),
    Mistake(
        "unpool-first",
        "what goes down goes to the first corner of a window, not to its maximum",
        DOWN,
        switch("unpool-first", _pools("max")),
    ),
    Mistake(
        "average-whole",
        "what goes down is not divided by the size of the window",
        DOWN,
        switch("average-whole", _pools("average")),
    ),
    Mistake(
        "all-maxima",
        "of equal maxima all take part, not the first alone",
        KERNEL,
        switch("all-maxima", _pools("max")),
    ),
    Mistake(
        "last-maximum",
        "of equal maxima the last one counts, not the first",
        KERNEL,
        switch("last-maximum", _pools("max")),
    ),
    Mistake(
        "maxima-of-other-step",
        "maxima are those of the end and should be those of one step before, or the reverse",
        KERNEL,
        other_value("stale_index", _TWICE, both(of_rule("contrast"), _pools("max")), False),
    ),
    Mistake(
        "channel-bias-mean",
        "the gradient of a channel's bias is a mean over its image, not a sum",
        KERNEL,
        spoils=_channel_bias_mean,
    ),
    Mistake(
        "channels-last",
        "images are flattened with the channel as the last axis",
        FLAT,
        switch("channels-last", _IMAGES),
    ),
    Mistake(
        "no-skips",
        "couplings that pass over a layer are left out",
        POTENTIAL,
        switch("no-skips", _one_of("couplings")),
    ),
    Mistake(
        "one-bias",
        "a layer with two couplings feels the bias of one",
        POTENTIAL,
        switch("one-bias", _one_of("couplings")),
    ),
    Mistake(
        "output-gate",
        "the output layer has the gate and should not, or the reverse",
        OUTPUT,
        other_value("output", {"rho": "official", "official": "rho"}, both(ENERGY, having("gated", True))),
    ),
    Mistake(
        "output-activation",
        "the output layer has the activation and should not, or the reverse",
        OUTPUT,
        _output_activation,
    ),
    Mistake(
        "gate-open",
        "the gate h' is 0 at the edges: units that stand there never leave",
        STEP,
        switch("gate-open", both(ENERGY, _HARD)),
    ),
    Mistake(
        "edge",
        "the derivative at the edge of a clip is that of the other side",
        EDGE,
        other_value("edge", {"open": "closed", "closed": "open"}, _HARD, "open"),
    ),
    Mistake(
        "other-hard-sigmoid",
        "the hard sigmoid is the clip to [0, 1]",
        "my_hard_sig(z) = clip(z / 2, 0, 1), ctrd_hard_sig(z) = clip(z, -1/2, 1/2)",
        other_value(
            "activation",
            {"my_hard_sig": "hardsigm", "ctrd_hard_sig": "hardsigm"},
            _HARD,
        ),
    ),
    Mistake(
        "plain-logistic",
        "the logistic function is 1 / (1 + exp(-z))",
        RHO,
        switch("plain-logistic", having("activation", "sigm")),
    ),
    Mistake(
        "mean-over-outputs",
        "the squared error is a mean over the outputs, not a sum",
        LOSS,
        switch("mean-over-outputs", having("loss_function", "mean_squared_error")),
    ),
    Mistake(
        "one-rate",
        "all parameters have the learning rate of the first",
        CONTINUAL,
        switch("one-rate", of_rule("continual")),
    ),
    Mistake(
        "readout-from-free",
        "the read-out lacks the update of the first step",
        STEPS,
        switch(
            "readout-from-free",
            both(of_rule("continual", "step-by-step", "non-conservative-step-by-step"), READOUT),
        ),
    ),
    Mistake(
        "readout-forgotten",
        "the read-out has no gradient of its own",
        "dL/dW_out = dl/dW_out(s_*)",
        switch("readout-forgotten", both(of_rule("recurrent-backpropagation"), READOUT)),
    ),
    Mistake(
        "reads-after",
        "the motion is multiplied with what is read after the step",
        FIELD,
        switch("reads-after", both(FIELDS, having("tied", False), negated(of_rule("vector-field")))),
    ),
    Mistake(
        "products-without-slope",
        "the motion is multiplied without the derivative of the activation",
        f"{CORRECTED}, dL/dtheta = -(dF/dtheta)^T motion",
        switch("products-without-slope", CORRECTED_RULES),
    ),
    Mistake(
        "start-of-points",
        "points start at the free state and should where the one before ended, or the reverse",
        CIRCLE,
        other_value("warm_start", _TWICE, of_rule("holomorphic"), False),
    ),
    Mistake(
        "tolerance-of-mean",
        "the mean move is held against the tolerance, not the largest",
        SETTLED,
        switch("tolerance-of-mean", negated(having("tolerance", None))),
    ),
)
