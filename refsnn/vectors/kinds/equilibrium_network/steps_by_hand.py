"""Rules of convergent networks that say something at each step, written out once more."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from refsnn.vectors.case import Leaves
from refsnn.vectors.kinds.equilibrium_network.by_hand import Arrays, Network, State
from refsnn.vectors.kinds.equilibrium_network.products_by_hand import (
    by_step,
    field,
    gradients,
    nudge_of,
    of_couplings,
    products,
    readout_change,
    scale,
)
from refsnn.vectors.kinds.every_direction import derivatives


def update_of_a_step(network: Network, p: Arrays, after: State, s: State, before: State, x: Any) -> Arrays:
    """What one step says, times beta B: a change of products, or motion times what arrives if untied."""
    if network.given["tied"]:
        late, early = products(network, p, after, x), products(network, p, before, x)
        return {name: late[name] - early[name] for name in late}
    moved = [a - b for a, b in zip(after, before, strict=True)]
    return field(network, p, moved, after if "reads-after" in network.made else s, x)


def continual(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(A6)."""
    given, made = network.given, network.made
    theta, s = {name: array for name, array in p.items() if not name.startswith("rate/")}, free
    rates = {name: p.get(f"rate/{name}", given["learning_rate"]) for name in theta}
    if "one-rate" in made:
        rates = dict.fromkeys(theta, next(iter(rates.values())))
    total: Arrays = dict.fromkeys(theta, 0.0)
    updates = []
    by = scale(network, given["nudge"], len(x), 1)
    for t in range(given["nudged_steps"]):
        after = network.step(theta, s, x, network.force(theta, s, y, given["nudge"]))
        before = free if "contrast-from-free" in made else s
        found = update_of_a_step(network, theta, after, s, before, x)
        update = {name: value / by for name, value in found.items()}
        update |= readout_change(network, theta, after, s, y, t == 0)
        total = {name: total[name] + update[name] for name in theta}
        if "parameters-held" not in made:
            theta = {name: theta[name] + rates[name] * update[name] for name in theta}
        updates.append(_over_epsilon(network, after, s, by) | update)
        s = after
    learned = {f"learned/{name}": value for name, value in theta.items()}
    if given.get("updates", False):
        learned |= _stacked("updates", updates)
    return learned | gradients({name: -value for name, value in total.items()})


def processes(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E6), step by step."""
    given, beta = network.given, nudge_of(network)
    s, found = free, []
    by = scale(network, beta, len(x), 1)
    for t in range(given["nudged_steps"]):
        after = network.step(p, s, x, network.force(p, s, y, beta))
        update = {name: v / by for name, v in update_of_a_step(network, p, after, s, s, x).items()}
        update |= readout_change(network, p, after, s, y, t == 0)
        found.append(_over_epsilon(network, after, s, by) | update)
        s = after
    states = {f"states/nudged/{name}": array for name, array in network.shaped(s).items()}
    return states | _stacked("updates", found) | _totals(found, p)


def jacobian(network: Network, p: Arrays, s: State, x: Any) -> np.ndarray:
    """dF/ds of each sample, (B, D, D), by complex step."""
    whole = np.concatenate(s, axis=-1)
    columns = []
    for unit in range(whole.shape[-1]):
        moved = whole + 1e-30j * (np.arange(whole.shape[-1]) == unit)
        after = network.step(p, cut(moved, s), x)
        columns.append(np.concatenate(after, axis=-1).imag / 1e-30)
    return np.stack(columns, axis=-1)


def cut(whole: Any, s: State) -> State:
    """Units of all layers in a row as a state."""
    return np.split(whole, np.cumsum([array.shape[-1] for array in s])[:-1], axis=-1)


def corrected(network: Network, p: Arrays, x: Any, y: Any, free: State, beta: Any) -> list[State]:
    """States of the nudged phase with (J^T - J)(s - s_*), the first is s_*."""
    made = network.made
    steady, at_it = np.concatenate(free, axis=-1), jacobian(network, p, free, x)
    turned = np.swapaxes(at_it, -1, -2) - at_it
    turned = 0 * turned if "uncorrected" in made else -turned if "correction-sign" in made else turned
    states = [free]
    for _ in range(network.given["nudged_steps"]):
        s = states[-1]
        after = network.step(p, s, x, network.force(p, s, y, beta))
        extra = np.einsum("bij,bj->bi", turned, np.concatenate(s, axis=-1) - steady)
        states.append([a + b for a, b in zip(after, cut(extra, s), strict=True)])
    return states


def corrected_processes(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(dF/dtheta)^T of the motion of each corrected step."""
    beta, found = nudge_of(network), []
    by = scale(network, beta, len(x), 1) * (1.0 if "no-epsilon" in network.made else network.epsilon)
    states = corrected(network, p, x, y, free, beta)
    for t, (s, after) in enumerate(pairwise(states)):
        moved = [(a - b) / by for a, b in zip(after, s, strict=True)]
        update = by_step(network, p, moved, free, x) | readout_change(network, p, after, s, y, t == 0)
        found.append(network.shaped(moved) | update)
    return _stacked("updates", found) | _totals(found, p)


def steps_back(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E4) step by step: each step alone is derived by its parameters, each state by itself."""
    steps, found = network.given["nudged_steps"], []
    states = [network.settle(p, start_of(network, p, x), x, network.given["free_steps"] - steps)]
    for _ in range(steps):
        states.append(network.step(p, states[-1], x))
    for t in range(steps):
        s, before = states[steps - t], states[steps - t - 1]
        named = {f"layer.{n}": array for n, array in enumerate(s)}

        def by_state(moved: Arrays, t: int = t, depth: int = len(s)) -> Any:
            end = network.settle(p, [moved[f"layer.{n}"] for n in range(depth)], x, t)
            return network.loss(p, end, y)

        def by_parameter(moved: Arrays, t: int = t, before: State = before) -> Any:
            end = network.settle(p, network.step(moved, before, x), x, t)
            return network.loss(moved if t == 0 else p, end, y)

        back = derivatives(by_state, named, list(named))
        shaped = network.shaped([back[name] for name in named])
        found.append(shaped | derivatives(by_parameter, p, list(p)))
    return _stacked("back", found) | gradients(
        {name: np.sum([entry[name] for entry in found], axis=0) for name in p}
    )


def start_of(network: Network, p: Arrays, x: Any) -> State:
    """Where the free phase starts: 0, or where the case says."""
    return network.start if network.start is not None else network.zeros(len(x))


def _over_epsilon(network: Network, after: State, s: State, by: Any) -> Arrays:
    epsilon = 1.0 if "no-epsilon" in network.made else network.epsilon
    return network.shaped([(a - b) / by / epsilon for a, b in zip(after, s, strict=True)])


def _stacked(head: str, found: list[Arrays]) -> Leaves:
    return {f"{head}/{name}": np.real(np.stack([entry[name] for entry in found])) for name in found[0]}


def _totals(found: list[Arrays], p: Arrays) -> Leaves:
    names = [*of_couplings(p), *(name for name in p if name.startswith("readout"))]
    return gradients({name: -np.sum([entry[name] for entry in found], axis=0) for name in names})
