"""O5, O6: with no memory but the zero slot the algorithm is truncated BPTT, written here segment by segment."""

from __future__ import annotations

import numpy as np

from validation.claims.sparse_attentive_backtracking.by_hand import Arrays
from validation.claims.sparse_attentive_backtracking.problems import (
    BACKENDS,
    OFF,
    Problem,
    draw,
    error,
)
from validation.ledger import Measured, claim, require


def truncated_bptt(problem: Problem, period: int | None, phase: int = 0) -> tuple[float, Arrays]:
    """Loss and gradient of h -> V h + b, one segment after the other, states carried over, adjoints not."""
    network, x = problem.network, problem.inputs
    steps = len(x)
    starts = [0] + [t - 1 for t in range(2, steps + 1) if period is not None and t % period == phase]
    state = dict(problem.start)
    loss, gradients = 0.0, {name: np.zeros_like(problem.parameters[name]) for name in _trained(problem)}
    run = _lstm_segment if network.cell == "lstm" else _tanh_segment
    for first, end in zip(starts, [*starts[1:], steps], strict=True):
        weight = 1 / (steps * problem.batch)
        share, grads, state = run(problem.parameters, x[first:end], problem.targets[first:end], state, weight)
        loss += share
        for name, value in grads.items():
            gradients[name] += value
    return loss, gradients


def _trained(problem: Problem) -> list[str]:
    return [
        name for name in problem.parameters if name.startswith(("cell", "readout")) and "summary" not in name
    ]


def _losses(p: Arrays, h: np.ndarray, labels: np.ndarray, weight: float) -> tuple[float, Arrays, np.ndarray]:
    """Of all steps of a segment at once; dL/dh."""
    y = h @ p["readout.weight"].T + p["readout.bias"]
    exponentials = np.exp(y)
    shares = exponentials / exponentials.sum(-1, keepdims=True)
    hot = np.eye(y.shape[-1])[labels]
    e = weight * (shares - hot)
    loss = -weight * np.log((shares * hot).sum(-1)).sum()
    return (
        loss,
        {"readout.weight": np.einsum("tbo,tbh->oh", e, h), "readout.bias": e.sum((0, 1))},
        e @ p["readout.weight"],
    )


def _cell_gradients(d: np.ndarray, x: np.ndarray, before: np.ndarray) -> Arrays:
    sums = d.sum((0, 1))
    return {
        "cell.input_weight": np.einsum("tbr,tbi->ri", d, x),
        "cell.recurrent_weight": np.einsum("tbr,tbh->rh", d, before),
        "cell.input_bias": sums,
        "cell.recurrent_bias": sums,
    }


def _lstm_segment(
    p: Arrays, x: np.ndarray, labels: np.ndarray, state: Arrays, weight: float
) -> tuple[float, Arrays, Arrays]:
    hs, cs, gates = [state["hidden"]], [state["cell"]], []
    for value in x:
        z = value @ p["cell.input_weight"].T + p["cell.input_bias"] + hs[-1] @ p["cell.recurrent_weight"].T
        z = np.array(np.split(z + p["cell.recurrent_bias"], 4, axis=1))
        i, f, o = 1 / (1 + np.exp(-z[[0, 1, 3]]))
        g = np.tanh(z[2])
        gates.append((i, f, g, o))
        cs.append(f * cs[-1] + i * g)
        hs.append(o * np.tanh(cs[-1]))
    loss, gradients, dh_of = _losses(p, np.array(hs[1:]), labels, weight)
    dh, dc, d = np.zeros_like(hs[0]), np.zeros_like(cs[0]), []
    for t in reversed(range(len(x))):
        i, f, g, o = gates[t]
        th = np.tanh(cs[t + 1])
        dh = dh + dh_of[t]
        dc = dc + dh * o * (1 - th**2)
        parts = dc * g * i * (1 - i), dc * cs[t] * f * (1 - f), dc * i * (1 - g**2), dh * th * o * (1 - o)
        d.insert(0, np.concatenate(parts, axis=1))
        dh, dc = d[0] @ p["cell.recurrent_weight"], dc * f
    gradients |= _cell_gradients(np.array(d), x, np.array(hs[:-1]))
    return loss, gradients, {"hidden": hs[-1], "cell": cs[-1]}


def _tanh_segment(
    p: Arrays, x: np.ndarray, labels: np.ndarray, state: Arrays, weight: float
) -> tuple[float, Arrays, Arrays]:
    hs = [state["hidden"]]
    for value in x:
        drive = value @ p["cell.input_weight"].T + hs[-1] @ p["cell.recurrent_weight"].T
        hs.append(np.tanh(drive + p["cell.input_bias"] + p["cell.recurrent_bias"]))
    loss, gradients, dh_of = _losses(p, np.array(hs[1:]), labels, weight)
    dh, d = np.zeros_like(hs[0]), []
    for t in reversed(range(len(x))):
        d.insert(0, (dh + dh_of[t]) * (1 - hs[t + 1] ** 2))
        dh = d[0] @ p["cell.recurrent_weight"]
    gradients |= _cell_gradients(np.array(d), x, np.array(hs[:-1]))
    return loss, gradients, {"hidden": hs[-1]}


def without_memory(rng: np.random.Generator, cell: str, period: int | None) -> Problem:
    """One in which the memory is the zero slot, or none; a cell state to start from."""
    problem = draw(
        rng,
        (2, OFF, period or OFF),
        steps=15,
        cell=cell,
        zero_start=True,
        empty_memory=bool(rng.random() < 0.3),
    )
    if cell == "lstm":
        problem.start["cell"] = 0.5 * rng.standard_normal(problem.start["cell"].shape)
    return problem


def _compared(
    rng: np.random.Generator, periods: tuple[int | None, ...], wrong: int | None, phase: int
) -> Measured:
    value = control = 0.0
    for period in periods:
        for cell in ("lstm", "tanh"):
            problem = without_memory(rng, cell, period)
            loss, expected = truncated_bptt(problem, period)
            _, other = truncated_bptt(problem, wrong, phase)
            for backend in BACKENDS:
                result = problem.result(backend)
                silent = [result.gradients[name] for name in result.gradients if name not in expected]
                require(not any(gradient.any() for gradient in silent), "attention or V_2 has a gradient")
                value = max(value, abs(result.loss / loss - 1), error(result.gradients, expected))
                control = max(control, error(result.gradients, other))
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O5",
    r"With $k_{att}>T$ the algorithm is TBPTT, segments $1..k{-}1,\ k..2k{-}1,\dots$; attention and $V_2$ have no gradient at all.",
    source="specification, O5",
    metric="largest relative error of a leaf or the loss against TBPTT written segment by segment, LSTM and tanh cells, both backends",
    relation="<=",
    bound=1e-12,
    control="segments one step later",
)
def memory_off(rng: np.random.Generator) -> Measured:
    return _compared(rng, (1, 3, 4, 5, 15), 3, 1)


@claim(
    "sparse_attentive_backtracking/O6",
    r"With $k_{att}>T$ and $k_{trunc}>T$ it is BPTT.",
    source="specification, O6",
    metric="largest relative error of a leaf or the loss against BPTT, LSTM and tanh cells, both backends",
    relation="<=",
    bound=1e-12,
    control="TBPTT that cuts before the last step, as $k_{trunc}=T$ does",
)
def memory_and_truncation_off(rng: np.random.Generator) -> Measured:
    return _compared(rng, (None, None, None, 16), 15, 0)
