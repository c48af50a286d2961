"""The loss of a spiking graph's read-out, collected while time passes, and its adjoint in the end.

    y_t = readout_leak y_{t-1} + o_t,    L = l(mean_t y_t)  or  (1/T) sum_t l(y_t),
    dL/do_t = dL/dy_t + readout_leak dL/do_{t+1}.

BPTT wants dL/do_t at each step.  Who keeps coefficients along phi_1 .. phi_M wants only

    a_k = sum_t phi_k(t) dL/do_t = sum_t phi^_k(t) dL/dy_t,
    phi^_k(t) = readout_leak phi^_k(t-1) + phi_k(t),

which can be added up while time passes: the filter on the error, run backwards, is the same filter on phi_k.
"""

from __future__ import annotations

import numpy as np

from refsnn.models.spiking_graph import SpikingGraph


class MeanLoss:
    """l(mean_t o_t) of a read-out without memory: only the sum is kept.

    Parameters
    ----------
    graph : SpikingGraph
        For its loss.
    targets : ndarray
        Labels (B,) or real targets.
    basis : ndarray, (M, T), optional
        phi_k(t); each step by itself where there is none.
    """

    averaged = True  # it is content with the mean of a block

    def __init__(self, graph: SpikingGraph, targets: np.ndarray, basis: np.ndarray | None = None) -> None:
        self.graph, self.targets, self.basis = graph, targets, basis
        self.total, self.steps = np.zeros(()), 0

    def add(self, readout: np.ndarray, steps: int) -> None:
        """The read-out of the mean of so many steps, (1, B, classes)."""
        share = readout[0] * readout.dtype.type(steps)
        self.total = self.total + share if self.steps else share
        self.steps += steps

    def outputs(self) -> np.ndarray:
        """mean_t o_t, (B, classes)."""
        return self.total / self.total.dtype.type(self.steps)

    def value(self) -> float:
        """The loss."""
        return float(self.graph.loss_of(self.outputs(), self.targets))

    def adjoint(self, window: int = 0) -> np.ndarray:
        """dL/do_t, the same at each step (T, B, classes), one copy; or a_k, (M, B, classes)."""
        one = self.graph.loss_of_gradient(self.outputs(), self.targets)
        one /= one.dtype.type(self.steps)
        if self.basis is None:
            return np.broadcast_to(one, (self.steps, *one.shape))
        return self.basis.sum(axis=1)[:, None, None] * one


class EachStepLoss:
    """A loss that looks at each step's read-out, or a read-out with a memory: all T are kept.

    Parameters
    ----------
    graph : SpikingGraph
        For its loss and leak.
    targets : ndarray
        Labels (B,) or real targets.
    """

    averaged = False

    def __init__(self, graph: SpikingGraph, targets: np.ndarray) -> None:
        self.graph, self.targets = graph, targets
        self.readouts: list[np.ndarray] = []

    def add(self, readout: np.ndarray, steps: int) -> None:
        """The read-outs o_t of so many steps, (steps, B, classes)."""
        for one in readout:
            if self.graph.readout_leak and self.readouts:
                one = one.dtype.type(self.graph.readout_leak) * self.readouts[-1] + one
            self.readouts.append(one)

    def outputs(self) -> np.ndarray:
        """mean_t y_t, (B, classes)."""
        return np.mean(self.readouts, axis=0)

    def value(self) -> float:
        """The loss."""
        if self.graph.loss_over == "mean_readout":
            return float(self.graph.loss_of(self.outputs(), self.targets))
        return float(np.mean([self.graph.loss_of(one, self.targets) for one in self.readouts]))

    def adjoint(self, window: int = 0) -> np.ndarray:
        """dL/do_t, (T, B, classes); `window` cuts the read-out's memory every so many steps from the end."""
        if self.graph.loss_over == "mean_readout":
            same = self.graph.loss_of_gradient(self.outputs(), self.targets)
            errors = np.repeat(same[None], len(self.readouts), axis=0)
        else:
            errors = np.stack([self.graph.loss_of_gradient(one, self.targets) for one in self.readouts])
        errors /= errors.dtype.type(len(errors))
        leak = errors.dtype.type(self.graph.readout_leak)
        for t in reversed(range(len(errors) - 1)):
            if not window or (len(errors) - 1 - t) % window:
                errors[t] += leak * errors[t + 1]
        return errors


class ProjectedLoss:
    """The same for who wants a_k only: nothing of length T and batch is kept.

    Parameters
    ----------
    graph : SpikingGraph
        For its loss and leak.
    targets : ndarray
        Labels (B,) or real targets.
    basis : ndarray, (M, T)
        phi_k(t).
    """

    averaged = False

    def __init__(self, graph: SpikingGraph, targets: np.ndarray, basis: np.ndarray) -> None:
        self.graph, self.targets, self.basis = graph, targets, basis
        self.steps, self.loss = 0, 0.0
        self.readout = self.total = self.errors = np.zeros(())  # y_t, its sum, and a_k so far
        self.filtered, self.filtered_sum = (np.zeros(len(basis), basis.dtype) for _ in range(2))  # phi^_k

    def add(self, readout: np.ndarray, steps: int) -> None:
        """The read-outs o_t of so many steps, (steps, B, classes)."""
        leak = readout.dtype.type(self.graph.readout_leak)
        for one in readout:
            self.readout = leak * self.readout + one if self.steps else one
            self.total = self.total + self.readout if self.steps else self.readout
            self.filtered = leak * self.filtered + self.basis[:, self.steps]
            self.filtered_sum = self.filtered_sum + self.filtered
            if self.graph.loss_over == "each_step":
                self.loss += float(self.graph.loss_of(self.readout, self.targets))
                error = self.graph.loss_of_gradient(self.readout, self.targets)
                share = self.filtered[:, None, None] * error
                self.errors = self.errors + share if self.steps else share
            self.steps += 1

    def outputs(self) -> np.ndarray:
        """mean_t y_t, (B, classes)."""
        return self.total / self.total.dtype.type(self.steps)

    def value(self) -> float:
        """The loss."""
        if self.graph.loss_over == "mean_readout":
            return float(self.graph.loss_of(self.outputs(), self.targets))
        return self.loss / self.steps

    def adjoint(self, window: int = 0) -> np.ndarray:
        """a_k, (M, B, classes); nothing is cut."""
        if self.graph.loss_over == "mean_readout":
            error = self.graph.loss_of_gradient(self.outputs(), self.targets)
            errors = self.filtered_sum[:, None, None] * error
        else:
            errors = self.errors
        return errors / errors.dtype.type(self.steps)
