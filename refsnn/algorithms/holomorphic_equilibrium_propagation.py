"""Holomorphic equilibrium propagation: exact at a finite nudge (Laborieux & Zenke 2022).

The nudged steady state is an analytic function of beta, so its derivative at 0 is a Cauchy integral over a
circle, and N points beta_k = beta exp(2 pi i k / N) give it up to an error of order beta^N:

    Delta-hat = Re 1/(N B) sum_b sum_k [ dPhi/dtheta(s^{beta_k}) - dPhi/dtheta(s_*) ] / beta_k.

The products at s_* drop out for N >= 2; with them N = 1 is the one-sided rule, and N = 2 is the symmetric
one.  After K nudged steps the limit is the BPTT gradient truncated to the same K.  Works for analytic
activations, with plain transposes, never conjugates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.equilibrium_propagation import readout_gradient
from refsnn.algorithms.relaxation import checked_nudge, checked_phases, free_and_nudged, relax
from refsnn.algorithms.result import Diagnostics, GradientResult, like
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters
from refsnn.models.convergent_network import ConvergentNetwork


def holomorphic_equilibrium_propagation(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    free_steps: int,
    nudged_steps: int,
    nudge: float,
    points: int = 4,
    warm_start: bool = False,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient estimate -Delta-hat from `points` complex nudges on a circle.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network, holomorphic and with tied weights.
    parameters, inputs, targets, free_steps, nudged_steps
        As in `equilibrium_propagation`; every point takes `nudged_steps` steps.
    nudge : float
        Radius beta of the circle, not 0.
    points : int
        N.
    warm_start : bool
        Start each point from the state of the one before, as the authors' code does, instead of from
        the free steady state.
    backend : {"plain", "cpu", "cuda"}
        Who runs the relaxations.

    Returns
    -------
    GradientResult
        Gradients in the sign of dL/dtheta.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, networks that are not holomorphic, and untied ones.
    FloatingPointError
        If the states overflow: the circle leaves the region where the steady state is analytic.

    Examples
    --------
    >>> from refsnn.models.convergent import EnergyBasedNetwork
    >>> network = EnergyBasedNetwork((2, 3, 4))
    >>> rng = np.random.default_rng(0)
    >>> result = holomorphic_equilibrium_propagation(
    ...     network, network.initialise(rng), rng.random((5, 4)), rng.random((5, 2)),
    ...     free_steps=400, nudged_steps=30, nudge=0.1, points=4)
    >>> result.gradients["coupling.0.1.weight"].dtype
    dtype('float64')
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    model.require_holomorphic("model")
    free_steps, nudged_steps = checked_phases(free_steps, nudged_steps)
    points = checks.count("points", points)
    checks.instance("warm_start", warm_start, bool, "True")
    radius = checked_nudge(model, checks.number("nudge", nudge))
    checks.choice("backend", backend, BACKENDS)
    nudges = [complex(radius * np.exp(2j * np.pi * k / points)) for k in range(points)]
    problem = model, parameters, inputs
    if warm_start:
        free, _ = free_and_nudged(*problem, targets, free_steps, nudged_steps, (), backend=backend)
        nudged, state = [], free.state
        for point in nudges:
            state = relax(*problem, state, nudged_steps, targets, point, backend=backend).state
            nudged.append(state)
    else:
        free, kept = free_and_nudged(*problem, targets, free_steps, nudged_steps, nudges, backend=backend)
        nudged = [states[-1] for states in kept]

    # The free products cancel in the sum for N >= 2; taking them off each point saves digits, and makes
    # N = 1 the one-sided rule.
    before = model.primitive_gradient(parameters, free.state, inputs)
    total: Parameters = {name: np.zeros_like(value) for name, value in before.items()}
    for point, state in zip(nudges, nudged, strict=True):
        after = model.primitive_gradient(parameters, state, inputs)
        total = {name: total[name] + (after[name] - before[name]) / (point * points) for name in total}
    gradients = {name: -value / len(inputs) for name, value in total.items()}
    gradients |= readout_gradient(model, parameters, nudged, targets)
    return GradientResult(
        loss=model.loss(parameters, free.state, targets),
        gradients={name: like(parameters[name], gradients[name]) for name in parameters},
        diagnostics=Diagnostics(
            steps_executed=free.steps_executed + nudged_steps * points,
            bytes_kept=sum(array.nbytes for array in (*free.state.values(), *total.values())),
            outputs=model.outputs(parameters, free.state),
            residual=free.residual,
            two_cycle=free.two_cycle,
        ),
    )
