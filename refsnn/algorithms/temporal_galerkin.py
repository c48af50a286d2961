"""The temporal Galerkin family.  Rate-based backpropagation with K temporal modes instead of one.

Rate-based backpropagation keeps, of every time series, its component along the constant function.  Keep K
orthonormal modes phi_1 .. phi_K instead (phi_1 constant; a cosine basis by default).  Each neuron
accumulates, going forward,

    rho_k(t) = phi_k(t) + f_{t-1} rho_k(t-1),
    G_jk = sum_t phi_j(t) psi_t rho_k(t),       E_k = sum_t phi_k(t) s_t,

and one backward pass over coefficients, with m_k = sum_t phi_k(t) and a_k = (1/T) dl/do m_k at the readout,

    dW = sum_k a_k E_k(below)^T,   db = sum_k m_k a_k,   a_k(below) = sum_j G_jk * (W^T a_j),

gives the gradient.  K = 1 is rate-based backpropagation, K = T is BPTT.  No publication is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.layerwise import layerwise_gradient
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.algorithms.timekeeping import Modes
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from refsnn.models.sequences import as_sequence, linear
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_stack import DenseSpikingStack


def cosine_basis(n_modes: int, steps: int, dtype: Any = np.float64) -> np.ndarray:
    """The first modes of the DCT-II basis: phi_k(t) proportional to cos(pi (k - 1)(t - 1/2) / T).

    Parameters
    ----------
    n_modes : int
        K, between 1 and `steps`.
    steps : int
        T.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray, (K, T)
        Orthonormal rows; the first is 1/sqrt(T).

    Raises
    ------
    ValueError
        If K is not in [1, T].
    TypeError
        For a dtype that is no float.

    Examples
    --------
    >>> np.round(cosine_basis(2, 4) @ cosine_basis(2, 4).T, 12) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    checks.count("steps", steps)
    checks.count("n_modes", n_modes)
    dtype = checks.float_dtype("dtype", dtype)
    if n_modes > steps:
        raise ValueError(f"n_modes: expected at most T = {steps}, got {n_modes}; K = T is BPTT already")
    mode, time = np.arange(n_modes)[:, None], np.arange(1, steps + 1)[None, :]
    basis = np.sqrt(2 / steps) * np.cos(np.pi * mode * (time - 0.5) / steps)
    basis[0] = 1 / np.sqrt(steps)
    return basis.astype(dtype)


def temporal_galerkin(
    model: DenseSpikingStack | SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    n_modes: int,
    basis: np.ndarray | None = None,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient with the error resolved in K temporal modes; at the scale of BPTT.

    Parameters
    ----------
    model : DenseSpikingStack or SpikingGraph
        The network.
    parameters, inputs, targets
        As in `refsnn.algorithms.rate_backpropagation.rate_backpropagation`.
    n_modes : int
        K, between 1 and T.  What is kept is K^2 + K numbers a neuron, whatever T is.
    basis : ndarray, (K, T), optional
        Orthonormal modes; `cosine_basis` by default.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.

    Returns
    -------
    GradientResult
        Loss, gradients keyed like the parameters, diagnostics.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range, and for a basis that is not orthonormal.

    Examples
    --------
    >>> stack = DenseSpikingStack((4, 8, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> arguments = stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2]
    >>> from refsnn.algorithms.bptt import bptt
    >>> all_modes = temporal_galerkin(stack, *arguments, n_modes=5).gradients["layer.1.weight"]
    >>> bool(np.allclose(all_modes, bptt(stack, *arguments).gradients["layer.1.weight"], rtol=1e-10))
    True
    """
    kernels = spiking_kernels(backend)
    if isinstance(model, SpikingGraph):
        return layerwise_gradient(
            model,
            parameters,
            inputs,
            targets,
            lambda steps, dtype: Modes(_checked_basis(basis, n_modes, steps, dtype), kernels, model.edges),
        )
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    steps, dtype = len(inputs), parameters["readout.bias"].dtype
    basis = _checked_basis(basis, n_modes, steps, dtype)
    sequence = as_sequence(inputs)

    # Forward: coefficients E_k of what each weight sees, gains G_jk of each neuron.
    coefficients, gains, rates = [np.tensordot(basis, sequence, axes=1)], [], {}
    margins: list[float] = []
    for index in model.hidden:
        name = f"layer.{index}"
        current = linear(sequence, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
        layer_coefficients, layer_gains, margin = _run_layer(model, current, basis, kernels)
        coefficients.append(layer_coefficients)
        gains.append(layer_gains)
        margins.append(margin)
        sequence = current  # the spikes were written over it
        rates[name] = float(sequence.mean())
    outputs = model.mean_readout(parameters, sequence.mean(axis=0))

    # Backward: one pass over coefficients, (K, B, n).
    loss_function, loss_gradient = LOSSES[model.loss_function]
    mean = basis.sum(axis=1)
    adjoint = mean[:, None, None] * (loss_gradient(outputs, targets) / steps)
    gradients = {}
    for layer in reversed(range(len(coefficients))):
        name = f"layer.{layer + 1}" if layer < len(gains) else "readout"
        gradients[f"{name}.weight"] = np.einsum("kbi,kbj->ij", adjoint, coefficients[layer])
        gradients[f"{name}.bias"] = np.einsum("k,kbi->i", mean, adjoint)
        if layer > 0:
            spike_adjoint = adjoint @ parameters[f"{name}.weight"]
            adjoint = np.einsum("jkbi,jbi->kbi", gains[layer - 1], spike_adjoint)
    return GradientResult(
        loss=float(loss_function(outputs, targets)),
        gradients={name: gradients[name] for name in parameters},
        diagnostics=Diagnostics(
            steps_executed=steps,
            bytes_kept=sum(array.nbytes for array in (*coefficients, *gains)),
            outputs=outputs,
            spike_rates=rates,
            margin=min(margins, default=None),
        ),
    )


def _run_layer(
    model: DenseSpikingStack, current: np.ndarray, basis: np.ndarray, kernels: Any
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients, gains and margin of one layer over all steps; spikes are written over its current."""
    modes, size, shape, dtype = len(basis), current[0].size, current.shape[1:], current.dtype
    flat = current.reshape(current.shape[0], -1)
    gains, coefficients = np.zeros((modes, modes, size), dtype), np.zeros((modes, size), dtype)
    potential = np.full(size, model.neuron.reset_value, dtype)
    traces, factor = np.zeros((modes, size), dtype), np.zeros(size, dtype)
    margin = np.full(size, np.inf, dtype)
    state = (potential, traces, factor, gains, coefficients, margin)
    kernels.galerkin_forward(model.neuron, flat, basis, *state, flat)
    return coefficients.reshape(modes, *shape), gains.reshape(modes, modes, *shape), float(margin.min())


def _checked_basis(basis: Any, n_modes: int, steps: int, dtype: np.dtype) -> np.ndarray:
    if basis is None:
        return cosine_basis(n_modes, steps, dtype)
    n_modes = checks.count("n_modes", n_modes)
    basis = np.ascontiguousarray(checks.float_array("basis", basis, (n_modes, steps), dtype))
    error = float(np.abs(basis @ basis.T - np.eye(n_modes)).max())
    if error > 1e3 * np.finfo(dtype).eps:
        raise ValueError(
            f"basis: expected {n_modes} orthonormal rows, got a Gram matrix that is off by {error:.1e}; "
            "orthonormalise it, for example with numpy.linalg.qr"
        )
    return basis
