"""One step at a time of an attentive network; the memory grows outside of what a schedule keeps.

A state is (h, c), a tape what the adjoint of a step needs besides: gates, s and what was read; hhat and the
query are made again, by the same functions, so that an LSTM keeps 7 H numbers a step and what it has read.
The slots, their keys W1 m_j and the adjoints of both belong to the core: a step that is run again writes the
same bits to the same slot.  The way back follows section 4.3 of the derivation line by line:

    hbar = carried + V1^T ybar + mbar_t (if h_t was stored),   sbar = hbar + V2^T ybar,   hhatbar = hbar
    attention:  survivors and the threshold's slot
    cell:       the LSTM's adjoint; before a step with t mod k_trunc = 0 the carried adjoints are dropped
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.recurrent import tanh_slope_of
from refsnn.kernels import BACKENDS, attention_kernels, recurrent_kernels
from refsnn.kernels.attention import Reading
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.contract import Parameters, State
from refsnn.models.sequences import StepTargets
from refsnn.models.working_core import WorkingCore

SLOT = np.dtype(np.int32)


class AttentiveCore(WorkingCore):
    """The working core of an `AttentiveNetwork`.

    Parameters
    ----------
    network : AttentiveNetwork
        The model.
    parameters, inputs, targets
        As `network.check` returned them; None for no loss.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Attributes
    ----------
    memory, keys : ndarray, (N, B, H), (N, B, A)
        m_j and W1 m_j.
    reach : ndarray, (T, B)
        Norm of dL/dh_t of each sample, once its step was pulled back.
    gap : ndarray, (1,)
        Smallest difference between a threshold and its neighbours in order.
    """

    def __init__(
        self,
        network: AttentiveNetwork,
        parameters: Parameters,
        inputs: np.ndarray,
        targets: StepTargets | None,
        backend: str = "cpu",
    ) -> None:
        checks.choice("backend", backend, BACKENDS)
        self.network, self.inputs, self.targets = network, inputs, targets
        self.dtype = np.result_type(*parameters.values())
        if self.dtype.kind == "c" and backend != "plain":
            raise TypeError(f"backend: expected 'plain' with complex parameters, got {backend!r}")
        self.kernels, self.attention = recurrent_kernels(backend), attention_kernels(backend)
        steps, self.batch = inputs.shape[:2]
        _, units, outputs = network.widths
        rows, width = parameters["cell.input_weight"].shape[0], network.attention_width
        self.slots = network.slots_before(steps + 1)
        self._places = network.places(network.slots_before(steps))
        real = np.empty(0, self.dtype).real.dtype
        lstm = network.cell == "lstm"
        each = (self.batch, units), self.dtype
        state: dict[str, Any] = {"hidden": each} | ({"cell": each} if lstm else {})
        tape: dict[str, Any] = {
            **state,
            "summary": ((self.batch, units), self.dtype),
            "weights": ((self.batch, self._places), self.dtype),
            "normaliser": ((self.batch,), self.dtype),
            "chosen": ((self.batch, self._places), SLOT),
            "survivors": ((self.batch,), SLOT),
            "threshold_slot": ((self.batch,), SLOT),
        }
        tape |= {"gates" if lstm else "provisional": ((self.batch, rows), self.dtype)}
        parameters = {name: np.ascontiguousarray(a, self.dtype) for name, a in parameters.items()}
        super().__init__(state, tape, state, parameters, steps)

        def zeros(*shape: int) -> np.ndarray:
            return self.scratch(np.zeros(shape, self.dtype))

        self.memory, self.keys = zeros(self.slots, self.batch, units), zeros(self.slots, self.batch, width)
        self._memory_adjoint, self._key_adjoint = np.zeros_like(self.memory), np.zeros_like(self.keys)
        self.scratch_bytes += self._memory_adjoint.nbytes + self._key_adjoint.nbytes
        self._scores, self._score_adjoint = zeros(self.batch, self.slots), zeros(self.batch, self.slots)
        self._drive, self._recurrent = zeros(self.batch, rows), zeros(self.batch, rows)
        self._summary_adjoint, self._query_adjoint = zeros(self.batch, units), zeros(self.batch, width)
        self._provisional_adjoint = zeros(self.batch, units)
        self._query = zeros(self.batch, width)
        self._provisional = zeros(self.batch, units) if lstm else self.tape.arrays["provisional"]
        self.outputs, self.errors = zeros(self.batch, outputs), zeros(self.batch, outputs)
        self._weights = np.zeros(self.batch, real)
        self._bias = self.parameters["cell.input_bias"] + self.parameters["cell.recurrent_bias"]
        separable = network.score == "separable"
        self._score_weight = np.ones(1, self.dtype) if separable else parameters["attention.score_weight"]
        self._score_gradient = (
            np.zeros(1, self.dtype) if separable else self.gradients["attention.score_weight"]
        )
        self._squashed = not separable
        self._tanh_first = network.score != "mlp"
        squared = network.loss_function == "mean_squared_error"
        self._loss = self.kernels.squared_error if squared else self.kernels.cross_entropy
        self.gap = np.full(1, np.inf, real)
        self.reach = np.zeros((steps, self.batch), real)

    # -- start ----------------------------------------------------------------------------------------

    def start(self, state: State | None) -> None:
        """See `WorkingCore.start`; slot 0 is h_0, unless the memory starts empty."""
        if state is None:
            self.before.memory.fill(0)
        else:
            self.before.load(self.before.checked("initial_state", state), "initial_state")
        if not self.network.empty_memory:
            self._store(0, self.before.arrays["hidden"])

    def seed(self, adjoint: State | None = None) -> None:
        """See `WorkingCore.seed`."""
        self.adjoint.memory.fill(0)
        self._memory_adjoint.fill(0)
        self._key_adjoint.fill(0)
        for gradient in self.gradients.values():
            gradient.fill(0)
        self.loss = 0.0
        for name, value in (adjoint or {}).items():
            self.adjoint.arrays[name] += value

    def _store(self, slot: int, hidden: np.ndarray) -> None:
        """S7: m_j = h_t, and its key."""
        self.memory[slot] = hidden
        heard = hyperbolic_tangent(hidden) if self._tanh_first else hidden
        np.dot(heard, self.parameters["attention.memory_weight"].T, out=self.keys[slot])

    # -- forward --------------------------------------------------------------------------------------

    def forward(self, step: int) -> None:
        """See `WorkingCore.forward`: S2 to S7."""
        own, network, before, tape = self.parameters, self.network, self.before.arrays, self.tape.arrays
        np.dot(self.inputs[step - 1], own["cell.input_weight"].T, out=self._drive)
        np.dot(before["hidden"], own["cell.recurrent_weight"].T, out=self._recurrent)
        if network.cell == "lstm":
            self.kernels.lstm_gates(
                self._drive, self._recurrent, self._bias, before["cell"], tape["gates"], tape["cell"]
            )
        else:
            self.kernels.tanh_forward(self._drive, self._recurrent, self._bias, tape["provisional"])
        self._ask()
        filled = network.slots_before(step)
        keys = self.keys[:filled]
        self.attention.score(keys, self._query, self._score_weight, self._squashed, self._scores)
        reading = self.reading
        if filled:
            self._check_scores(step, filled)
            self.attention.select(
                network.rule(filled, self.gap.dtype), self._scores, filled, reading, self.gap
            )
        else:
            reading.survivors.fill(0)
            reading.threshold_slot.fill(-1)
        self.attention.summarise(self.memory, reading, tape["summary"])
        if network.augmented:
            np.add(self._provisional, tape["summary"], out=tape["hidden"])
        else:
            np.copyto(tape["hidden"], self._provisional)
        slot = network.slot_of(step)
        if slot is not None:
            self._store(slot, tape["hidden"])
        self.recover(step)

    def _check_scores(self, step: int, filled: int) -> None:
        """A NaN has no rank: it would be left out, or be the threshold, without a word."""
        finite = np.isfinite(self._scores[:, :filled])
        if not finite.all():
            sample, slot = np.argwhere(~finite)[0]
            raise FloatingPointError(
                f"scores: expected finite numbers, got {self._scores[sample, slot]} at step {step} for slot "
                f"{slot} of sample {sample}; raw scores are not bounded: take small_memory='softmax', or "
                "smaller weights"
            )

    def _ask(self) -> np.ndarray:
        """hhat_t from the tape, and the query W2 hhat_t; returns what W2 is applied to."""
        tape, heard = self.tape.arrays, self._provisional
        if self.network.cell == "lstm":
            self.kernels.lstm_hidden(tape["gates"], tape["cell"], heard)
        asked = hyperbolic_tangent(heard) if self._tanh_first else heard
        np.dot(asked, self.parameters["attention.query_weight"].T, out=self._query)
        return asked

    @property
    def reading(self) -> Reading:
        """What the step at hand has read."""
        tape = self.tape.arrays
        return Reading(*(tape[name] for name in Reading._fields))

    def recover(self, step: int) -> None:
        """See `WorkingCore.recover`."""
        for name, array in self.after.arrays.items():
            np.copyto(array, self.tape.arrays[name])

    def read_out(self) -> np.ndarray:
        """S6 of the step at hand, in memory that the next call uses again."""
        own, tape = self.parameters, self.tape.arrays
        np.dot(tape["hidden"], own["readout.weight"].T, out=self.outputs)
        self.outputs += tape["summary"] @ own["readout.summary_weight"].T
        self.outputs += own["readout.bias"]
        return self.outputs

    def step_loss(self, step: int) -> Any:
        """l_t; its gradient is then in `errors`.

        Parameters
        ----------
        step : int
            t.

        Returns
        -------
        float
        """
        if self.targets is None:
            return 0.0
        values, weights = self.targets.at(step - 1)
        np.copyto(self._weights, weights)
        return self._loss(self.read_out(), values, self._weights, self.errors)

    # -- backward -------------------------------------------------------------------------------------

    def backward(self, step: int) -> None:
        """See `WorkingCore.backward`."""
        own, network, gradients = self.parameters, self.network, self.gradients
        before, tape, adjoint = self.before.arrays, self.tape.arrays, self.adjoint.arrays
        # the loss of this step
        self.loss += self.step_loss(step)
        gradients["readout.weight"] += self.errors.T @ tape["hidden"]
        gradients["readout.summary_weight"] += self.errors.T @ tape["summary"]
        gradients["readout.bias"] += self.errors.sum(axis=0)
        # h_t, with all that read it as a memory: they are done already
        hidden_adjoint = adjoint["hidden"]
        hidden_adjoint += self.errors @ own["readout.weight"]
        slot = network.slot_of(step)
        if slot is not None:
            hidden_adjoint += self._close(slot)
        self.reach[step - 1] = np.sqrt(np.square(np.abs(hidden_adjoint)).sum(axis=1))
        summary_adjoint, provisional = self._summary_adjoint, self._provisional_adjoint
        np.dot(self.errors, own["readout.summary_weight"], out=summary_adjoint)
        if network.augmented:
            summary_adjoint += hidden_adjoint
        np.copyto(provisional, hidden_adjoint)
        # attention
        filled = network.slots_before(step)
        if filled:
            asked = self._ask()
            self.attention.attend_backward(
                network.rule(filled, self.gap.dtype), filled, self.keys, self._query, self._score_weight,
                self._squashed, self.memory, self.reading, summary_adjoint, "value" not in network.detached,
                self._memory_adjoint, self._key_adjoint, self._score_gradient, self._query_adjoint,
                self._score_adjoint,
            )  # fmt: skip
            gradients["attention.query_weight"] += self._query_adjoint.T @ asked
            if "query" not in network.detached:
                by_query = self._query_adjoint @ own["attention.query_weight"]
                one = self.gap.dtype.type(1)
                provisional += by_query * tanh_slope_of(asked, one) if self._tanh_first else by_query
        # cell
        drive = self._drive
        if network.cell == "lstm":
            self.kernels.lstm_backward(
                tape["gates"], tape["cell"], before["cell"], provisional, adjoint["cell"], drive
            )
        else:
            self.kernels.tanh_backward(tape["provisional"], provisional, drive)
        gradients["cell.input_weight"] += drive.T @ self.inputs[step - 1]
        gradients["cell.recurrent_weight"] += drive.T @ before["hidden"]
        for name in ("cell.input_bias", "cell.recurrent_bias"):
            gradients[name] += drive.sum(axis=0)
        if self.input_gradients is not None:
            np.dot(drive, own["cell.input_weight"], out=self.input_gradients[step - 1])
        if network.cut_before(step):
            self.adjoint.memory.fill(0)
        else:
            np.dot(drive, own["cell.recurrent_weight"], out=hidden_adjoint)
        if step == 1 and not network.empty_memory:
            hidden_adjoint += self._close(0)

    def _close(self, slot: int) -> np.ndarray:
        """dL/dm_j, once all who read the slot are done: by sums and, through its key, by scores."""
        memory, by_key = self.memory[slot], self._key_adjoint[slot]
        heard = hyperbolic_tangent(memory) if self._tanh_first else memory
        self.gradients["attention.memory_weight"] += by_key.T @ heard
        total = self._memory_adjoint[slot]
        if "key" not in self.network.detached:
            by_score = by_key @ self.parameters["attention.memory_weight"]
            one = self.gap.dtype.type(1)
            total = total + (by_score * tanh_slope_of(heard, one) if self._tanh_first else by_score)
        return total
