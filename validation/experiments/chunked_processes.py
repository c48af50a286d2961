"""The relative errors of two processes, piece by piece: K weight matrices are never kept at the same time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.processes import bptt_processes, equilibrium_processes
from refsnn.algorithms.relaxation import Relaxation, relax
from refsnn.models.contract import Parameters
from refsnn.models.convergent_network import ConvergentNetwork

CHUNK = 10


class RelativeError:
    """`relative_rmse` of two processes that come piece by piece."""

    def __init__(self) -> None:
        self.difference: Any = 0.0
        self.sizes: list[Any] = [0.0, 0.0]

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """The next steps, (k, ...) each."""
        self.difference = self.difference + ((first - second) ** 2).sum(axis=0)
        for index, piece in enumerate((first, second)):
            self.sizes[index] = self.sizes[index] + (piece**2).sum(axis=0)

    def mean_and_deviation(self) -> tuple[float, float]:
        """Over the entries."""
        size = np.maximum(*self.sizes)
        error = np.sqrt(self.difference / np.where(size > 0, size, 1.0))
        return float(error.mean()), float(error.std(ddof=1)) if error.size > 1 else 0.0


def compare_in_chunks(
    network: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    targets: np.ndarray,
    free: Relaxation,
    *,
    steps: int,
    nudge: float,
    chunk: int = CHUNK,
) -> tuple[dict[str, tuple[float, float]], Parameters, Parameters]:
    """`compare_processes` of the nudged phase and the backward sweep, `chunk` steps at a time.

    Returns
    -------
    errors : dict of str to (mean, standard deviation)
        As `compare_processes` gives them.
    updates, gradients : dict of ndarray
        The totals over all steps, both in the sign of a gradient.
    """
    problem = network, parameters, inputs, targets
    errors = {name: RelativeError() for name in (*free.state, *parameters)}
    totals = [{name: np.zeros_like(array) for name, array in parameters.items()} for _ in range(2)]
    state, adjoint = free.state, None
    for first in range(0, steps, chunk):
        count = min(chunk, steps - first)
        updates = equilibrium_processes(*problem, replace(free, state=state), steps=count, nudge=nudge)
        state = relax(
            network, parameters, inputs, state, count, targets=targets, nudge=nudge, backend="plain"
        ).state
        # one step more than is compared: its adjoint is where the next chunk starts
        more = int(first + count < steps)
        past = replace(free, kept=free.kept[: len(free.kept) - first])
        gradients = bptt_processes(*problem, past, steps=count + more, start=adjoint)
        adjoint = {name: array[-1] for name, array in gradients.states.items()}
        for name in free.state:
            pair = -updates.states[name].sum(axis=1), gradients.states[name][:count].sum(axis=1)
            errors[name].add(*pair)
        for name in parameters:
            pieces = -updates.parameters[name], gradients.parameters[name][:count]
            pair = tuple(
                total[name] + piece.cumsum(axis=0) for total, piece in zip(totals, pieces, strict=True)
            )
            errors[name].add(*pair)
            for total, piece in zip(totals, pair, strict=True):
                total[name] = piece[-1]
    return {name: error.mean_and_deviation() for name, error in errors.items()}, *totals
