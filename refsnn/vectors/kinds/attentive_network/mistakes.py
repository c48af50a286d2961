"""What goes wrong in implementations of sparse attention over past states, and of its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refsnn.vectors.case import Leaves, Mistake, Problem
from refsnn.vectors.kinds.recurrent_network.mistakes import switch

FILE = "refsnn/models/attentive/network.py"
CUT = f"(S1) no gradient from step t to t - 1 if t mod k_trunc = 0 (Ke 2018), {FILE}"
CELL = f"(S2) c_t, hhat_t = LSTM(x_t, h_{{t-1}}, c_{{t-1}}), {FILE}"
SCORE = f"(S3) a_tj = w3 . tanh(W1 m_j + W2 hhat_t) (Ke 2018, Eq. 1), {FILE}"
SPARSE = f"(S4) w_tj = max(a_tj - threshold_t, 0) / (sum of them + eps_norm), {FILE}"
REMIND = f"(S5) s_t = sum_j w_tj m_j, h_t = hhat_t + s_t, {FILE}"
READ = f"(S6) y_t = V1 h_t + V2 s_t + b, {FILE}"
STORE = f"(S7) if t mod k_att = 0, h_t becomes a slot, seen from t + 1 on, {FILE}"
LOSS = "L = mean over steps (or the last) and samples of l(y_t)"
BACK = "dL/dh_t = carried + V1^T dL/dy_t + dL/dm_j, refsnn/models/attentive/core.py"


def _is(name: str, *values: Any) -> Callable[[Problem], bool]:
    return lambda problem: problem.hyperparameters[name] in values


def _more(problem: Problem) -> bool:
    return problem.hyperparameters["top"] > 0


def _option(name: str, value: Any) -> Any:
    """Another option; None where the problem has it already."""

    def changes(problem: Problem) -> Problem | None:
        return None if problem.hyperparameters[name] == value else problem.changed(**{name: value})

    return changes


def _flipped(name: str) -> Any:
    def changes(problem: Problem) -> Problem | None:
        return problem.changed(**{name: not problem.hyperparameters[name]})

    return changes


def _top(by: int) -> Any:
    def changes(problem: Problem) -> Problem | None:
        top = problem.hyperparameters["top"]
        return problem.changed(top=top + by) if top > 0 and top + by > 0 else None

    return changes


def _all_detached(problem: Problem) -> Problem | None:
    return problem.changed(detach_query=True, detach_key=True, detach_value=True)


def _slots_detached(problem: Problem) -> Problem | None:
    return problem.changed(detach_key=True, detach_value=True)


def _other_tanh(problem: Problem) -> Problem | None:
    other = {"mlp": "mlp_tanh_in", "mlp_tanh_in": "mlp"}.get(problem.hyperparameters["score"])
    return problem.changed(score=other) if other else None


def _no_start_gradient(problem: Problem, leaves: Leaves) -> Leaves:
    return {
        path: 0 * value if path.startswith("gradients/start/") else value for path, value in leaves.items()
    }


MISTAKES = (
    Mistake("never-cut", "the recurrent gradient is not cut", CUT, _option("truncate_every", 0)),
    Mistake(
        "cut-late",
        "the gradient is cut one step late: after the steps with t mod k_trunc = 0",
        CUT,
        switch("cut-late"),
    ),
    Mistake(
        "cell-not-cut",
        "the cut leaves the gradient through the cell c_{t-1}",
        CUT,
        switch("cell-not-cut", _is("cell", "lstm")),
    ),
    Mistake(
        "cut-erases",
        "a cut detaches the memory too, with all that was stored before it",
        CUT,
        switch("cut-erases"),
    ),
    Mistake("one-bias", "one of the two biases of the cell is missing", CELL, switch("one-bias")),
    Mistake("query-past", "the query is h_{t-1}, not hhat_t", SCORE, switch("query-past")),
    Mistake("query-unheard", "the score does not depend on the query", SCORE, switch("query-unheard")),
    Mistake(
        "other-tanh",
        "memories and query enter the score through a tanh of their own and should not, or the reverse",
        SCORE,
        _other_tanh,
    ),
    Mistake("one-more", "k_top + 1 memories are kept", SPARSE, _top(1)),
    Mistake("one-less", "k_top - 1 memories are kept", SPARSE, _top(-1)),
    Mistake(
        "sparsifier-paper",
        "the threshold is the (k_top + 1)-th score, as in the paper",
        SPARSE,
        _option("sparsifier", "paper"),
    ),
    Mistake(
        "sparsifier-release",
        "the threshold is the k_top-th score, raised by eps_thr, as in the release",
        SPARSE,
        _option("sparsifier", "release"),
    ),
    Mistake(
        "sparsifier-dev",
        "the threshold is the (k_top + 1)-th score, lowered by eps_thr",
        SPARSE,
        _option("sparsifier", "dev"),
    ),
    Mistake(
        "threshold-constant",
        "the gradient takes the threshold for a constant",
        SPARSE,
        switch("threshold-constant", _more),
    ),
    Mistake(
        "normaliser-constant",
        "the gradient takes the normaliser for a constant",
        SPARSE,
        switch("normaliser-constant", _more),
    ),
    Mistake("not-normalised", "the weights are not normalised", SPARSE, switch("not-normalised", _more)),
    Mistake(
        "scores-unshifted",
        "the threshold is not subtracted from the scores that survive",
        SPARSE,
        switch("scores-unshifted", _more),
    ),
    Mistake(
        "softmax-of-survivors",
        "the weights are a softmax over the survivors",
        SPARSE,
        switch("softmax-of-survivors", _more),
    ),
    Mistake("norm-shift-0", "eps_norm is missing", SPARSE, _option("norm_shift", 0.0)),
    Mistake("ties-last", "of equal scores the later slot comes first", SPARSE, switch("ties-last", _more)),
    Mistake(
        "batch-mixed", "thresholds go to the wrong samples of the batch", SPARSE, switch("batch-mixed", _more)
    ),
    Mistake(
        "small-raw",
        "with at most k_top slots the weights are raw scores",
        SPARSE,
        _option("small_memory", "raw"),
    ),
    Mistake(
        "small-softmax",
        "with at most k_top slots the weights are a softmax",
        SPARSE,
        _option("small_memory", "softmax"),
    ),
    Mistake(
        "small-zero", "with at most k_top slots nothing is read", SPARSE, _option("small_memory", "zero")
    ),
    Mistake(
        "small-min",
        "with at most k_top slots the least score is the threshold",
        SPARSE,
        _option("small_memory", "min"),
    ),
    Mistake(
        "query-gradient",
        "the gradient goes through the query of the scores and should not, or the reverse",
        SCORE,
        _flipped("detach_query"),
    ),
    Mistake(
        "key-gradient",
        "the gradient goes through memories in the scores and should not, or the reverse",
        SCORE,
        _flipped("detach_key"),
    ),
    Mistake(
        "value-gradient",
        "the gradient goes through memories in the sum and should not, or the reverse",
        REMIND,
        _flipped("detach_value"),
    ),
    Mistake(
        "slots-detached",
        "no credit comes to a memory: slots are detached when they are stored",
        BACK,
        _slots_detached,
    ),
    Mistake(
        "attention-detached",
        "no gradient goes through the attention but to its own weights",
        BACK,
        _all_detached,
    ),
    Mistake(
        "augmented", "the summary is not added to h_t, or is and should not", REMIND, _flipped("augmented")
    ),
    Mistake("summary-unread", "the read-out does not see the summary", READ, switch("summary-unread")),
    Mistake(
        "stored-late", "a state is stored at t mod k_att = 1, one step late", STORE, switch("stored-late")
    ),
    Mistake(
        "stored-before-reminding",
        "hhat_t is stored, the state before it was reminded",
        STORE,
        switch("stored-before-reminding"),
    ),
    Mistake("sees-itself", "a step that is stored reads itself", STORE, switch("sees-itself")),
    Mistake(
        "empty-memory", "the start is a slot and should not, or the reverse", STORE, _flipped("empty_memory")
    ),
    Mistake("sum-over-steps", "the loss is a sum over the steps", LOSS, switch("sum-over-steps")),
    Mistake(
        "no-half",
        "the squared error lacks the factor 1/2",
        LOSS,
        switch("no-half", _is("loss_function", "mean_squared_error")),
    ),
    Mistake(
        "no-start-gradient", "the gradient of the initial state is missing", BACK, spoils=_no_start_gradient
    ),
)
