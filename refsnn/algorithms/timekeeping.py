"""Three ways to keep time in a layer-wise pass: all of it, some modes of it, or its average.

steps     M = T   the error of every step; a population runs its adjoint back through time        (BPTT)
modes     M = K   phi_k of an orthonormal basis; G_jk = sum_t phi_j(t) psi_t rho_k(t) a neuron    (Galerkin)
rates     M = 1   the average; g = mean_t psi_t rho_t a neuron                      (Yu 2024, Eqs. 8, 9)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType

import numpy as np

from refsnn.algorithms.layerwise import Normalised
from refsnn.models.operators.normalisation import (
    BatchNormalisation,
    normalised,
    normalised_vjp,
    scaled_vjp,
)
from refsnn.models.operators.operator import Weights
from refsnn.models.operators.rate_normalisation import normalised_modes_vjp, rate_vjp, scaled_modes_vjp
from refsnn.models.spiking_graph import Population


class Steps:
    """All T steps: backpropagation through time, with switches on the edges of time.

    Parameters
    ----------
    steps : int
        T.
    dtype : dtype
        Of the parameters.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    windows : mapping of population name to int
        Cut the gradient along the potential of that population every so many steps from the end; 1 cuts
        the leak edge everywhere, 0 (also for a name that is missing) nowhere.
    detached : mapping of population name to bool
        Whether the reset of that population is a constant; its neuron's own `detach_reset` by default.
    """

    pointwise = True

    def __init__(
        self,
        steps: int,
        dtype: np.dtype,
        kernels: ModuleType,
        windows: Mapping[str, int] | None = None,
        detached: Mapping[str, bool] | None = None,
    ) -> None:
        self.steps, self.kernels = steps, kernels
        self.constant = np.ones(steps, dtype)
        self.windows, self.detached = windows or {}, detached or {}
        self.charged: dict[str, np.ndarray] = {}
        self.margins: list[float] = []

    @property
    def kept(self) -> list[np.ndarray]:
        """The charged potentials."""
        return list(self.charged.values())

    def readout_share(self, steps: int) -> float:
        """1/T at every step."""
        return 1 / steps

    def coefficients(self, sequence: np.ndarray) -> np.ndarray:
        """The sequence itself."""
        return sequence

    def run(self, name: str, population: Population, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spikes, twice; the charged potential is kept, over the current."""
        neuron = population.neuron
        spikes, potential = (
            np.empty_like(current),
            np.full(current[0].size, neuron.reset_value, current.dtype),
        )
        self.kernels.forward(neuron, flat(current), potential, flat(current), flat(spikes))
        self.charged[name] = current
        self.margins.append(float(np.abs(current - current.dtype.type(neuron.threshold)).min()))
        return spikes, spikes

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """The adjoint of the neuron's recursion, back through time; over the charged potential."""
        neuron = population.neuron
        if name in self.detached:
            neuron = replace(neuron, detach_reset=self.detached[name])
        charged = self.charged.pop(name)
        potential_adjoint = np.zeros(charged[0].size, charged.dtype)
        window = min(self.windows.get(name, 0), self.steps)
        self.kernels.backward(
            neuron,
            flat(charged),
            flat(np.ascontiguousarray(adjoint)),
            potential_adjoint,
            flat(charged),
            window,
        )
        return charged

    def normal(self, kept: Normalised, current: Callable[[], np.ndarray]) -> np.ndarray:
        """What was kept on the way up."""
        return kept.normal

    def normalisation_vjp(
        self,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """The exact vjp, jointly over time and batch."""
        joined = adjoint.reshape(-1, *adjoint.shape[2:])
        normal = kept.normal.reshape(joined.shape)
        by_normal, by_gain, by_bias = scaled_vjp(joined, normal, weights["gamma"])
        by_current = normalised_vjp(by_normal, normal, kept.spread)
        return by_current.reshape(adjoint.shape), {"gamma": by_gain, "beta": by_bias}


def flat(sequence: np.ndarray) -> np.ndarray:
    """(T, B, ...) as the kernels see it, (T, M); a view.

    Examples
    --------
    >>> flat(np.zeros((2, 3, 4))).shape
    (2, 12)
    """
    return sequence.reshape(sequence.shape[0], -1)


class Modes:
    """K temporal modes: the Galerkin family.

    Parameters
    ----------
    basis : ndarray, (K, T)
        Orthonormal modes phi_k(t).
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    """

    pointwise = False

    def __init__(self, basis: np.ndarray, kernels: ModuleType) -> None:
        self.basis, self.kernels = basis, kernels
        self.constant = basis.sum(axis=1)
        self.gains: dict[str, np.ndarray] = {}
        self.margins: list[float] = []

    @property
    def kept(self) -> list[np.ndarray]:
        """The gains G_jk."""
        return list(self.gains.values())

    def readout_share(self, steps: int) -> float:
        """1/T, times what each mode has of a constant."""
        return 1 / steps

    def coefficients(self, sequence: np.ndarray) -> np.ndarray:
        """sum_t phi_k(t) of the sequence."""
        return np.tensordot(self.basis, sequence, axes=1)

    def run(self, name: str, population: Population, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spikes over the current, and E_k; G_jk is kept."""
        modes, size, shape, dtype = len(self.basis), current[0].size, current.shape[1:], current.dtype
        neuron = population.neuron
        gains, coefficients = np.zeros((modes, modes, size), dtype), np.zeros((modes, size), dtype)
        potential, factor = np.full(size, neuron.reset_value, dtype), np.zeros(size, dtype)
        traces, margin = np.zeros((modes, size), dtype), np.full(size, np.inf, dtype)
        state = potential, traces, factor, gains, coefficients, margin
        self.kernels.galerkin_forward(neuron, flat(current), self.basis, *state, flat(current))
        self.gains[name] = gains.reshape(modes, modes, *shape)
        self.margins.append(float(margin.min()))
        return current, coefficients.reshape(modes, *shape)

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """a_k = sum_j G_jk d_j."""
        return np.einsum("jk...,j...->k...", self.gains[name], adjoint)

    def normal(self, kept: Normalised, current: Callable[[], np.ndarray]) -> np.ndarray:
        """What was kept on the way up."""
        return kept.normal

    def normalisation_vjp(
        self,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """The joint vjp of an error that is a sum of modes."""
        by_normal, by_gain, by_bias = scaled_modes_vjp(adjoint, kept.normal, self.constant, weights["gamma"])
        steps = self.basis.shape[1]
        by_current = normalised_modes_vjp(by_normal, kept.normal, self.constant, kept.spread, steps)
        return by_current, {"gamma": by_gain, "beta": by_bias}


class Rates:
    """One average: rate-based backpropagation, multi-step.

    A coefficient is a mean over time, so a constant is worth 1.

    Parameters
    ----------
    dtype : dtype
        Of the parameters.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    """

    pointwise = True

    def __init__(self, dtype: np.dtype, kernels: ModuleType) -> None:
        self.kernels = kernels
        self.constant = np.ones(1, dtype)
        self.slopes: dict[str, np.ndarray] = {}
        self.margins: list[float] = []

    @property
    def kept(self) -> list[np.ndarray]:
        """The rate Jacobians."""
        return list(self.slopes.values())

    def readout_share(self, steps: int) -> float:
        """1: the error of an average is that of all its steps together."""
        return 1.0

    def coefficients(self, sequence: np.ndarray) -> np.ndarray:
        """The mean over time."""
        return sequence.mean(axis=0)[None]

    def run(self, name: str, population: Population, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spikes over the current, and the rate e; the rate Jacobian g is kept."""
        neuron, steps, shape = population.neuron, len(current), current.shape[1:]
        size, dtype = current[0].size, current.dtype
        potential, trace = np.full(size, neuron.reset_value, dtype), np.ones(size, dtype)
        slopes, spikes, margin = np.zeros(size, dtype), np.zeros(size, dtype), np.full(size, np.inf, dtype)
        state = potential, trace, slopes, spikes, margin
        self.kernels.rate_forward(neuron, flat(current), *state, flat(current))
        self.slopes[name] = (slopes / steps).reshape(shape)
        self.margins.append(float(margin.min()))
        return current, (spikes / steps).reshape(1, *shape)

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """d_c = g d_r."""
        return self.slopes[name] * adjoint

    def normal(self, kept: Normalised, current: Callable[[], np.ndarray]) -> np.ndarray:
        """c^ = (c - mu_r) / sqrt(V_r): behind max pooling not the mean of what was normalised."""
        return normalised(current()[0], kept.mean, kept.spread)[None]

    def normalisation_vjp(
        self,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """Value replacement: the statistics keep their values, and move with c."""
        average = current()[0]
        normal = normalised(average, kept.mean, kept.spread)
        by_normal, by_gain, by_bias = scaled_vjp(adjoint[0], normal, weights["gamma"])
        by_current = rate_vjp(by_normal, average, normal, kept.spread, operator.epsilon)
        return by_current[None], {"gamma": by_gain, "beta": by_bias}
