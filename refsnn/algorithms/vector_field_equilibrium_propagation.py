"""Vector-field equilibrium propagation: weights of their own both ways (Scellier et al. 2018).

An untied network hears its neighbours above through V_n where a tied one has W_n^T.  It has no Phi and no
contrast of Hebbian products; what is left is the motion of the units,

    Delta W_n =  1 / (beta B) sum_b (s^{n, beta}_K - s^n_*)^T h_{n+1}(s^{n+1}_*),
    Delta V_n =  1 / (beta B) sum_b (s^{n+1, beta}_K - s^{n+1}_*)^T h_n(s^n_*),                  (E21)
    Delta b_n =  1 / (beta B) sum_b (s^{n, beta}_K - s^n_*),

post times pre, both local, without the derivative of the activation and without epsilon.  It is
(dF/dtheta)_*^T applied to the motion, but for that derivative D = diag sigma'(u_*):

- nudge *inside* the activation: the motion carries the D already, so nothing is dropped.  With V_n = W_n^T,
  in the limit beta -> 0, both are the BPTT gradients truncated to K steps, -dL/dW_n and -dL/dV_n each;
  their sum Delta W_n + Delta V_n^T is that of the tied network.
- nudge outside: an approximation, off by the factor 1 / sigma'(u_0) on the output error.
- energy-based, gated: the gate h' is dropped; without gates (`gated=False`) there is none to drop, but the
  Jacobian is not symmetric even when V_n = W_n^T.

Where V_n is not W_n^T, the nudged phase runs the Jacobian J and BPTT its transpose: this is a learning rule,
no gradient.  See `nonconservative_equilibrium_propagation` for the term that mends it.
"""

from __future__ import annotations

from typing import Any

from refsnn import checks
from refsnn.algorithms.equilibrium_propagation import readout_gradient
from refsnn.algorithms.relaxation import checked_nudge, checked_phases, free_and_nudged
from refsnn.algorithms.result import Diagnostics, GradientResult, like
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters
from refsnn.models.convergent_network import ConvergentNetwork


def vector_field_equilibrium_propagation(
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
    """The updates (E21) between s_* and s^beta_K, in the sign of a gradient.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network; untied, or tied: then W takes the sum Delta W + Delta V^T.  A prototypical network is
        better nudged inside its activation.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says; V_n is "coupling.{n}.{n+1}.feedback", (d_{n+1}, d_n).
    inputs : array_like, shape (B, d_N) or (B, C, H, W)
        x.
    targets : array_like, shape (B, *target_shape)
        y.
    free_steps, nudged_steps : int
        T and K <= T.
    nudge : float or complex
        beta, not 0; beta = 1e-30 i gives the limit beta -> 0 to working precision.
    symmetric : bool
        Take the motion from s^{-beta} to s^{beta}, over 2 beta; what the units read is that of s_* still, so
        that the first order of the bias drops out.
    backend : {"plain", "cpu", "cuda"}
        Who runs the relaxations.

    Returns
    -------
    GradientResult
        Minus the updates: descend on them.  The loss is that of the free phase.

    Raises
    ------
    TypeError, ValueError
        For bad arguments and for a nudge of 0.
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network = PrototypicalNetwork((2, 3, 4), tied=False, nudge_placement="inside")
    >>> rng = np.random.default_rng(0)
    >>> result = vector_field_equilibrium_propagation(
    ...     network, network.initialise(rng), rng.random((5, 4)), rng.random((5, 2)),
    ...     free_steps=100, nudged_steps=20, nudge=0.01, backend="plain")
    >>> result.gradients["coupling.0.1.feedback"].shape
    (3, 2)
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    free_steps, nudged_steps = checked_phases(free_steps, nudged_steps)
    nudge = checked_nudge(model, nudge)
    checks.instance("symmetric", symmetric, bool, "True")
    checks.choice("backend", backend, BACKENDS)
    nudges = (nudge, -nudge) if symmetric else (nudge,)
    free, kept = free_and_nudged(
        model, parameters, inputs, targets, free_steps, nudged_steps, nudges, backend=backend
    )
    nudged = [states[-1] for states in kept]

    before, distance = (nudged[1], 2 * nudge) if symmetric else (free.state, nudge)
    moved = {name: nudged[0][name] - before[name] for name in before}
    update = model.vector_field_update(parameters, moved, free.state, inputs)
    gradients = {name: -value / (distance * len(inputs)) for name, value in update.items()}
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
