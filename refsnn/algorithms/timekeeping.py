"""Three ways to keep time in a layer-wise pass: all of it, some modes of it, or its average.

steps     M = T   the error of every step; a population runs its adjoint back through time        (BPTT)
modes     M = K   phi_k of an orthonormal basis; G_jk = sum_t phi_j(t) psi_t rho_k(t) a neuron    (Galerkin)
rates     M = 1   the average; g = mean_t psi_t rho_t a neuron                      (Yu 2024, Eqs. 8, 9)
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from refsnn import checks
from refsnn.algorithms.layerwise import Normalised
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.edges import ALL_EDGES, Edges
from refsnn.models.operators.normalisation import (
    BatchNormalisation,
    normalised,
    normalised_vjp,
    scaled_vjp,
)
from refsnn.models.operators.operator import Weights
from refsnn.models.operators.rate_normalisation import (
    exact_rate_vjp,
    normalised_modes_vjp,
    rate_statistics,
    rate_vjp,
    scaled_modes_vjp,
)
from refsnn.models.spiking_graph import INPUT, Population

STEP_STATISTICS = ("mean", "last", "exact")


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
    edges : Edges
        Which edges of time the gradient uses.
    window : int
        Cut the gradient along all potentials every so many steps from the end; 0 nowhere.
    """

    pointwise = True

    def __init__(
        self, steps: int, dtype: np.dtype, kernels: ModuleType, edges: Edges = ALL_EDGES, window: int = 0
    ) -> None:
        self.steps, self.kernels, self.edges, self.window = steps, kernels, edges, window
        self.constant = np.ones(steps, dtype)
        self.charged: dict[str, np.ndarray] = {}
        self.margins: list[float] = []

    @property
    def kept(self) -> list[np.ndarray]:
        """The charged potentials."""
        return list(self.charged.values())

    def error(self, adjoint: np.ndarray) -> np.ndarray:
        """The adjoint itself."""
        return adjoint

    def coefficients(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """The sequence itself."""
        return sequence

    def run(self, name: str, population: Population, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spikes, twice; the charged potential is kept, over the current."""
        neuron = population.neuron
        spikes = np.empty_like(current)
        potential = np.full(current[0].size, neuron.reset_value, current.dtype)
        self.kernels.forward(neuron, flat(current), potential, flat(current), flat(spikes))
        self.charged[name] = current
        self.margins.append(float(np.abs(current - current.dtype.type(neuron.threshold)).min()))
        return spikes, spikes

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """The adjoint of the neuron's recursion, back through time; over the charged potential."""
        neuron, charged = self.edges.neuron(name, population.neuron), self.charged.pop(name)
        potential_adjoint = np.zeros(charged[0].size, charged.dtype)
        window = min(self.window, self.steps) if self.edges.has_leak(name) else 1
        arrays = flat(charged), flat(np.ascontiguousarray(adjoint)), potential_adjoint, flat(charged)
        self.kernels.backward(neuron, *arrays, window)
        return charged

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
        """The exact vjp of each group of steps that was normalised together."""
        joined = adjoint.reshape(-1, *adjoint.shape[2:])
        by_normal, by_gain, by_bias = scaled_vjp(joined, kept.normal.reshape(joined.shape), weights["gamma"])
        groups = len(kept.spread)
        grouped = groups, -1, *adjoint.shape[2:]
        by_current = [
            normalised_vjp(*group)
            for group in zip(
                by_normal.reshape(grouped), kept.normal.reshape(grouped), kept.spread, strict=True
            )
        ]
        return np.stack(by_current).reshape(adjoint.shape), {"gamma": by_gain, "beta": by_bias}


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
    edges : Edges
        Of which only resets may be switched.

    Raises
    ------
    ValueError
        For a leak that is cut.
    """

    pointwise = False

    def __init__(self, basis: np.ndarray, kernels: ModuleType, edges: Edges = ALL_EDGES) -> None:
        check_leaks(edges)
        self.basis, self.kernels, self.edges = basis, kernels, edges
        self.constant = basis.sum(axis=1)
        self.gains: dict[str, np.ndarray] = {}
        self.margins: list[float] = []

    @property
    def kept(self) -> list[np.ndarray]:
        """The gains G_jk."""
        return list(self.gains.values())

    def error(self, adjoint: np.ndarray) -> np.ndarray:
        """sum_t phi_k(t) of the adjoint."""
        return np.tensordot(self.basis, adjoint, axes=1)

    def coefficients(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """sum_t phi_k(t) of the sequence."""
        return np.tensordot(self.basis, sequence, axes=1)

    def run(self, name: str, population: Population, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spikes over the current, and E_k; G_jk is kept."""
        modes, size, shape, dtype = len(self.basis), current[0].size, current.shape[1:], current.dtype
        neuron = self.edges.neuron(name, population.neuron)
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


class Rates:
    """One average: rate-based backpropagation.

    A coefficient is a mean over time, so a constant is worth 1.  Sums are added to block by block, so that
    steps may come one at a time.

    Parameters
    ----------
    steps : int
        T.
    dtype : dtype
        Of the parameters.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    edges : Edges
        Of which only resets may be switched.
    step_statistics : {"mean", "last", "exact"}
        What the rate pass makes of statistics that were taken step by step (BN-S).
    input_rate : {"mean", "last"}
        What it sees of the input: the time mean, or the last frame as the official single-step code does.

    Raises
    ------
    ValueError
        For an unknown option, or a leak that is cut.
    """

    pointwise = True

    def __init__(
        self,
        steps: int,
        dtype: np.dtype,
        kernels: ModuleType,
        edges: Edges = ALL_EDGES,
        step_statistics: str = "mean",
        input_rate: str = "mean",
    ) -> None:
        checks.choice("step_statistics", step_statistics, STEP_STATISTICS)
        checks.choice("input_rate", input_rate, ("mean", "last"))
        check_leaks(edges)
        self.steps, self.kernels, self.edges = steps, kernels, edges
        self.step_statistics, self.input_rate = step_statistics, input_rate
        self.constant = np.ones(1, dtype)
        self.running: dict[str, RunningNeurons] = {}
        self.sums: dict[str, np.ndarray] = {}
        self.normals: dict[str, list[np.ndarray]] = {}

    @property
    def margins(self) -> list[float]:
        """Of each population."""
        return [float(neurons.margin.min()) for neurons in self.running.values()]

    @property
    def kept(self) -> list[np.ndarray]:
        """The sums of slopes, and what "exact" normalisation needs."""
        exact = [array for arrays in self.normals.values() for array in arrays]
        return [neurons.slopes for neurons in self.running.values()] + exact

    def error(self, adjoint: np.ndarray) -> np.ndarray:
        """The error of an average is that of all its steps together."""
        return adjoint.sum(axis=0, keepdims=True)

    def coefficients(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """The mean over time of the steps so far; while they last, of T."""
        if name == INPUT and self.input_rate == "last":
            return sequence[-1:].copy()
        if name != INPUT and self.step_statistics == "exact":
            self.normals.setdefault(name, []).append(sequence)
        total = sequence.sum(axis=0, keepdims=True)
        self.sums[name] = self.sums[name] + total if name in self.sums else total
        return self.sums[name] / total.dtype.type(self.steps)

    def run(self, name: str, population: Population, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spikes over the current, and the rate e; what becomes the rate Jacobian g is kept."""
        if name not in self.running:
            neuron = self.edges.neuron(name, population.neuron)
            self.running[name] = RunningNeurons(neuron, current.shape[1:], current.dtype)
        neurons = self.running[name]
        neurons.run(current, self.kernels)
        return current, neurons.spikes[None] / current.dtype.type(self.steps)

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """d_c = g d_r."""
        return self.running[name].slopes / adjoint.dtype.type(self.steps) * adjoint

    def normal(
        self,
        name: str,
        operator: BatchNormalisation,
        kept: Normalised,
        current: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """c^ = (c - mu_r) / sqrt(V_r): behind max pooling not the mean of what was normalised."""
        if self._is_exact(operator):
            return kept.normal
        return normalised(current()[0], *self._statistics(operator, kept))[None]

    def normalisation_vjp(
        self,
        name: str,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """Value replacement: the statistics keep their values, and move with c."""
        normal = self.normal(name, operator, kept, current)[0]
        by_normal, by_gain, by_bias = scaled_vjp(adjoint[0], normal, weights["gamma"])
        gradients = {"gamma": by_gain, "beta": by_bias}
        if self._is_exact(operator):
            normals = np.concatenate(self.normals[name])
            return exact_rate_vjp(by_normal, normals, kept.spread)[None], gradients
        _, spread = self._statistics(operator, kept)
        return rate_vjp(by_normal, current()[0], normal, spread, operator.epsilon)[None], gradients

    def _is_exact(self, operator: BatchNormalisation) -> bool:
        return operator.over == "step" and self.step_statistics == "exact"

    def _statistics(self, operator: BatchNormalisation, kept: Normalised) -> tuple[np.ndarray, np.ndarray]:
        """mu_r and V_r."""
        option = self.step_statistics if operator.over == "step" else "joint"
        return rate_statistics(option, kept.mean, kept.variance, operator.epsilon)


class RunningNeurons:
    """State and sums of a population between calls of the rate kernel.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    shape : tuple of int
        (B, ...).
    dtype : dtype
        Of the parameters.
    """

    def __init__(self, neuron: SpikingNeuron, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.neuron = neuron
        self.potential = np.full(shape, neuron.reset_value, dtype)
        self.trace = np.ones(shape, dtype)
        self.slopes = np.zeros(shape, dtype)
        self.spikes = np.zeros(shape, dtype)
        self.margin = np.full(shape, np.inf, dtype)

    def run(self, current: np.ndarray, kernels: ModuleType) -> None:
        """Advance by the steps of `current`, (T, B, ...); spikes are written over it, and sums added to."""
        state = self.potential, self.trace, self.slopes, self.spikes, self.margin
        kernels.rate_forward(
            self.neuron, flat(current), *(array.reshape(-1) for array in state), flat(current)
        )


def check_leaks(edges: Edges) -> None:
    """Refuse edges that an average over time cannot do without.

    Raises
    ------
    ValueError
        For a leak that is cut.

    Examples
    --------
    >>> check_leaks(Edges(reset=False))
    """
    if edges.leak is not True:
        raise ValueError(
            f"edges: expected leak=True under rates and temporal modes, got leak={edges.leak!r}; only BPTT "
            "has these switches"
        )
