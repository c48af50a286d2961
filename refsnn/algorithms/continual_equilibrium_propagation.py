"""Continual equilibrium propagation: the parameters learn while the nudged phase runs (Ernoult et al. 2020).

Nothing is stored between the phases: after each nudged step the parameters move by what that step alone
says, and the next step is made with the new ones.  Inside step t, in this order (A6),

    s_{t+1}     = F(x, s_t, theta_t), nudged,
    theta_{t+1} = theta_t + eta Delta_theta(t),

    Delta_theta(t) = 1 / (beta B) sum_b [ dPhi/dtheta(s_{t+1}) - dPhi/dtheta(s_t) ],           tied weights,
    Delta W_n(t)   = 1 / (beta B) sum_b (s^n_{t+1} - s^n_t)^T h_{n+1}(s^{n+1}_t),
    Delta V_n(t)   = 1 / (beta B) sum_b (s^{n+1}_{t+1} - s^{n+1}_t)^T h_n(s^n_t),
    Delta b_n(t)   = 1 / (beta B) sum_b (s^n_{t+1} - s^n_t),                           untied weights, (E21).

Each coupling has its learning rate eta; dPhi/dtheta does not contain theta, but for the place of pooling
maxima, which is that under theta_t.  With moving parameters the steady state moves too, so the processes
are those of plain equilibrium propagation up to an error of order eta / beta, and equal them at eta = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.processes import Processes
from refsnn.algorithms.relaxation import checked_nudge, checked_phases, overflow, settle
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters, State, zeros_like
from refsnn.models.convergent_network import ConvergentNetwork


@dataclass(frozen=True)
class ContinualResult(GradientResult):
    """What was learned in one nudged phase.

    `gradients` are minus the summed Delta_theta(t): (old - new) / eta, without dividing by it.

    Attributes
    ----------
    parameters : dict of ndarray
        theta_K.
    processes : Processes or None
        If asked for: Delta_s(t) = (s_{t+1} - s_t) / (epsilon beta B) and
        Delta_theta(t) = (theta_{t+1} - theta_t) / eta, in the conventions of `equilibrium_processes`.
    """

    parameters: Parameters
    processes: Processes | None


def continual_equilibrium_propagation(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    free_steps: int,
    nudged_steps: int,
    nudge: float,
    learning_rates: float | Mapping[str, float],
    keep_processes: bool = False,
    backend: str = "cpu",
) -> ContinualResult:
    """One mini-batch of C-EP (tied weights) or C-VF (untied weights), (A6).

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network.  A read-out is a part of Phi - beta l alone; it moves by the change of -dl/dtheta in
        each step, both ends taken with theta_t, and from 0 at the start.
    parameters : dict of ndarray
        theta_0, as `model.parameter_shapes()` says; left as they are.
    inputs : array_like, shape (B, d_N) or (B, C, H, W)
        x.
    targets : array_like, shape (B, *target_shape)
        y.
    free_steps, nudged_steps : int
        T and K <= T.
    nudge : float
        beta, not 0, of any sign; real, for the parameters move by it.
    learning_rates : float, or dict of str to float
        eta, 0 or larger: one for all, or one for each parameter by name.  0 holds a parameter still; the
        authors' discrete vector field holds the bias of the layer next to the input.
    keep_processes : bool
        Whether to keep what happened step by step.
    backend : {"plain", "cpu", "cuda"}
        Who runs the free phase; the nudged one is plain, for its parameters move.

    Returns
    -------
    ContinualResult
        The loss is that of the free phase.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, a nudge of 0, and learning rates that are negative, missing or unknown.
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network = PrototypicalNetwork((2, 3, 4))
    >>> rng = np.random.default_rng(0)
    >>> parameters = network.initialise(rng)
    >>> result = continual_equilibrium_propagation(
    ...     network, parameters, rng.random((5, 4)), rng.random((5, 2)),
    ...     free_steps=100, nudged_steps=10, nudge=0.1, learning_rates=0.5, backend="plain")
    >>> equivalent = (parameters["coupling.0.1.bias"] - result.parameters["coupling.0.1.bias"]) / 0.5
    >>> bool(np.allclose(equivalent, result.gradients["coupling.0.1.bias"], rtol=1e-12))
    True
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    if any(np.iscomplexobj(array) for array in (*parameters.values(), inputs, targets)):
        raise TypeError("parameters, inputs, targets: expected real arrays, got complex ones")
    free_steps, nudged_steps = checked_phases(free_steps, nudged_steps)
    beta = float(checked_nudge(model, checks.number("nudge", nudge)).real)
    rates = checked_learning_rates(learning_rates, list(parameters))
    checks.instance("keep_processes", keep_processes, bool, "True")
    checks.choice("backend", backend, BACKENDS)
    drive, start = model.static_drive(parameters, inputs), model.initial_state(parameters, len(inputs))
    free = settle(model, parameters, inputs, start, free_steps, None, 0.0, drive, backend=backend)

    theta, state, batch = parameters, free.state, len(inputs)
    total = zeros_like(parameters)
    motions: list[State] = []
    updates: list[Parameters] = []
    with np.errstate(over="ignore", invalid="ignore"):  # reported below, with words
        for t in range(nudged_steps):
            after = model.step(theta, state, inputs, targets, beta)
            contrast = _contrast(model, theta, after, state, inputs)
            update = {name: value / (beta * batch) for name, value in contrast.items()}
            update |= _readout_update(model, theta, after, state, targets, first=t == 0)
            theta = {name: theta[name] + rates[name] * update[name] for name in theta}
            total = {name: total[name] + update[name] for name in total}
            if keep_processes:
                scale = model.step_size * beta * batch
                motions.append({name: (after[name] - state[name]) / scale for name in state})
                updates.append(update)
            state = after
    if not all(np.isfinite(array).all() for arrays in (state, theta, total) for array in arrays.values()):
        raise overflow(nudged_steps)
    processes = None
    if keep_processes:
        processes = Processes(
            {name: np.stack([motion[name] for motion in motions]) for name in state},
            {name: np.stack([update[name] for update in updates]) for name in theta},
        )
    return ContinualResult(
        loss=model.loss(parameters, free.state, targets),
        gradients={name: -value for name, value in total.items()},
        diagnostics=Diagnostics(
            steps_executed=free.steps_executed + nudged_steps,
            bytes_kept=sum(array.nbytes for motion in motions for array in motion.values())
            + sum(array.nbytes for arrays in (total, *updates) for array in arrays.values()),
            outputs=model.outputs(parameters, free.state),
            residual=free.residual,
            two_cycle=free.two_cycle,
        ),
        parameters=theta,
        processes=processes,
    )


def _contrast(
    model: ConvergentNetwork, theta: Parameters, after: State, state: State, inputs: np.ndarray
) -> Parameters:
    """beta B Delta_theta(t) of the couplings: Hebbian products after minus before, or (E21) if untied."""
    if not model.tied:
        moved = {name: after[name] - state[name] for name in state}
        return model.vector_field_update(theta, moved, state, inputs)
    products_after = model.primitive_gradient(theta, after, inputs)
    products = model.primitive_gradient(theta, state, inputs)
    return {name: products_after[name] - products[name] for name in products}


def _readout_update(
    model: ConvergentNetwork, theta: Parameters, after: State, state: State, targets: np.ndarray, first: bool
) -> Parameters:
    """-dl/dtheta of a read-out at s_{t+1} less that at s_t, or less 0: the free phase does not feel it."""
    slopes_after = model.loss_gradient(theta, after, targets)[1]
    slopes = model.loss_gradient(theta, state, targets)[1]
    return {name: -value if first else slopes[name] - value for name, value in slopes_after.items()}


def checked_learning_rates(value: Any, names: list[str]) -> dict[str, float]:
    """Return one learning rate a parameter, from one for all or one by name.

    Raises
    ------
    TypeError, ValueError
        If a rate is no finite number of at least 0, or names are missing or unknown.

    Examples
    --------
    >>> checked_learning_rates(0.1, ["weight", "bias"])
    {'weight': 0.1, 'bias': 0.1}
    >>> checked_learning_rates({"weight": 0.1}, ["weight", "bias"])
    Traceback (most recent call last):
    ...
    ValueError: learning_rates: expected a rate for each of ['bias', 'weight']; missing ['bias'], unknown []
    """
    if not isinstance(value, Mapping):
        rate = checks.number("learning_rates", value, 0)
        return dict.fromkeys(names, rate)
    missing, unknown = sorted(set(names) - set(value)), sorted(set(value) - set(names))
    if missing or unknown:
        raise ValueError(
            f"learning_rates: expected a rate for each of {sorted(names)}; "
            f"missing {missing}, unknown {unknown}"
        )
    return {name: checks.number(f"learning_rates[{name!r}]", value[name], 0) for name in names}
