"""Recurrent backpropagation: the adjoint of a steady state, iterated (Almeida 1987, Pineda 1987).

The loss of a steady state s_* = F(x, s_*, theta) needs nothing of the way there.  With J_* = dF/ds at s_*,

    (I - J_*^T) Lambda = dl/ds(s_*),    dL_*/dtheta = (dF/dtheta)_*^T Lambda,

and Lambda is a Neumann series, summed by a relaxation of its own:

    Lambda_1 = dl/ds,    Lambda_{k+1} = dl/ds + J_*^T Lambda_k.

Cut after K terms it is BPTT truncated to K steps (E4) of a steady state held for those steps: there
nabla_s(t) = (J_*^T)^t dl/ds, and Lambda_K is the sum of the first K.  In contrast to BPTT only two states are
kept, s_* and Lambda, whatever K; the parameters are visited once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.relaxation import NotSettledError, settle
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.coupled_layers import largest_difference


@dataclass(frozen=True)
class AdjointResult(GradientResult):
    """A gradient, and how its adjoint was found.

    Attributes
    ----------
    adjoint : dict of ndarray
        Lambda_K, one array a layer, (B, *shape of the layer); the 1/B of the loss is in it.
    adjoint_steps : int
        K, terms of the Neumann series, which is also the number of transposed steps taken.
    adjoint_residual : float
        max |dl/ds + J_*^T Lambda_K - Lambda_K| over max |dl/ds|: how far one more term would move Lambda.
    """

    adjoint: State
    adjoint_steps: int
    adjoint_residual: float


def recurrent_backpropagation(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    free_steps: int,
    adjoint_steps: int,
    tolerance: float | None = None,
    backend: str = "cpu",
) -> AdjointResult:
    """Gradient of the loss of a steady state from that state alone.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network; tied or untied.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says.
    inputs : array_like, shape (B, d_N) or (B, C, H, W)
        x.
    targets : array_like, shape (B, *target_shape)
        y.
    free_steps : int
        T, from the zero state.  s_T is taken for the steady state: see `diagnostics.residual`.
    adjoint_steps : int
        K; with a tolerance, the most terms to take.
    tolerance : float, optional
        Stop when `adjoint_residual` is no larger than this.
    backend : {"plain", "cpu", "cuda"}
        Who runs the relaxation of the states; that of the adjoint is plain.

    Returns
    -------
    AdjointResult
        `diagnostics.steps_executed` counts steps of the states; one of the adjoint costs about the same.

    Raises
    ------
    TypeError, ValueError
        For bad arguments.
    FloatingPointError
        If the states or the adjoint overflow.
    NotSettledError
        If a tolerance was asked for and not reached.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network = PrototypicalNetwork((2, 3, 4))
    >>> rng = np.random.default_rng(0)
    >>> result = recurrent_backpropagation(
    ...     network, network.initialise(rng), rng.random((5, 4)), rng.random((5, 2)),
    ...     free_steps=100, adjoint_steps=100, tolerance=1e-8, backend="plain")
    >>> result.adjoint_steps < 100, result.adjoint_residual <= 1e-8
    (True, True)
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    free_steps = checks.count("free_steps", free_steps)
    adjoint_steps = checks.count("adjoint_steps", adjoint_steps)
    if tolerance is not None:
        tolerance = checks.number("tolerance", tolerance, 0)
    checks.choice("backend", backend, BACKENDS)
    drive, start = model.static_drive(parameters, inputs), model.initial_state(parameters, len(inputs))
    free = settle(model, parameters, inputs, start, free_steps, None, 0.0, drive, backend=backend)

    source, direct = model.loss_gradient(parameters, free.state, targets)
    size = max(float(np.abs(array).max()) for array in source.values())
    adjoint, taken = source, 1
    with np.errstate(over="ignore", invalid="ignore"):  # reported below, with words
        while True:
            sent_back = model.state_vjp(parameters, free.state, inputs, adjoint, drive)
            after = {name: source[name] + sent_back[name] for name in source}
            # a loss without slope has the adjoint 0, reached at once
            residual = largest_difference(after, adjoint) / size if size > 0 else 0.0
            if taken == adjoint_steps or (tolerance is not None and residual <= tolerance):
                break
            adjoint, taken = after, taken + 1
    if not np.isfinite(residual):
        raise FloatingPointError(
            f"adjoint: expected finite numbers, got overflow within {taken} steps; the end of the free phase "
            f"(residual {free.residual:.1e}) is no stable steady state, and the series diverges there"
        )
    if tolerance is not None and residual > tolerance:
        raise NotSettledError(
            f"adjoint: expected one more term to move it by at most {tolerance:.1e} of dl/ds after {taken} "
            f"steps, got {residual:.1e}; take more adjoint_steps, a larger tolerance or smaller weights"
        )
    # (dF/dtheta)_*^T Lambda, once; the loss sees a read-out directly
    share = model.step_vjp(parameters, free.state, inputs, adjoint, drive)[1]
    gradients = {name: share[name] + direct[name] if name in direct else share[name] for name in parameters}
    return AdjointResult(
        loss=model.loss(parameters, free.state, targets),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=free.steps_executed,
            bytes_kept=sum(array.nbytes for state in (free.state, adjoint) for array in state.values()),
            outputs=model.outputs(parameters, free.state),
            residual=free.residual,
            two_cycle=free.two_cycle,
        ),
        adjoint=adjoint,
        adjoint_steps=taken,
        adjoint_residual=residual,
    )
