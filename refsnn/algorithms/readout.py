"""The loss of a spiking graph's read-out, collected while time passes, and its adjoint at every step.

y_t = readout_leak y_{t-1} + o_t,    L = l(mean_t y_t)  or  (1/T) sum_t l(y_t),
dL/do_t = dL/dy_t + readout_leak dL/do_{t+1}.
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
    """

    averaged = True  # it is content with the mean of a block

    def __init__(self, graph: SpikingGraph, targets: np.ndarray) -> None:
        self.graph, self.targets, self.total, self.steps = graph, targets, np.zeros(()), 0

    def add(self, readout: np.ndarray, steps: int) -> None:
        """The read-out of the mean of so many steps, (1, B, classes)."""
        if steps == 1 and readout.shape[0] == 1:
            share = readout[0]
        else:
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
        """dL/do_t, the same at each step: (T, B, classes), one copy."""
        one = self.graph.loss_of_gradient(self.outputs(), self.targets)
        return np.broadcast_to(one / one.dtype.type(self.steps), (self.steps, *one.shape))


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
