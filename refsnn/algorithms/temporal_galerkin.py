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

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.layerwise import Normalised, check_leaks, flat, layerwise_gradient
from refsnn.algorithms.result import GradientResult
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.edges import ALL_EDGES, Edges
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.operator import Weights
from refsnn.models.operators.rate_normalisation import normalised_modes_vjp, scaled_modes_vjp
from refsnn.models.spiking_graph import Population, SpikingGraph
from refsnn.models.workspace import Workspace, empty_in

MODES = ("multi_step", "single_step")


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
    model: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    n_modes: int,
    basis: np.ndarray | None = None,
    mode: str = "multi_step",
    backend: str = "cpu",
    workspace: Workspace | None = None,
) -> GradientResult:
    """Gradient with the error resolved in K temporal modes; at the scale of BPTT.

    Parameters
    ----------
    model : SpikingGraph
        The network.
    parameters, inputs, targets
        As in `refsnn.algorithms.rate_backpropagation.rate_backpropagation`.
    n_modes : int
        K, between 1 and T.  What is kept is K^2 + K numbers a neuron, whatever T is.
    basis : ndarray, (K, T), optional
        Orthonormal modes; `cosine_basis` by default.
    mode : {"multi_step", "single_step"}
        T loop inside each layer, or outside the network, which keeps no array of length T and batch but
        cannot normalise over the sequence.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.
    workspace : Workspace, optional
        Memory for large arrays, kept from call to call; the result is the same.

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
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
    >>> stack = DenseSpikingStack((4, 8, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> arguments = stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2]
    >>> from refsnn.algorithms.bptt import bptt
    >>> all_modes = temporal_galerkin(stack, *arguments, n_modes=5).gradients["layer.1.weight"]
    >>> bool(np.allclose(all_modes, bptt(stack, *arguments).gradients["layer.1.weight"], rtol=1e-10))
    True
    """
    kernels = spiking_kernels(backend)
    return layerwise_gradient(
        model,
        parameters,
        inputs,
        targets,
        lambda steps, dtype: Modes(_checked_basis(basis, n_modes, steps, dtype), kernels, model.edges),
        block=1 if checks.choice("mode", mode, MODES) == "single_step" else None,
        empty=empty_in(workspace),
    )


class Modes:
    """K temporal modes: the Galerkin family.

    Parameters
    ----------
    basis : ndarray, (K, T)
        Orthonormal modes phi_k(t).
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    edges : Edges
        Of which only resets may be switched.

    Raises
    ------
    ValueError
        For a leak that is cut.
    """

    pointwise, scale = False, 1.0

    def __init__(self, basis: np.ndarray, kernels: ModuleType, edges: Edges = ALL_EDGES) -> None:
        check_leaks(edges)
        self.basis, self.kernels, self.edges = basis, kernels, edges
        self.constant = basis.sum(axis=1)
        self.running: dict[str, ModalNeurons] = {}
        self.sums: dict[str, np.ndarray] = {}
        self.steps: dict[str, int] = {}

    @property
    def margins(self) -> list[float]:
        """Of each population."""
        return [float(neurons.margin.min()) for neurons in self.running.values()]

    @property
    def kept(self) -> list[np.ndarray]:
        """Gains G_jk and coefficients E_k."""
        return [array for neurons in self.running.values() for array in (neurons.gains, neurons.spikes)]

    def coefficients(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """sum_t phi_k(t) of the sequence, of the steps so far."""
        share = np.tensordot(self._next(name, len(sequence)), sequence, axes=1)
        self.sums[name] = self.sums[name] + share if name in self.sums else share
        return self.sums[name]

    def run(self, name: str, population: Population, current: np.ndarray) -> np.ndarray:
        """Spikes over the current; E_k and G_jk are added to."""
        if name not in self.running:
            neuron = self.edges.neuron(name, population.neuron)
            self.running[name] = ModalNeurons(neuron, len(self.basis), current.shape[1:], current.dtype)
        self.running[name].run(current, self._next(name, len(current)), self.kernels)
        return current

    def _next(self, name: str, steps: int) -> np.ndarray:
        """phi_k of a node's next steps."""
        first = self.steps.get(name, 0)
        self.steps[name] = first + steps
        return np.ascontiguousarray(self.basis[:, first : first + steps])

    def value(self, name: str, population: Population) -> np.ndarray:
        """E_k."""
        return self.running[name].spikes

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """a_k = sum_j G_jk d_j."""
        return np.einsum("jk...,j...->k...", self.running[name].gains, adjoint)

    def normal(
        self,
        name: str,
        operator: BatchNormalisation,
        kept: Normalised,
        current: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """What was kept on the way up."""
        return kept.normal

    def normalisation_vjp(
        self,
        name: str,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """The joint vjp of an error that is a sum of modes.

        Raises
        ------
        ValueError
            For statistics of each step, which do not act mode by mode.
        """
        if operator.over != "sequence":
            raise ValueError(
                f"graph: expected normalisation over the sequence under temporal modes, got {operator}; "
                "statistics of each step mix the modes; take over='sequence'"
            )
        by_normal, by_gain, by_bias = scaled_modes_vjp(adjoint, kept.normal, self.constant, weights["gamma"])
        steps = self.basis.shape[1]
        by_current = normalised_modes_vjp(by_normal, kept.normal, self.constant, kept.spread[0], steps)
        return by_current, {"gamma": by_gain, "beta": by_bias}


class ModalNeurons:
    """State and sums of a population between calls of the Galerkin kernel.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    modes : int
        K.
    shape : tuple of int
        (B, ...).
    dtype : dtype
        Of the parameters.
    """

    def __init__(self, neuron: SpikingNeuron, modes: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.neuron = neuron
        self.potential, self.factor = np.full(shape, neuron.reset_value, dtype), np.zeros(shape, dtype)
        self.traces, self.margin = np.zeros((modes, *shape), dtype), np.full(shape, np.inf, dtype)
        self.gains, self.spikes = np.zeros((modes, modes, *shape), dtype), np.zeros((modes, *shape), dtype)

    def run(self, current: np.ndarray, basis: np.ndarray, kernels: ModuleType) -> None:
        """Advance by the steps of `current`, (T, B, ...); spikes are written over it, and sums added to."""
        modes, size = len(basis), self.potential.size
        kernels.galerkin_forward(
            self.neuron,
            flat(current),
            basis,
            self.potential.reshape(-1),
            self.traces.reshape(modes, size),
            self.factor.reshape(-1),
            self.gains.reshape(modes, modes, size),
            self.spikes.reshape(modes, size),
            self.margin.reshape(-1),
            flat(current),
        )


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
