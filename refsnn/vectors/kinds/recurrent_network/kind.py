"""Stacks of tanh, LSTM and GRU layers with a loss at each step, and the gradient of BPTT.

Every schedule of `memory_efficient_bptt` gives this one gradient, whatever it keeps and runs again; so a
case says nothing of memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.models.contract import State
from refsnn.models.recurrent import GatedRecurrentUnit, LongShortTermMemory, TanhNetwork
from refsnn.models.recurrent.cell import RecurrentModel
from refsnn.models.sequences import StepTargets
from refsnn.vectors.case import Case, Hyperparameters, Kind, Leaf, Leaves, Problem, Solution
from refsnn.vectors.kinds.recurrent_network.by_hand import by_hand
from refsnn.vectors.kinds.recurrent_network.mistakes import BACK, LOSS, MISTAKES, READ

CELLS: dict[str, type[RecurrentModel]] = {
    "tanh": TanhNetwork,
    "lstm": LongShortTermMemory,
    "gru": GatedRecurrentUnit,
}
_FILES = "refsnn/models/recurrent"
LEAVES = (
    Leaf(
        "states/*",
        "(T, B, n)",
        "h_1 .. h_T of each layer; of an LSTM also the cells c_1 .. c_T",
        f"h_k = F(h_{{k-1}}, x_k), {_FILES}",
    ),
    Leaf("outputs", "(T, B, C)", "y_1 .. y_T", f"{READ}, {_FILES}/layered.py"),
    Leaf("loss", "()", "a sum over the steps, a mean over the whole batch", f"{LOSS}, {_FILES}/cell.py"),
    Leaf("gradients/sequence", "(T, B, n_0)", "dL/dx_k", "dL/dx_k = W_x^T dL/da_k of the first layer"),
    Leaf("gradients/start/*", "(B, n)", "dL/dh_0 and dL/dc_0", BACK),
    Leaf(
        "gradients/*",
        "as the parameter",
        "dL/dparameter",
        f"dL/dW = sum_k (da_k/dW)^T dL/da_k, {_FILES}/layered.py",
    ),
)
INPUTS = {
    "cell": "'tanh'; 'lstm' and 'gru' with rows of the matrices in the order i, f, g, o and r, z, n",
    "widths": "numbers of inputs, of units in each recurrent layer from the input up, of outputs",
    "loss_function": "'mean_squared_error': l = sum w |y - target|^2 / (2B); 'cross_entropy': of a softmax",
    "inputs/sequence": "(T, B, n_0): x_1 .. x_T",
    "inputs/targets": "(T, B) labels from 0 for a cross-entropy, or (T, B, C)",
    "inputs/loss_weights": "(T, B): what l_k of each sample counts; B in the mean is the whole batch",
    "inputs/start/*": "(B, n): h_0 of each layer, and c_0 of an LSTM, as layer.1.hidden and layer.1.cell",
    "inputs/parameters/layer*": "of layer.1, ...: input_weight W_x (g n, n below), recurrent_weight W_h (g "
    "n, n) with g = 1, 4, 3 for tanh, lstm, gru; bias b (g n,) of tanh and lstm; input_bias b_x and "
    "recurrent_bias b_h (3 n,) of a gru, whose reset gate multiplies the last n of W_h h + b_h",
    "inputs/parameters/readout*": "weight W_o (C, n), bias b_o (C,)",
}


class _States(Hooks):
    """Keeps h_k of each step."""

    def __init__(self) -> None:
        self.all: list[State] = []

    def on_first_visit(self, step: int, state: State) -> None:
        self.all.append({name: array.copy() for name, array in state.items() if name.startswith("layer.")})


def arguments_of(problem: Problem) -> tuple[RecurrentModel, Leaves, np.ndarray, StepTargets, State]:
    """Model, parameters, inputs, targets and initial state of a case.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    tuple
        In the order of `memory_efficient_bptt`, the initial state last.
    """
    given, inputs = problem.hyperparameters, problem.inputs
    model = CELLS[given["cell"]](tuple(given["widths"]), given["loss_function"])
    parameters = under("parameters", inputs)
    targets = StepTargets(inputs["targets"], inputs["loss_weights"])
    return model, parameters, inputs["sequence"], targets, under("start", inputs)


def under(prefix: str, leaves: Leaves) -> Leaves:
    """The leaves below a path, by the rest of their names.

    Parameters
    ----------
    prefix : str
        Such as "parameters".
    leaves : dict of str to ndarray
        By path.

    Returns
    -------
    dict of str to ndarray

    Examples
    --------
    >>> list(under("start", {"start/a": np.zeros(1), "sequence": np.zeros(1)}))
    ['a']
    """
    return {n.removeprefix(f"{prefix}/"): a for n, a in leaves.items() if n.startswith(f"{prefix}/")}


def solve(problem: Problem, backend: str) -> Solution:
    """BPTT, by the memory-efficient algorithm, which here keeps all.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Whose kernels.

    Returns
    -------
    Solution
    """
    model, parameters, sequence, targets, start = arguments_of(problem)
    states = _States()
    found = memory_efficient_bptt(
        model, parameters, sequence, targets,
        strategy="all_tapes", initial_state=start, input_gradients=True, hooks=states, backend=backend,
    )  # fmt: skip
    leaves = {f"states/{name}": np.stack([state[name] for state in states.all]) for name in states.all[0]}
    leaves["outputs"] = model.run(parameters, sequence, initial_state=start, backend=backend)
    leaves["loss"] = np.asarray(found.loss, sequence.dtype)
    assert found.input_gradients is not None  # they were asked for
    leaves["gradients/sequence"] = found.input_gradients
    leaves |= {f"gradients/{name}": array for name, array in found.gradients.items()}
    return Solution(leaves | {f"gradients/start/{name}": found.initial_gradients[name] for name in start})


def cases(large: bool) -> Iterator[Case]:
    """All cells, one layer and more, both losses, and what goes wrong at the edges.

    Parameters
    ----------
    large : bool
        Wider and longer ones in addition.

    Yields
    ------
    Case
    """
    rng = np.random.default_rng(20160610)
    for cell in CELLS:
        yield _case(rng, f"random/{cell}", "one layer, a loss at each step", cell, (3, 4, 2), 6, 3)
        below = "an upper layer sees the layer below at the same step"
        yield _case(rng, f"layers/{cell}", below, cell, (2, 4, 3, 5), 5, 3, entropy=True)
        last = np.zeros((9, 2))
        last[-1] = 1
        only = "only the last step has a loss, from a state of rest"
        yield _case(
            rng, f"last-step/{cell}", only, cell, (2, 3, 4), 9, 2, entropy=True, rest=True, loss_weights=last
        )
        again = "goes on where a call with other inputs ended"
        yield _case(rng, f"two-calls/{cell}", again, cell, (2, 3, 1), 6, 2, calls=2)
        yield _case(rng, f"one-step/{cell}", "T = 1", cell, (3, 2, 4), 1, 1)
        yield _case(rng, f"one-unit/{cell}", "every block of a matrix is a number", cell, (1, 1, 1), 4, 2)
    yield from _awkward(rng)
    if large:
        for cell in CELLS:
            many = "many units"
            yield _case(rng, f"wide/{cell}", many, cell, (4, 12, 9, 6), 100, 2, entropy=True)


def _awkward(rng: np.random.Generator) -> Iterator[Case]:
    ends = np.arange(7)[:, None] < [3, 7, 5]
    unequal = "sequences of unequal length: the weights are 0 behind their ends"
    yield _case(
        rng, "masked/lstm", unequal, "lstm", (2, 3, 4), 7, 3, entropy=True, loss_weights=ends.astype(float)
    )
    nothing = np.zeros((4, 2))
    yield _case(
        rng, "zero-upstream/gru", "nothing may come back", "gru", (2, 3, 2), 4, 2, loss_weights=nothing
    )
    shut = "gates that are all but shut, or open"
    yield _case(rng, "saturated-gates/lstm", shut, "lstm", (2, 3, 2), 5, 2, gain=12.0)
    overflow = "a softmax that overflows unless the largest output is taken off first"
    yield _case(rng, "large-outputs/tanh", overflow, "tanh", (2, 3, 4), 5, 2, entropy=True, readout=1000.0)
    for cell in CELLS:
        back = "the state is fed back hundreds of times"
        yield _case(rng, f"long/{cell}", back, cell, (1, 2, 1), 200, 1)


def _case(
    rng: np.random.Generator,
    name: str,
    purpose: str,
    cell: str,
    widths: tuple[int, ...],
    steps: int,
    batch: int,
    *,
    entropy: bool = False,
    rest: bool = False,
    gain: float = 1.5,
    readout: float = 1.0,
    calls: int = 1,
    loss_weights: np.ndarray | None = None,
) -> Case:
    model = CELLS[cell](widths, "cross_entropy" if entropy else "mean_squared_error")
    inputs = {
        f"parameters/{path}": array + 0.3 * rng.standard_normal(array.shape)
        for path, array in model.initialise(rng, gain=gain).items()
    }
    inputs["parameters/readout.weight"] *= readout
    labels = rng.integers(0, widths[-1], (steps, batch))
    real = rng.standard_normal((steps, batch, widths[-1]))
    given: Hyperparameters = {"cell": cell, "widths": list(widths), "loss_function": model.loss_function}
    problem: Problem | None = None
    for call in range(calls):
        start = {
            f"start/{path}": np.zeros(shape) if rest or call < calls - 1 else 0.5 * rng.standard_normal(shape)
            for path, shape in model.state_shapes(batch).items()
        }
        if problem is not None:
            ended = solve(problem, "plain").leaves
            start = {path: ended[path.replace("start", "states", 1)][-1] for path in start}
        weights = rng.uniform(0.5, 1.5, (steps, batch)) if loss_weights is None else loss_weights
        own: Leaves = {
            "sequence": rng.standard_normal((steps, batch, widths[0])),
            "targets": labels if entropy else real,
            "loss_weights": weights,
        }
        problem = Problem(given, own | start | inputs)
    holds = {
        "random": steps > 1 and batch > 1 and len(set(widths)) > 1,
        "one-step": steps == 1,
        "one-neuron": widths[1:-1] == (1,),
        "one-sample": batch == 1,
        "unequal-widths": len(set(widths)) == len(widths),
        "carried-state": not rest,
        "two-calls": calls > 1,
        "zero-upstream": not weights.any(),
        "long": steps >= 200,
    }
    assert problem is not None  # there is one call at least
    return Case(name, purpose, tuple(flag for flag, it_does in holds.items() if it_does), problem)


RECURRENT_NETWORK = Kind(
    name="recurrent_network",
    summary="Stacks of tanh, LSTM and GRU layers with a loss at each step, and the gradient of BPTT.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="complex step through a transcription of the forward pass",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
)
