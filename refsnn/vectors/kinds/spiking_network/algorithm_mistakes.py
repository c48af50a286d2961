"""What goes wrong in the algorithms: truncation, rates, traces, or another algorithm altogether."""

from __future__ import annotations

from typing import Any

from refsnn.vectors.case import Mistake, Problem
from refsnn.vectors.kinds.spiking_network.switches import (
    AVERAGED,
    Applies,
    of,
    options,
    switch,
)

BACK = "dL/dh_t = psi_t dL/ds_t + leak dv_t/dh_t dL/dh_{t+1}"
TRACE = "z^_t = decay z^_{t-1} + z_t (Xiao 2022, Eq. 4), refsnn/algorithms/trace_rules.py"
RATE = "refsnn/algorithms/rate_backpropagation.py"
GALERKIN = "refsnn/algorithms/temporal_galerkin.py"
ELIGIBILITY = "e_t = psi_t z^_t, filtered by the read-out's leak, refsnn/algorithms/eprop.py"


_WINDOWS = (
    Mistake(
        "windows-from-start",
        "windows are counted from the start, they should be from the end",
        "refsnn/algorithms/truncated_bptt.py",
        switch("windows-from-start", of("truncated_bptt")),
    ),
    Mistake(
        "window-longer",
        "windows are one step too long",
        "refsnn/algorithms/truncated_bptt.py",
        options(of("truncated_bptt"), window=lambda given: given["window"] + 1),
    ),
    Mistake(
        "readout-uncut",
        "the memory of the read-out is not cut between windows",
        "refsnn/algorithms/truncated_bptt.py",
        switch("readout-uncut", of("truncated_bptt")),
    ),
)
_AVERAGES = (
    Mistake(
        "scale",
        "1/T of the paper is missing in the gradients, or is there and should not be (scale)",
        f"d = (1/T) dl/do, {RATE}",
        options(
            lambda given: given["algorithm"] == "rate_backpropagation",
            scale=lambda given: {"paper": "bptt", "bptt": "paper"}[given["scale"]],
        ),
    ),
    Mistake(
        "summed-rate",
        "the rates are sums of spikes: 1/T is missing",
        f"e = (1/T) sum_t s_t, {RATE}",
        switch("summed-rate", of("rate_backpropagation")),
    ),
    Mistake(
        "summed-jacobian",
        "1/T is missing in the rate Jacobian",
        f"g = (1/T) sum_t psi_t rho_t, {RATE}",
        switch("summed-jacobian", of("rate_backpropagation")),
    ),
    Mistake(
        "no-jacobian-trace",
        "the trace of the rate Jacobian (or of G) is not carried on: rho_t = phi(t)",
        f"rho_{{t+1}} = 1 + f_t rho_t, {RATE}",
        switch("no-jacobian-trace", of(*AVERAGED)),
    ),
    Mistake(
        "trace-factor-late",
        "the trace rho_t is carried on with f_t, it should be f_{t-1}",
        f"rho_{{t+1}} = 1 + f_t rho_t, {RATE}",
        switch("trace-factor-late", of(*AVERAGED)),
    ),
    Mistake(
        "last-input",
        "the first layer's gradient is taken with the last input, it should be the mean one",
        f"dW^1 = d^1 mean_t x_t^T, {RATE}",
        switch("last-input", of("rate_backpropagation")),
    ),
    Mistake(
        "readout-memory-forgotten",
        "the memory of the read-out is forgotten on the way back",
        "dL/do_t = dL/dy_t + readout_leak dL/do_{t+1}, refsnn/algorithms/readout.py",
        switch("readout-memory-forgotten", lambda given: of(*AVERAGED)(given) and given["readout_leak"] > 0),
    ),
    Mistake(
        "gains-transposed",
        "G is transposed on the way down",
        f"a_k below = sum_j G_jk W^T a_j, {GALERKIN}",
        switch("gains-transposed", of("temporal_galerkin")),
    ),
    Mistake(
        "mode-shifted",
        "the modes are cosines of t, they should be of t + 1/2 (t from 0)",
        f"phi_k(t), {GALERKIN}",
        switch("mode-shifted", of("temporal_galerkin")),
    ),
)
_TRACES = (
    Mistake(
        "trace-late",
        "the trace does not hold the spike of its step: it is one step late",
        TRACE,
        switch("trace-late", of("ottt")),
    ),
    Mistake(
        "leak-of-below",
        "traces decay with the leak of the layer they come from, it should be that of the layer they feed",
        TRACE,
        switch("leak-of-below", lambda given: of("ottt")(given) and given["preset"] != "official_code"),
    ),
    Mistake(
        "leak-of-above",
        "traces decay with the leak of the layer they feed; the official code takes that of the layer they "
        "come from",
        TRACE,
        switch("leak-of-above", of("ottt", preset="official_code")),
    ),
    Mistake(
        "traced-input",
        "the weights of the input see a trace, under this preset they do not",
        TRACE,
        switch("traced-input", of("ottt", preset="official_code")),
    ),
    Mistake(
        "traced-bias",
        "biases see the trace of 1, they should see 1",
        "dL/db = sum_t g_t, refsnn/algorithms/trace_rules.py",
        switch("traced-bias", lambda given: of("ottt")(given) and given["preset"] != "exact_local"),
    ),
    Mistake(
        "plain-readout",
        "the weight of the read-out sees spikes, under this preset it sees a trace",
        TRACE,
        switch("plain-readout", lambda given: of("ottt")(given) and given["preset"] != "exact_local"),
    ),
    Mistake(
        "traced-readout",
        "the weight of the read-out sees a trace, under this preset it does not",
        TRACE,
        switch("traced-readout", of("ottt", preset="exact_local")),
    ),
    Mistake(
        "not-measured",
        "traces decay with the leak, under this preset they do with v_t / v_{t-1}",
        TRACE,
        switch("not-measured", of("ottt", preset="ndot")),
    ),
    Mistake(
        "all-steps-learn",
        "errors are sent down at all steps, they should be at learning_steps only",
        "refsnn/algorithms/sltt.py",
        options(
            lambda given: of("sltt")(given) and len(given["learning_steps"]) == 2,
            learning_steps=lambda given: [0, 1, 2, 3, 4, 5],
        ),
    ),
    Mistake(
        "unfiltered",
        "the eligibilities are not filtered with the leak of the read-out",
        ELIGIBILITY,
        switch("unfiltered", lambda given: of("eprop")(given) and given["readout_leak"] > 0),
    ),
    Mistake(
        "symmetric",
        "the error goes down by the read-out's own weights, it should be by the given feedback",
        "L_j = sum_k B_jk dL/dy_k, refsnn/algorithms/eprop.py",
        switch("symmetric", of("eprop")),
    ),
    Mistake("traceless", "the eligibilities have no trace", ELIGIBILITY, switch("traceless", of("eprop"))),
)


def _instead(name: str, says: str, equation: str, applies: Applies, **options: Any) -> Mistake:
    """The gradients of another algorithm; states, rates and traces are right."""

    def changes(problem: Problem) -> Problem | None:
        return problem.changed(mistake__instead=options) if applies(problem.hyperparameters) else None

    return Mistake(f"{name}-instead", says, equation, changes)


_WRONG_ALGORITHM = (
    _instead(
        "bptt",
        "you computed plain BPTT",
        "refsnn/algorithms/bptt.py",
        lambda given: given["algorithm"] != "bptt",
        algorithm="bptt",
        window=0,
    ),
    _instead(
        "rate",
        "you computed rate-based backpropagation, without its 1/T",
        RATE,
        lambda given: of("bptt", "temporal_galerkin")(given) and not any(given["recurrent"]),
        algorithm="rate_backpropagation",
        scale="bptt",
    ),
    _instead(
        "sltt",
        "you computed SLTT: no traces",
        "refsnn/algorithms/sltt.py",
        of("ottt", "eprop"),
        algorithm="sltt",
        learning_steps=range(10**6),
    ),
    _instead(
        "ottt",
        "you computed OTTT: with traces",
        "refsnn/algorithms/ottt.py",
        of("sltt", "eprop"),
        algorithm="ottt",
        preset="paper",
    ),
    _instead(
        "spatial",
        "no gradient goes back in time at all",
        BACK,
        of("bptt", "truncated_bptt"),
        algorithm="truncated_bptt",
        window=1,
    ),
)
OF_ALGORITHMS = (*_WINDOWS, *_AVERAGES, *_TRACES, *_WRONG_ALGORITHM)
