"""Step by step: the updates of the nudged phase beside the gradients of backpropagation.

The theorem of Ernoult et al. 2019 (E8) is about processes, not totals: at a steady state held for K steps,
for beta -> 0 and a gradient system,

    Delta_s(t) = -nabla_s(t),    Delta_theta(t) = -nabla_theta(t),    t = 0 ... K-1,

where Delta runs forward through the nudged phase (E6) and nabla backward through the free one (E4).
Conventions: states per sample, parameters as batch means; both carry the 1/B; nothing is masked or
cumulated; Delta_s is divided by epsilon beta, Delta_theta by beta alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.relaxation import Relaxation, checked_nudge
from refsnn.algorithms.result import like
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent_network import ConvergentNetwork


@dataclass(frozen=True)
class Processes:
    """K steps of something, one array a layer and one a parameter.

    Attributes
    ----------
    states : dict of ndarray
        Layer name to (K, B, d_n).
    parameters : dict of ndarray
        Parameter name to (K, *shape).
    """

    states: State
    parameters: Parameters

    def total(self) -> Parameters:
        """Sum over the steps of every parameter process.

        Examples
        --------
        >>> Processes({}, {"weight": np.ones((3, 2))}).total()
        {'weight': array([3., 3.])}
        """
        return {name: array.sum(axis=0) for name, array in self.parameters.items()}


def equilibrium_processes(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    free: Relaxation,
    *,
    steps: int,
    nudge: complex,
) -> Processes:
    """Delta_s(beta, t) and Delta_theta(beta, t) of (E6), from the end of a free phase.

    An untied network has no primitive function; its Delta_theta is that of (E21), the motion of one side
    times what it reads at s_t, over beta B, without the derivative of the activation.  A read-out is seen by
    -beta l alone, which is there from the first nudged step on, so its update is made in that step.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network.
    parameters, inputs, targets
        As in `equilibrium_propagation`.
    free : Relaxation
        The free phase, from `relax`.
    steps : int
        K.
    nudge : float or complex
        beta, not 0.

    Returns
    -------
    Processes
        Real for real parameters.

    Raises
    ------
    TypeError, ValueError
        For bad arguments and a nudge of 0.

    Examples
    --------
    >>> from refsnn.algorithms.relaxation import relax
    >>> from refsnn.models.convergent import EnergyBasedNetwork
    >>> network, x, y = EnergyBasedNetwork((2, 3, 4)), np.ones((1, 4)), np.ones((1, 2))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> free = relax(network, parameters, x, steps=400, keep_last=6)
    >>> updates = equilibrium_processes(network, parameters, x, y, free, steps=5, nudge=1e-30j)
    >>> gradients = bptt_processes(network, parameters, x, y, free, steps=5)
    >>> bool(np.allclose(updates.states["layer.1"], -gradients.states["layer.1"], atol=1e-14))
    True
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    steps = checks.count("steps", steps)
    nudge = checked_nudge(model, nudge)
    batch, drive = len(inputs), model.static_drive(parameters, inputs)
    reference = next(iter(parameters.values()))

    state = model.check_state(free.state, batch, np.result_type(*parameters.values()))
    products = model.primitive_gradient(parameters, state, inputs) if model.tied else {}
    slopes = {name: np.zeros_like(parameters[name]) for name in parameters if name.startswith("readout.")}
    states: dict[str, list[np.ndarray]] = {name: [] for name in state}
    updates: dict[str, list[np.ndarray]] = {name: [] for name in parameters}
    for _ in range(steps):
        after = model.step(parameters, state, inputs, targets, nudge, drive)
        moved = {name: after[name] - state[name] for name in states}
        if model.tied:
            products_after = model.primitive_gradient(parameters, after, inputs)
            step = {name: products_after[name] - products[name] for name in products}
            products = products_after
        else:
            step = model.vector_field_update(parameters, moved, state, inputs)
        slopes_after = model.loss_gradient(parameters, after, targets)[1]
        for name in states:
            states[name].append(like(reference, moved[name] / (model.step_size * nudge) / batch))
        for name in updates:
            update = slopes[name] - slopes_after[name] if name in slopes else step[name] / nudge / batch
            updates[name].append(like(reference, update))
        state, slopes = after, slopes_after
    return Processes(_stacked(states), _stacked(updates))


def bptt_processes(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    free: Relaxation,
    *,
    steps: int,
    start: State | None = None,
) -> Processes:
    """nabla_s(t) and nabla_theta(t) of (E4), in one backward sweep over a free phase.

    Parameters
    ----------
    model, parameters, inputs, targets
        As in `equilibrium_processes`.
    free : Relaxation
        The free phase, from ``relax(..., keep_last=steps + 1)``.
    steps : int
        K.
    start : dict of ndarray, optional
        nabla_s(0); by default dL/ds_T = (s^0_T - y) / B on the output layer.

    Returns
    -------
    Processes

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and when fewer than K + 1 states were kept.

    Examples
    --------
    >>> from refsnn.algorithms.relaxation import relax
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network, x, y = PrototypicalNetwork((2, 3, 4)), np.ones((1, 4)), np.ones((1, 2))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> free = relax(network, parameters, x, steps=100, keep_last=4)
    >>> bptt_processes(network, parameters, x, y, free, steps=3).parameters["coupling.0.1.weight"].shape
    (3, 2, 3)
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    steps = checks.count("steps", steps)
    if len(free.kept) < steps + 1:
        raise ValueError(
            f"free: expected at least {steps + 1} kept states for {steps} steps, got {len(free.kept)}; "
            f"relax with keep_last={steps + 1}"
        )
    dtype = np.result_type(*parameters.values())
    kept = [model.check_state(state, len(inputs), dtype) for state in free.kept[-1 - steps :]]
    drive = model.static_drive(parameters, inputs)
    adjoint, direct = model.loss_gradient(parameters, kept[-1], targets)
    if start is not None:
        adjoint = model.check_state(start, len(inputs), dtype)
    states: dict[str, list[np.ndarray]] = {name: [] for name in adjoint}
    gradients: dict[str, list[np.ndarray]] = {name: [] for name in parameters}
    for t in range(steps):
        for name in states:
            states[name].append(adjoint[name])
        # linearised at s_{T-t-1}, the state that the step started from
        adjoint, share = model.step_vjp(parameters, kept[-2 - t], inputs, adjoint, drive)
        for name in gradients:
            # the loss sees a read-out once, at the last state
            gradients[name].append(share[name] + direct[name] if t == 0 and name in direct else share[name])
    return Processes(_stacked(states), _stacked(gradients))


def _stacked(lists: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack(entries) for name, entries in lists.items()}


def relative_rmse(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The papers' metric, entry by entry: sqrt(sum_t (n_t - d_t)^2 / max(sum_t n_t^2, sum_t d_t^2)).

    Parameters
    ----------
    first, second : ndarray, shape (K, ...)
        Two processes in the same sign.

    Returns
    -------
    ndarray, shape (...)
        In [0, 2]; 0 where both vanish.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> relative_rmse(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[-1.0, 0.0], [-1.0, 0.0]]))
    array([2., 0.])
    """
    if first.shape != second.shape:
        raise ValueError(f"second: expected shape {first.shape} like the first process, got {second.shape}")
    difference = ((first - second) ** 2).sum(axis=0)
    size = np.maximum((first**2).sum(axis=0), (second**2).sum(axis=0))
    return np.sqrt(difference / np.where(size > 0, size, np.ones_like(size)))


def compare_processes(
    updates: Processes, gradients: Processes, mask: bool = False
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of `relative_rmse` over the entries of each layer and parameter.

    As in the papers' figures: states are summed over the batch and taken step by step, parameters are
    cumulated over the steps, and the sign of the updates is flipped.

    Parameters
    ----------
    updates, gradients : Processes
        From `equilibrium_processes` and `bptt_processes`, of the same K.
    mask : bool
        Take the steps t < n of layer n as 0 on both sides, as the authors' code does.

    Returns
    -------
    dict of str to (mean, standard deviation)
        Of the layers, then of the parameters; the deviation has divisor n - 1 and is 0 for one entry.

    Raises
    ------
    ValueError
        If the two have different K.

    Examples
    --------
    >>> same = Processes({"layer.0": np.ones((2, 1, 3))}, {"bias": np.ones((2, 3))})
    >>> flipped = Processes({"layer.0": -same.states["layer.0"]}, {"bias": -same.parameters["bias"]})
    >>> compare_processes(same, flipped)
    {'layer.0': (0.0, 0.0), 'bias': (0.0, 0.0)}
    """
    lengths = [len(next(iter(process.states.values()))) for process in (updates, gradients)]
    if lengths[0] != lengths[1]:
        raise ValueError(f"gradients: expected {lengths[0]} steps like the updates, got {lengths[1]}")
    errors = {}
    for name, update in updates.states.items():
        pair = [-update.sum(axis=1), gradients.states[name].sum(axis=1)]
        if mask:
            reached = int(name.split(".")[1])
            pair = [np.concatenate([np.zeros_like(array[:reached]), array[reached:]]) for array in pair]
        errors[name] = relative_rmse(*pair)
    for name, update in updates.parameters.items():
        errors[name] = relative_rmse(-update.cumsum(axis=0), gradients.parameters[name].cumsum(axis=0))
    return {
        name: (float(error.mean()), float(error.std(ddof=1)) if error.size > 1 else 0.0)
        for name, error in errors.items()
    }
