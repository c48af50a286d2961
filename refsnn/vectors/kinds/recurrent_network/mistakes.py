"""What goes wrong in implementations of recurrent networks and of their gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refsnn.vectors.case import Leaves, Mistake, Problem

TANH = "h_k = tanh(W_x x_k + W_h h_{k-1} + b)"
LSTM = "c_k = f c_{k-1} + i g, h_k = o tanh(c_k)"
GRU = "n = tanh((W_x x_k + b_x)_n + r (W_h h_{k-1} + b_h)_n), h_k = (1 - z) n + z h_{k-1}"
READ = "y_k = W_o h_k + b_o"
LOSS = "L = sum_k l_k(y_k)"
BACK = "dL/dh_{k-1} = (dh_k/dh_{k-1})^T dL/dh_k + dl_{k-1}/dh_{k-1}"


def switch(name: str, applies: Callable[[Problem], bool] = lambda problem: True) -> Any:
    """A change that sets one option of the kind's wrong simulator.

    Parameters
    ----------
    name : str
        Of the option, without ``mistake.``.
    applies : callable
        Whether the mistake can be made in a problem.

    Returns
    -------
    callable
        As `Mistake.changes`.

    Examples
    --------
    >>> switch("cut")(Problem({}, {})).hyperparameters
    {'mistake.cut': True}
    """

    def changes(problem: Problem) -> Problem | None:
        return problem.changed(**{f"mistake__{name}": True}) if applies(problem) else None

    return changes


def _cell(*names: str) -> Callable[[Problem], bool]:
    return lambda problem: problem.hyperparameters["cell"] in names


def _loss(name: str) -> Callable[[Problem], bool]:
    return lambda problem: problem.hyperparameters["loss_function"] == name


def _layered(problem: Problem) -> bool:
    return len(problem.hyperparameters["widths"]) > 3


def _no_start_gradient(problem: Problem, leaves: Leaves) -> Leaves:
    return {
        path: 0 * value if path.startswith("gradients/start/") else value for path, value in leaves.items()
    }


def _start_gradient_last(problem: Problem, leaves: Leaves) -> Leaves:
    """Of the hidden state only; the cell's is forgotten."""
    return {
        path: 0 * value if path.startswith("gradients/start/") and path.endswith("cell") else value
        for path, value in leaves.items()
    }


def _transposed_gradient(problem: Problem, leaves: Leaves) -> Leaves:
    return {
        path: value.T if path.startswith("gradients/layer") and path.endswith("recurrent_weight")
        and value.shape[0] == value.shape[-1] else value
        for path, value in leaves.items()
    }  # fmt: skip


def _mean_gradients(problem: Problem, leaves: Leaves) -> Leaves:
    steps = len(problem.inputs["sequence"])
    return {path: value / steps if path.startswith("gradients/") else value for path, value in leaves.items()}


MISTAKES = (
    Mistake(
        "gates-iofg",
        "the rows of the gates are in the order i, o, f, g",
        LSTM,
        switch("gates-iofg", _cell("lstm")),
    ),
    Mistake(
        "gates-igfo",
        "the rows of the gates are in the order i, g, f, o",
        LSTM,
        switch("gates-igfo", _cell("lstm")),
    ),
    Mistake(
        "gates-fiog",
        "the rows of the gates are in the order f, i, o, g",
        LSTM,
        switch("gates-fiog", _cell("lstm")),
    ),
    Mistake(
        "forget-bias",
        "1 is added at the forget gate; the bias that is given has it already",
        LSTM,
        switch("forget-bias", _cell("lstm")),
    ),
    Mistake(
        "no-tanh-of-cell", "the cell is read without the tanh", LSTM, switch("no-tanh-of-cell", _cell("lstm"))
    ),
    Mistake(
        "cell-cut",
        "nothing goes back through c_{k-1}, only through h_{k-1}",
        LSTM,
        switch("cell-cut", _cell("lstm")),
    ),
    Mistake(
        "gates-zrn", "the rows of the gates are in the order z, r, n", GRU, switch("gates-zrn", _cell("gru"))
    ),
    Mistake(
        "reset-before",
        "the reset gate multiplies h_{k-1} before W_h, not the product",
        GRU,
        switch("reset-before", _cell("gru")),
    ),
    Mistake(
        "bias-outside",
        "b_h of the candidate is outside of the product with the reset gate",
        GRU,
        switch("bias-outside", _cell("gru")),
    ),
    Mistake("update-swapped", "z and 1 - z are exchanged", GRU, switch("update-swapped", _cell("gru"))),
    Mistake(
        "bias-twice",
        "the bias is added twice, with the input's product and with the past's",
        TANH,
        switch("bias-twice", _cell("tanh", "lstm")),
    ),
    Mistake("transposed", "W_h is transposed", TANH, switch("transposed", _cell("tanh"))),
    Mistake(
        "transposed-back",
        "the adjoint is multiplied with W_h, not with its transpose",
        BACK,
        switch("transposed-back", _cell("tanh")),
    ),
    Mistake(
        "transposed-gradient",
        "the gradient of W_h is transposed",
        "dL/dW_h = sum_k da_k^T h_{k-1}",
        spoils=_transposed_gradient,
    ),
    Mistake(
        "below-late",
        "an upper layer sees the layer below one step late",
        TANH,
        switch("below-late", _layered),
    ),
    Mistake("read-before", "the read-out sees h_{k-1}, not h_k", READ, switch("read-before")),
    Mistake(
        "ignores-start",
        "the initial state is ignored: the network starts at 0",
        TANH,
        switch("ignores-start"),
    ),
    Mistake(
        "slope-of-value",
        "the slope of an activation is taken at its value, not at its argument",
        BACK,
        switch("slope-of-value"),
    ),
    Mistake("cut", "the gradient does not go back in time at all", BACK, switch("cut")),
    Mistake("chunks-of-4", "the gradient is cut every 4 steps", BACK, switch("chunks-of-4")),
    Mistake(
        "no-start-gradient", "the gradient of the initial state is missing", BACK, spoils=_no_start_gradient
    ),
    Mistake(
        "no-cell-gradient", "the gradient of the initial cell is missing", BACK, spoils=_start_gradient_last
    ),
    Mistake("last-step-lost", "the loss of the last step is missing", LOSS, switch("last-step-lost")),
    Mistake(
        "weights-ignored", "the weights of the steps and samples are ignored", LOSS, switch("weights-ignored")
    ),
    Mistake("mean", "the loss is a mean over the steps, not a sum", LOSS, switch("mean")),
    Mistake(
        "mean-gradients",
        "the gradients are divided by the number of steps, the loss is not",
        LOSS,
        spoils=_mean_gradients,
    ),
    Mistake("sum-over-batch", "the loss is a sum over the batch, not a mean", LOSS, switch("sum-over-batch")),
    Mistake(
        "no-half",
        "the squared error lacks the factor 1/2",
        LOSS,
        switch("no-half", _loss("mean_squared_error")),
    ),
    Mistake(
        "mean-of-outputs",
        "the squared error is a mean over the outputs, not a sum",
        LOSS,
        switch("mean-of-outputs", _loss("mean_squared_error")),
    ),
    Mistake(
        "softmax-twice",
        "the softmax is taken twice, before the cross-entropy and in it",
        LOSS,
        switch("softmax-twice", _loss("cross_entropy")),
    ),
)
