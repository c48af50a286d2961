"""What goes wrong in implementations of spiking networks: up, in the loss, and down."""

from __future__ import annotations

from typing import Any

from refsnn.vectors.case import Mistake, Problem
from refsnn.vectors.kinds.spiking_network.algorithm_mistakes import OF_ALGORITHMS
from refsnn.vectors.kinds.spiking_network.switches import (
    ONLINE,
    SLOPED,
    TIMED,
    dense,
    each,
    of,
    only,
    options,
    steps,
    switch,
    times,
)

CURRENT = "I_t = W z_t + b + R s_{t-1}"
CHARGE = "h_t = leak v_{t-1} + I_t"
FIRE = "s_t = H(h_t - threshold)"
RESET = "v_t after the spike"
SLOPE = "dv_t/dh_t"
BACK = "dL/dh_t = psi_t dL/ds_t + leak dv_t/dh_t dL/dh_{t+1}"
DOWN = "dL/ds_t = W^T dL/dI_t of the layer above"
READOUT = "y_t = readout_leak y_{t-1} + W s_t + b, refsnn/algorithms/readout.py"
LOSS = "L = l(mean_t y_t) or (1/T) sum_t l(y_t), refsnn/models/losses.py"


def _other_reset(problem: Problem) -> Problem | None:
    given = problem.hyperparameters
    if not dense(given):
        return None
    other = ["soft" if one == "hard" else "hard" for one in given["reset"]]
    return problem.changed(reset=other, reset_value=[0.0] * len(other))


def _hard(given: dict[str, Any]) -> bool:
    return dense(given) and "hard" in given["reset"]


def _loops(given: dict[str, Any]) -> bool:
    return dense(given) and any(given["recurrent"])


def _attached(given: dict[str, Any]) -> bool:
    return of(*SLOPED)(given) and not all(given["detach_reset"])


_FORWARD = (
    Mistake(
        "other-comparison",
        "a potential equal to the threshold is decided the other way (fires)",
        FIRE,
        each("fires", {">": ">=", ">=": ">"}),
    ),
    Mistake(
        "other-reset", "the other reset: to a value for by subtraction, or the reverse", RESET, _other_reset
    ),
    Mistake(
        "late-reset", "the reset takes effect in the next step, after the leak", RESET, switch("late-reset")
    ),
    Mistake("no-reset", "there is no reset", RESET, switch("no-reset")),
    Mistake("reset-to-0", "the hard reset goes to 0, not to reset_value", RESET, each("reset_value", 0.0)),
    Mistake(
        "no-rest",
        "with a hard reset the potential leaks towards reset_value, here towards 0",
        CHARGE,
        switch("no-rest", _hard),
    ),
    Mistake("threshold-1", "the threshold is 1 whatever it should be", FIRE, each("threshold", 1.0)),
    Mistake(
        "one-leak",
        "all layers have the leak of the first one",
        CHARGE,
        options(dense, leak=lambda given: given["leak"][:1] * len(given["leak"])),
    ),
    Mistake("no-bias", "the biases of the hidden layers are forgotten", CURRENT, switch("no-bias")),
    Mistake("no-readout-bias", "the bias of the read-out is forgotten", READOUT, switch("no-readout-bias")),
    Mistake(
        "late-layers",
        "a layer reads the spikes of the layer below one step late; it reads those of the same step",
        CURRENT,
        switch("late-layers"),
    ),
    Mistake("no-recurrence", "the recurrent weights do nothing", CURRENT, switch("no-recurrence", _loops)),
    Mistake(
        "recurrence-transposed",
        "the recurrent weight is transposed: [i, j] leads from j to i",
        CURRENT,
        switch("recurrence-transposed", _loops),
    ),
    Mistake(
        "reads-potential",
        "the read-out reads the membrane of the last layer, not its spikes",
        READOUT,
        switch("reads-potential"),
    ),
    Mistake(
        "no-readout-leak",
        "the read-out has no memory",
        READOUT,
        switch("no-readout-leak", lambda given: dense(given) and given["readout_leak"] > 0),
    ),
)
_LOSS = (
    Mistake(
        "other-loss-over",
        "the loss of the mean read-out is taken for the mean of the losses of all steps, or the reverse",
        LOSS,
        options(
            of(*SLOPED),
            loss_over=lambda given: {"each_step": "mean_readout"}.get(given["loss_over"], "each_step"),
        ),
    ),
    Mistake(
        "summed-readout",
        "the read-out is summed over time, it should be the mean",
        LOSS,
        switch("summed-readout", lambda given: dense(given) and given["loss_over"] == "mean_readout"),
    ),
    Mistake(
        "sum-of-steps",
        "1/T is missing: the losses of the steps are summed",
        LOSS,
        switch("sum-of-steps", lambda given: dense(given) and given["loss_over"] == "each_step"),
    ),
    Mistake(
        "sum-over-batch",
        "the loss is a sum over the batch, it should be the mean",
        LOSS,
        switch("sum-over-batch"),
    ),
    Mistake(
        "whole-squares",
        "the factor 1/2 of the squared error is missing",
        LOSS,
        switch("whole-squares", lambda given: given["loss_function"] == "mean_squared_error"),
    ),
    Mistake(
        "mean-over-classes",
        "the squared error is a mean over classes, it should be the sum",
        LOSS,
        switch("mean-over-classes", lambda given: given["loss_function"] == "mean_squared_error"),
    ),
    Mistake(
        "no-squared-share",
        "the loss is the cross-entropy alone, without its share of squares",
        LOSS,
        switch("no-squared-share", lambda given: dense(given) and given["squared_share"] > 0),
    ),
)
_BACKWARD = (
    Mistake(
        "reset-gradient",
        "the gradient goes through the reset and should not, or the reverse (detach_reset)",
        SLOPE,
        each("detach_reset", {True: False, False: True}),
    ),
    Mistake(
        "straight",
        "the reset is ignored in the gradient altogether: dv_t/dh_t = 1",
        SLOPE,
        switch("straight", of(*SLOPED)),
    ),
    Mistake(
        "whole-slope",
        "the slope of a hard reset lacks the factor 1 - s_t",
        SLOPE,
        switch("whole-slope", lambda given: of(*SLOPED)(given) and "hard" in given["reset"]),
    ),
    Mistake(
        "unit-threshold",
        "the slope of the reset is 1 - psi, it should be 1 - threshold psi",
        SLOPE,
        switch("unit-threshold", _attached),
    ),
    Mistake(
        "psi-after-reset",
        "psi is taken at the potential after the reset, not at h_t",
        BACK,
        switch("psi-after-reset"),
    ),
    Mistake(
        "psi-height-1",
        "psi is 1 at the threshold, not surrogate.height",
        "psi = ds/dh",
        each("surrogate.height", 1.0),
    ),
    Mistake(
        "psi-slope-1",
        "the slope of psi is 1, not surrogate.slope",
        "psi = ds/dh",
        each("surrogate.slope", 1.0),
    ),
    Mistake(
        "no-leak-back",
        "the leak is missing on the way back",
        BACK,
        switch("no-leak-back", of(*TIMED)),
    ),
    Mistake(
        "sent-down-wrongly",
        "the error goes down by W, it should be W^T (it fits where two layers are equally wide)",
        DOWN,
        switch("sent-down-wrongly"),
    ),
    Mistake(
        "loop-sent-down-wrongly",
        "the error goes back through a loop by R, it should be R^T",
        DOWN,
        switch("loop-sent-down-wrongly", lambda given: _loops(given) and of(*TIMED)(given)),
    ),
    Mistake(
        "no-feedback",
        "no gradient goes back through the loops",
        "dL/ds_t holds R^T dL/dI_{t+1}",
        switch("no-feedback", lambda given: _loops(given) and of(*TIMED)(given)),
    ),
    Mistake(
        "loop-sees-itself",
        "the gradient of a recurrent weight is taken with s_t, it should be s_{t-1}",
        "dL/dR = sum_t dL/dI_t s_{t-1}^T",
        switch("loop-sees-itself", lambda given: _loops(given) and of(*TIMED, "eprop")(given)),
    ),
    Mistake(
        "no-bias-gradient",
        "the gradients of all biases are 0",
        "dL/db = sum_t dL/dI_t",
        switch("no-bias-gradient"),
    ),
    Mistake(
        "gradients-summed-over-batch",
        "the gradients are sums over the batch, the loss is a mean",
        LOSS,
        only(dense),
        times(lambda problem: float(problem.inputs["input"].shape[1]), "gradients/"),
    ),
    Mistake(
        "gradients-without-1/T",
        "1/T is missing in the gradients: T times too large",
        LOSS,
        only(of(*TIMED, "temporal_galerkin", *ONLINE, "eprop")),
        times(steps, "gradients/"),
    ),
    Mistake(
        "gradients-with-1/T",
        "the gradients are divided by T once too often",
        LOSS,
        only(of(*TIMED, "temporal_galerkin", *ONLINE, "eprop")),
        times(lambda problem: 1 / steps(problem), "gradients/"),
    ),
    Mistake(
        "updates",
        "the sign is that of an update; gradients are dL/d(parameter)",
        "dL/d(parameter)",
        only(dense),
        times(lambda problem: -1.0, "gradients/"),
    ),
)
MISTAKES = (
    *_FORWARD,
    *_LOSS,
    *_BACKWARD,
    *OF_ALGORITHMS,
)
