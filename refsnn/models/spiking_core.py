"""The working core of a spiking graph: `spiking_step` with compiled neurons and weights prepared once.

The tape is the state after the step.  What else the adjoint of a step needs, charged potentials and what each
node read, is computed again from the state before it, unless that step was the last one run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters, State
from refsnn.models.sequences import unlabelled
from refsnn.models.spiking_step import Tape, advance, check_each_step, pull_back
from refsnn.models.working_core import ContractCore


class SpikingGraphCore(ContractCore):
    """One step at a time of a `SpikingGraph`.

    Parameters
    ----------
    graph : SpikingGraph
        The network, which makes this core; its `edges` say along which edges of time the gradient goes.
    parameters, inputs, targets
        As `graph.check` returned them.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.

    Attributes
    ----------
    pulled_back : Tape or None
        Of the step that was pulled back last.

    Raises
    ------
    ValueError
        For a normalisation over the whole sequence, which no single step knows.
    """

    def __init__(
        self, graph: Any, parameters: Parameters, inputs: Any, targets: Any, backend: str = "cpu"
    ) -> None:
        super().__init__(graph, parameters, inputs, targets)
        self.graph, self.kernels = graph, spiking_kernels(backend)
        for name, operator in graph.normalisations.items():
            check_each_step(name, operator)
        self.weights = graph.prepared(parameters)
        self.pulled_back: Tape | None = None
        self._last: tuple[int, Tape] | None = None

    def start(self, state: State | None) -> None:
        """See `WorkingCore.start`."""
        super().start(state)
        self._last = None

    def forward(self, step: int) -> None:
        """See `WorkingCore.forward`."""
        values, targets = unlabelled(self.inputs[step - 1])
        following, tape = advance(self.graph, self.weights, self.before.arrays, values, self.kernels)
        if targets is not None:
            following["loss.sum"] = self.before.arrays["loss.sum"] + self.graph.loss_of(tape.outputs, targets)
        self.after.load(following, f"the state after step {step}")
        np.copyto(self.tape.memory, self.after.memory)
        self._last = step, tape

    def recover(self, step: int) -> None:
        """See `WorkingCore.recover`; what is at hand may be of another run."""
        super().recover(step)
        self._last = None

    def backward(self, step: int) -> None:
        """See `WorkingCore.backward`."""
        values, targets = unlabelled(self.inputs[step - 1])
        if self._last is not None and self._last[0] == step:
            tape = self._last[1]
        else:
            _, tape = advance(self.graph, self.weights, self.before.arrays, values, self.kernels)
        self.pulled_back = tape
        adjoint = self.adjoint.arrays
        output_adjoint = adjoint["readout.sum"]
        if targets is not None:
            by_outputs = self.graph.loss_of_gradient(tape.outputs, targets)
            output_adjoint = output_adjoint + adjoint["loss.sum"] * by_outputs
        past, share = pull_back(
            self.graph, self.weights, tape, output_adjoint, adjoint, self.kernels, self.graph.edges
        )
        for name, array in adjoint.items():
            if name not in self.graph.accumulators:
                array[...] = past.get(name, 0)
        for name, value in share.items():
            self.gradients[name] += value
