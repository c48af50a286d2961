"""Equilibrium propagation: the contrast of two relaxations is the gradient (Ernoult et al. 2019).

Free phase: relax to s_*.  Nudged phase: from s_*, K more steps while the output feels a force of strength
beta towards the target.  With the Hebbian products dPhi/dtheta,

    Delta-hat(beta, K) = 1 / (beta B) sum_b [ dPhi/dtheta(s^beta_K) - dPhi/dtheta(s_*) ]         (E7)

tends for beta -> 0, at the steady state of a gradient system, to minus the BPTT gradient truncated to the
last K steps (E8); to the full -dL_*/dtheta for K -> infinity.  The symmetric variant (Laborieux et al.
2021) contrasts +beta with -beta, both from the same s_*, and so removes the first order of the bias and
the drift of an unfinished free phase.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.relaxation import checked_nudge, checked_phases, free_and_nudged
from refsnn.algorithms.result import Diagnostics, GradientResult, like
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent_network import ConvergentNetwork


def equilibrium_propagation(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    free_steps: int,
    nudged_steps: int,
    nudge: complex,
    symmetric: bool = False,
    stale_index: bool = False,
    tolerance: float | None = None,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient estimate -Delta-hat by one-sided or symmetric equilibrium propagation.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network, with tied weights.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says.
    inputs : array_like, shape (B, d_N)
        x.
    targets : array_like, shape (B, d_0)
        y.
    free_steps, nudged_steps : int
        T and K <= T.
    nudge : float or complex
        beta, not 0.  With beta = 1e-30 i the result is the limit beta -> 0 to working precision at a
        steady state; after an unfinished free phase it is the part without drift, as `symmetric` gives.
    symmetric : bool
        Contrast +beta with -beta instead of +beta with the free phase.
    stale_index : bool
        Take the pooling maxima of the products from one step before the end of each phase, as the authors'
        code does; the same but where a maximum moves in the last step.
    tolerance : float, optional
        End the free phase when a step moves no unit by more; `free_steps` is then the most it may take.
    backend : {"plain", "cpu", "cuda"}
        Who runs the relaxations.

    Returns
    -------
    GradientResult
        Gradients in the sign of dL/dtheta: descend on them.  The loss is that of the free phase.
        `diagnostics.residual` is that of s_T, the end of the free phase.  A one-sided contrast with a
        real beta carries a drift of about residual / |beta|: trust it only where that is small.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, for a nudge of 0, and for untied networks.
    FloatingPointError
        If the states overflow.
    NotSettledError
        If a tolerance was asked for and not reached: the network cycles, or needs more steps.

    Examples
    --------
    >>> from refsnn.models.convergent import EnergyBasedNetwork
    >>> network = EnergyBasedNetwork((2, 3, 4))
    >>> rng = np.random.default_rng(0)
    >>> result = equilibrium_propagation(
    ...     network, network.initialise(rng), rng.random((5, 4)), rng.random((5, 2)),
    ...     free_steps=400, nudged_steps=30, nudge=0.01, symmetric=True)
    >>> result.gradients["coupling.0.1.weight"].shape, result.diagnostics.residual < 1e-12
    ((2, 3), True)
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    free_steps, nudged_steps = checked_phases(free_steps, nudged_steps)
    nudge = checked_nudge(model, nudge)
    checks.instance("symmetric", symmetric, bool, "True")
    checks.instance("stale_index", stale_index, bool, "True")
    checks.choice("backend", backend, BACKENDS)
    nudges = (nudge, -nudge) if symmetric else (nudge,)
    free, nudged = free_and_nudged(
        model,
        parameters,
        inputs,
        targets,
        free_steps,
        nudged_steps,
        nudges,
        keep_last=2 if stale_index else 0,
        backend=backend,
        tolerance=tolerance,
    )

    after, before = nudged[0], nudged[1] if symmetric else free.kept or (free.state,)
    distance = 2 * nudge if symmetric else nudge
    gradients = model.primitive_contrast(
        parameters,
        after[-1],
        before[-1],
        inputs,
        -1 / (distance * len(inputs)),
        (after[0], before[0]) if stale_index else None,
    )
    gradients |= readout_gradient(model, parameters, [kept[-1] for kept in nudged], targets)
    return GradientResult(
        loss=model.loss(parameters, free.state, targets),
        gradients={name: like(parameters[name], gradients[name]) for name in parameters},
        diagnostics=Diagnostics(
            steps_executed=free.steps_executed + nudged_steps * len(nudges),
            bytes_kept=sum(
                array.nbytes
                for kept in (*nudged[1:], free.kept or (free.state,))
                for state in kept
                for array in state.values()
            ),
            outputs=model.outputs(parameters, free.state),
            residual=free.residual,
            two_cycle=free.two_cycle,
        ),
    )


def readout_gradient(
    model: ConvergentNetwork, parameters: Parameters, nudged: list[State], targets: Any
) -> Parameters:
    """dL/dtheta of a read-out outside the dynamics, a mean over the nudged states; empty without one.

    The nudged phase descends Phi - beta l, and l is the only term with W_out: the contrast over beta is the
    slope of l itself at the nudged states (section 2.7 b of the specification).

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> readout_gradient(PrototypicalNetwork((1, 1)), {}, [{"layer.0": np.zeros((1, 1))}], np.zeros((1, 1)))
    {}
    """
    slopes = [model.loss_gradient(parameters, state, targets)[1] for state in nudged]
    return {name: np.mean([slope[name] for slope in slopes], axis=0) for name in slopes[0]}
