"""O3, N4: sensitivities carried forward through the cut graph, in all directions at once."""

from __future__ import annotations

import numpy as np

from validation.claims.sparse_attentive_backtracking import by_hand
from validation.claims.sparse_attentive_backtracking.by_hand import Arrays, Reading
from validation.claims.sparse_attentive_backtracking.problems import BACKENDS, Problem, draw, error, variety
from validation.ledger import Measured, claim


def output_errors(problem: Problem) -> np.ndarray:
    """dL/dy, (T, B, O)."""
    network, y = problem.network, problem.base.outputs[0].swapaxes(0, 1)
    last = network.readout == "last"
    aims = np.broadcast_to(problem.targets, (len(y), *problem.targets.shape)) if last else problem.targets
    if network.loss_function == "cross_entropy":
        p = np.exp(y - y.max(-1, keepdims=True))
        e = p / p.sum(-1, keepdims=True) - np.eye(y.shape[-1])[aims]
    else:
        e = y - aims
    e /= problem.batch * (1 if last else problem.steps)
    if last:
        e[:-1] = 0
    return e


def weights_dot(
    network: object, reading: Reading, dots: list[np.ndarray], sample: int, slots: list[int]
) -> np.ndarray:
    """w_dot (P, M) of a_dot (P, M) of all samples; udot = adot - adot_theta on S, wdot = (udot - w sum udot) / U."""
    adot, w = dots[sample], reading.weights[0]
    batch, filled = len(dots), adot.shape[1]
    if reading.thresholded:
        mixed = network.mix_batch  # type: ignore[attr-defined]
        owners = [(sample * filled + j) % batch if mixed else sample for j in range(filled)]
        shifts = np.stack([dots[owner][:, slots[owner]] for owner in owners], 1)
        udot = np.where(reading.alive[0], adot - shifts, 0)
        return (udot - w * udot.sum(1, keepdims=True)) / reading.normaliser[0]
    if not reading.alive.any():
        return np.zeros_like(adot)
    if np.array_equal(w, reading.scores[0]):
        return adot
    return w * (adot - (w * adot).sum(1, keepdims=True))


def sensitivities(problem: Problem, slots_cut: bool = False) -> Arrays:
    """dL/d(parameters, start); with `slots_cut` the memories forget at cuts too, which is wrong."""
    network, base, p = problem.network, problem.base, problem.parameters
    point = {name: value for name, value in problem.point.items() if name != "inputs"}
    units = {
        name: value - point[name] for name, value in by_hand.ensembles(point, 1.0).items()
    }  # one-hot: which number a direction moves
    count, batch, h = len(next(iter(units.values()))), problem.batch, network.widths[1]
    lstm, cut, ybar = network.cell == "lstm", by_hand.cuts_of(network), output_errors(problem)
    hdot = [units["start.hidden"][:, b] for b in range(batch)]
    cdot = [units["start.cell"][:, b] if lstm else np.zeros((count, h)) for b in range(batch)]
    mdot: list[list[np.ndarray]] = [[] if network.empty_memory else [hdot[b]] for b in range(batch)]
    dots = np.zeros(count)

    def linear(name: str, value: np.ndarray, dot: np.ndarray | None) -> np.ndarray:
        """(W v)_dot."""
        moved = np.einsum("prc,c->pr", units[name], value)
        return moved if dot is None else moved + dot @ p[name].T

    for t in range(1, problem.steps + 1):
        if cut(t):
            hdot, cdot = [np.zeros((count, h))] * batch, [np.zeros((count, h))] * batch
            if slots_cut:
                mdot = [[np.zeros((count, h))] * len(row) for row in mdot]
        asked, adots = [], []
        for b in range(batch):
            before = base.hidden[b][t - 1][0]
            zdot = linear("cell.input_weight", problem.inputs[t - 1, b], None) + units["cell.input_bias"]
            zdot = zdot + linear("cell.recurrent_weight", before, hdot[b]) + units["cell.recurrent_bias"]
            if lstm:
                z = p["cell.input_weight"] @ problem.inputs[t - 1, b] + p["cell.recurrent_weight"] @ before
                z = z + p["cell.input_bias"] + p["cell.recurrent_bias"]
                (zi, zf, zg, zo), (di, df, dg, do) = np.split(z, 4), np.split(zdot, 4, axis=1)
                i, f, g, o = (1 / (1 + np.exp(-v)) if v is not zg else np.tanh(v) for v in (zi, zf, zg, zo))
                past, squashed = base.cell[b][t - 1][0], np.tanh(base.cell[b][t][0])
                cdot[b : b + 1] = [
                    cdot[b] * f + df * f * (1 - f) * past + di * i * (1 - i) * g + dg * (1 - g * g) * i
                ]
                qdot = do * o * (1 - o) * squashed + o * (1 - squashed**2) * cdot[b]
            else:
                qdot = zdot * (1 - base.provisional[b][t - 1][0] ** 2)
            asked.append(qdot)
            adots.append(_scores_dot(problem, linear, units, b, t, qdot, mdot[b]))
        slots = [-1 if r is None else int(r.threshold_slot[0]) for r in (row[t - 1] for row in base.readings)]
        fresh = []
        for b in range(batch):
            sdot, reading = np.zeros((count, h)), base.readings[b][t - 1]
            if reading is not None:
                wdot = weights_dot(network, reading, adots, b, slots)
                for j, slot in enumerate(mdot[b]):
                    sdot += wdot[:, j, None] * base.memory[b][j][0]
                    if "value" not in network.detached:
                        sdot += reading.weights[0, j] * slot
            fresh.append(asked[b] + sdot if network.augmented else asked[b])
            ydot = linear("readout.weight", base.hidden[b][t][0], fresh[b]) + units["readout.bias"]
            ydot += linear("readout.summary_weight", base.summary[b][t - 1][0], sdot)
            dots += ydot @ ybar[t - 1, b]
        hdot = fresh
        if t % network.store_every == 0:
            for b in range(batch):
                mdot[b].append(hdot[b])
    return by_hand.leafwise(dots, point)


def _scores_dot(problem, linear, units, b, t, qdot, mdot):  # type: ignore[no-untyped-def]
    """a_dot of all slots of a sample, (P, M)."""
    network, p, base = problem.network, problem.parameters, problem.base
    query = base.provisional[b][t - 1][0]
    if network.score != "mlp":
        query = np.tanh(query)
        qdot = qdot * (1 - query**2)
    qdot = None if "query" in network.detached else qdot
    found = []
    for j, slot in enumerate(mdot):
        memory, dot = base.memory[b][j][0], slot
        if network.score != "mlp":
            memory = np.tanh(memory)
            dot = dot * (1 - memory**2)
        dot = None if "key" in network.detached else dot
        raised = linear("attention.memory_weight", memory, dot) + linear(
            "attention.query_weight", query, qdot
        )
        if network.score == "separable":
            found.append(raised[:, 0])
            continue
        e = np.tanh(p["attention.memory_weight"] @ memory + p["attention.query_weight"] @ query)
        moved = raised * (1 - e**2) @ p["attention.score_weight"]
        found.append(units["attention.score_weight"] @ e + moved)
    return np.stack(found, 1) if found else np.zeros((len(units["readout.bias"]), 0))


@claim(
    "sparse_attentive_backtracking/O3",
    r"The reverse sweep gives what sensitivities carried forward give, $(\dot h,\dot c)$ set to zero at cuts and $\dot m_j$ not.",
    source="specification, O3",
    metric="largest relative error of a leaf, 18 networks, both backends",
    relation="<=",
    bound=1e-11,
    control=r"$\dot m_j$ set to zero at cuts too",
)
def carried_forward(rng: np.random.Generator) -> Measured:
    value = control = skipped = 0.0
    for problem in variety(rng):
        expected = sensitivities(problem)
        value = max(value, *(error(problem.leaves(backend), expected) for backend in BACKENDS))
        control = max(control, error(problem.leaves(), sensitivities(problem, slots_cut=True)))
        skipped += problem.skipped
    return Measured(value, control, {"draws skipped": int(skipped)})


@claim(
    "sparse_attentive_backtracking/N4",
    r"Detaching everything at the boundary, the memories too, is another algorithm: neither that with full mental updates nor that with none.",
    source="specification, N4",
    metric="smaller of the two errors, largest leaf, smallest of 6 networks",
    relation=">=",
    bound=1e-3,
    control=r"$\dot m_j$ carried on: the error with respect to full updates",
)
def memories_detached_at_cuts(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for _ in range(6):
        problem = draw(rng, (2, 2, 3))
        wrong = sensitivities(problem, slots_cut=True)
        none = problem.changed(detached=("query", "key", "value")).leaves()
        values += [error(problem.leaves(), wrong), error(none, wrong)]
        controls.append(error(problem.leaves(), sensitivities(problem)))
    return Measured(min(values), max(controls), {"largest": max(values)})
