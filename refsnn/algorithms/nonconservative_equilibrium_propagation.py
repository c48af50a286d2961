"""Equilibrium propagation without a primitive function, made exact (Scurria et al. 2026).

Near s_* the nudged phase runs the Jacobian J_* = dF/ds where BPTT runs its transpose; they agree only if F is
a gradient.  A linear term in the motion so far, 0 at s_*, turns one into the other:

    s_{t+1} = F(x, s_t, theta) + nudge + (J_*^T - J_*) (s_t - s_*).

With d_t = s_t - s_* and b the force that beta adds to one step, to first order in beta

    d_{t+1} = J_* d_t + (J_*^T - J_*) d_t + b = J_*^T d_t + b,    so that  d_{t+1} - d_t = (J_*^T)^t b,

while nabla_s(t) = (J_*^T)^t dl/ds.  J is that of the whole step, leak and epsilon included; (1 - epsilon) I
cancels in the difference.  What b is decides what is exact, whatever epsilon:

- energy-based (gated or not, any output rule) and prototypical nudged *outside*: b = -epsilon beta dl/ds, and
  Delta_s(t) = (s_{t+1} - s_t) / (epsilon beta B) is -nabla_s(t) for untied weights, any gate, any feedback;
- prototypical nudged *inside*: b = -epsilon beta D_0 dl/ds, D_0 = sigma'(u_0) of the output layer, and
  Delta_s(t) is -nabla_s(t) of another loss, that with the output error times D_0 (with output="linear"
  D_0 = 1).  Here the inside placement, which makes tied networks exact, is the wrong one;
- clamped states: exact where no unit stands at a bound; max pooling: while no maximum moves.

The parameters take Delta_theta(t) = (dF/dtheta)_*^T Delta_s(t), with the derivative of the activation and
epsilon in it, because nabla_theta(t) = (dF/dtheta)_*^T nabla_s(t): equal processes of the states then give
equal processes of the parameters.  (E21) drops that derivative, which is right only where Delta_s carries it;
the exact settings here are those in which it does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.equilibrium_propagation import readout_gradient
from refsnn.algorithms.processes import Processes
from refsnn.algorithms.relaxation import Relaxation, checked_nudge, checked_phases, overflow, settle
from refsnn.algorithms.result import Diagnostics, GradientResult, like
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.couplings import Arrays


def nonconservative_equilibrium_propagation(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    free_steps: int,
    nudged_steps: int,
    nudge: complex,
    symmetric: bool = False,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient estimate -(dF/dtheta)_*^T (s^beta_K - s_*) / (epsilon beta B) with the corrected nudged phase.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network, tied or untied; a prototypical one should be nudged outside its activation.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says.
    inputs : array_like, shape (B, d_N) or (B, C, H, W)
        x.
    targets : array_like, shape (B, *target_shape)
        y.
    free_steps, nudged_steps : int
        T and K <= T.
    nudge : float or complex
        beta, not 0; beta = 1e-30 i gives the limit beta -> 0 to working precision.
    symmetric : bool
        Take the motion from s^{-beta} to s^{beta}, over 2 beta.
    backend : {"plain", "cpu", "cuda"}
        Who runs the free phase; the nudged one is plain.

    Returns
    -------
    GradientResult
        In the sign of dL/dtheta.  For beta -> 0 at a steady state it is BPTT truncated to K steps, in the
        settings that the module names as exact; the error is of order beta, or beta^2 if symmetric.

    Raises
    ------
    TypeError, ValueError
        For bad arguments and for a nudge of 0.
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> from refsnn.algorithms.bptt_convergent import bptt_convergent
    >>> from refsnn.models.convergent import EnergyBasedNetwork
    >>> network = EnergyBasedNetwork((2, 3, 4), tied=False, step_size=0.5)
    >>> rng = np.random.default_rng(0)
    >>> problem = network, network.initialise(rng), rng.random((5, 4)), rng.random((5, 2))
    >>> estimate = nonconservative_equilibrium_propagation(
    ...     *problem, free_steps=300, nudged_steps=20, nudge=1e-30j, backend="plain")
    >>> truth = bptt_convergent(*problem, free_steps=300, steps_back=20, backend="plain")
    >>> name = "coupling.0.1.feedback"
    >>> bool(np.allclose(estimate.gradients[name], truth.gradients[name], rtol=1e-10, atol=1e-15))
    True
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    free_steps, nudged_steps = checked_phases(free_steps, nudged_steps)
    nudge = checked_nudge(model, nudge)
    checks.instance("symmetric", symmetric, bool, "True")
    checks.choice("backend", backend, BACKENDS)
    nudges = (nudge, -nudge) if symmetric else (nudge,)
    drive, start = model.static_drive(parameters, inputs), model.initial_state(parameters, len(inputs))
    free = settle(model, parameters, inputs, start, free_steps, None, 0.0, drive, backend=backend)
    nudged = []
    for amount in nudges:
        state = free.state
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, with words
            for _ in range(nudged_steps):
                state = _corrected_step(model, parameters, state, free.state, inputs, targets, amount, drive)
        _require_finite(state, nudged_steps)
        nudged.append(state)

    before, distance = (nudged[1], 2 * nudge) if symmetric else (free.state, nudge)
    scale = model.step_size * distance * len(inputs)
    motion = {name: (nudged[0][name] - before[name]) / scale for name in before}
    share = model.step_vjp(parameters, free.state, inputs, motion, drive)[1]
    gradients = {name: -value for name, value in share.items()}
    gradients |= readout_gradient(model, parameters, nudged, targets)
    return GradientResult(
        loss=model.loss(parameters, free.state, targets),
        gradients={name: like(parameters[name], gradients[name]) for name in parameters},
        diagnostics=Diagnostics(
            steps_executed=free.steps_executed + nudged_steps * len(nudges),
            bytes_kept=sum(array.nbytes for array in free.state.values()),
            outputs=model.outputs(parameters, free.state),
            residual=free.residual,
            two_cycle=free.two_cycle,
        ),
    )


def nonconservative_processes(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    free: Relaxation,
    *,
    steps: int,
    nudge: complex,
) -> Processes:
    """Delta_s(t) and Delta_theta(t) = (dF/dtheta)_*^T Delta_s(t) of the corrected nudged phase.

    For the same without the correction see `equilibrium_processes`; both are to be compared with
    `bptt_processes`.  All of a read-out's update is made in the first step, as there.

    Parameters
    ----------
    model, parameters, inputs, targets
        As in `nonconservative_equilibrium_propagation`.
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
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> from refsnn.algorithms.processes import bptt_processes
    >>> from refsnn.algorithms.relaxation import relax
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network, x, y = PrototypicalNetwork((2, 3, 4), tied=False), np.ones((1, 4)), np.ones((1, 2))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> free = relax(network, parameters, x, steps=600, keep_last=6, backend="plain")
    >>> updates = nonconservative_processes(network, parameters, x, y, free, steps=5, nudge=1e-30j)
    >>> gradients = bptt_processes(network, parameters, x, y, free, steps=5)
    >>> bool(np.allclose(updates.states["layer.1"], -gradients.states["layer.1"], atol=1e-14))
    True
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    steps = checks.count("steps", steps)
    nudge = checked_nudge(model, nudge)
    steady = model.check_state(free.state, len(inputs), np.result_type(*parameters.values()))
    drive = model.static_drive(parameters, inputs)
    reference = next(iter(parameters.values()))
    scale = model.step_size * nudge * len(inputs)

    state = steady
    slopes = {name: np.zeros_like(parameters[name]) for name in parameters if name.startswith("readout.")}
    states: dict[str, list[np.ndarray]] = {name: [] for name in steady}
    updates: dict[str, list[np.ndarray]] = {name: [] for name in parameters}
    with np.errstate(over="ignore", invalid="ignore"):  # reported below, with words
        for _ in range(steps):
            after = _corrected_step(model, parameters, state, steady, inputs, targets, nudge, drive)
            moved = {name: (after[name] - state[name]) / scale for name in states}
            update = model.step_vjp(parameters, steady, inputs, moved, drive)[1]
            slopes_after = model.loss_gradient(parameters, after, targets)[1]
            update |= {name: slopes[name] - slopes_after[name] for name in slopes}
            for name in states:
                states[name].append(like(reference, moved[name]))
            for name in updates:
                updates[name].append(like(reference, update[name]))
            state, slopes = after, slopes_after
    _require_finite({**state, **update}, steps)
    return Processes(
        {name: np.stack(entries) for name, entries in states.items()},
        {name: np.stack(entries) for name, entries in updates.items()},
    )


def _corrected_step(
    model: ConvergentNetwork,
    parameters: Parameters,
    state: State,
    steady: State,
    inputs: np.ndarray,
    targets: np.ndarray,
    nudge: complex,
    drive: Arrays,
) -> State:
    """F(s) nudged, plus (J_*^T - J_*) (s - s_*): a pull back less a push forward, both at s_*."""
    after = model.step(parameters, state, inputs, targets, nudge, drive)
    moved = {name: state[name] - steady[name] for name in state}
    transposed = model.state_vjp(parameters, steady, inputs, moved, drive)
    straight = model.state_jvp(parameters, steady, inputs, moved, drive)
    return {name: after[name] + transposed[name] - straight[name] for name in after}


def _require_finite(arrays: State, steps: int) -> None:
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise overflow(steps)
