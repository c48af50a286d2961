"""E-prop on adaptive spiking neurons: the gradient that does not cross synapses, without going back in time.

Cut every path from the spikes of a neuron to the currents of the others.  What is left of dL/dW_ji is local
to the synapse: its eligibilities, the derivatives of z_j, v_j and b_j by W_ji within neuron j, run along with
the network (Bellec 2018 with scheme "official"; Bellec 2020),

    e^b_{k+1} = rho e^b_k + (1 - rho) e^z_k
    e^z_{k+1} = (1 - m) psi / delta (e^v_k / B - v_k beta e^b_{k+1} / B^2)
    e^v_{k+1} = alpha e^v_k + (1 - alpha) s_k - delta (B_{k+1} e^z_k + z_k beta e^b_{k+1})

with s_k = pre_{k-d}, what arrives through the synapse.  The other schemes and the other divisor have the same
form (`refsnn.equations.adaptive`), and so have the constants of a neuron, which act in the place of s_k.  The
read-out is a filter and a mean over windows; both are applied to the eligibilities, so that

    dL/dW_ji = sum over windows (dL/dm_j) e^m        at the end of each.

This equals BPTT with the recurrent transmission stopped (`stop_recurrent=True`), and keeps nothing of the
past but the last D spikes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.adaptive_bptt import AdaptiveResult, RateRegulariser
from refsnn.algorithms.result import Diagnostics
from refsnn.equations.adaptive import (
    before_the_spike,
    leaky_mean,
    tangent_after_the_spike,
    tangent_before_the_spike,
)
from refsnn.models.adaptive.core import (
    ADAPTATION,
    AVERAGE,
    CURRENTS,
    POTENTIAL,
    REFRACTORY,
    SPIKES,
    AdaptiveCore,
)
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS
from refsnn.models.contract import Parameters, State

_DIRECT = "spikes", "potential", "threshold"


def adaptive_eprop(
    model: AdaptiveSpikingNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    regulariser: RateRegulariser | None = None,
    cotangents: dict[str, Any] | None = None,
    initial_state: State | None = None,
    backend: str = "cpu",
) -> AdaptiveResult:
    """Gradients from eligibilities and the loss's direct derivative by the spikes, forward in time.

    Parameters
    ----------
    model : AdaptiveSpikingNetwork
        The network; any scheme and divisor.  `stop_reset` is heeded; recurrent transmission is stopped
        whatever `stop_recurrent` says.
    parameters : dict of str to ndarray
        As `model.parameter_shapes()` says.
    inputs : ndarray, (T, B, n_in), StaticInput, SpikeEvents or DrivenInput
        What each step hears.
    targets : WindowTargets, StepTargets, array_like or None
        What the read-out should be; None for no such loss.
    regulariser : RateRegulariser, optional
        A penalty on mean rates; they are known at the end, and the sum of eligibilities waits for them.
    cotangents : dict of str to ndarray, optional
        Direct derivatives of a loss of your own by "spikes", "potential" and "threshold", each (T, B, n).
    initial_state : dict of str to ndarray, optional
        Zeros by default; nothing of the gradient goes back beyond it.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the network.

    Returns
    -------
    AdaptiveResult
        The loss without the penalty, the gradients with it; `bytes_kept` does not depend on T.  No gradients
        by the first state or the inputs.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from refsnn.algorithms.adaptive_bptt import adaptive_bptt
    >>> network, rng = AdaptiveSpikingNetwork((4, 20, 2)), np.random.default_rng(0)
    >>> cut = replace(network, neuron=replace(network.neuron, stop_recurrent=True))
    >>> arguments = network.initialise(rng, gain=2.0), rng.random((50, 3, 4)), [0, 1, 1]
    >>> local, truth = adaptive_eprop(network, *arguments), adaptive_bptt(cut, *arguments)
    >>> all(np.allclose(local.gradients[n], truth.gradients[n], rtol=1e-11) for n in truth.gradients)
    True
    """
    checks.instance("model", model, AdaptiveSpikingNetwork, "AdaptiveSpikingNetwork((4, 20, 2))")
    if regulariser is not None:
        checks.instance("regulariser", regulariser, RateRegulariser, "RateRegulariser(0.1)")
        regulariser.fits(model.neuron)
    windows = None
    if targets is None:
        parameters, inputs = model.check_inputs(parameters, inputs)
    else:
        parameters, inputs, windows = model.check(parameters, inputs, targets)
    core = model.working_core(parameters, inputs, windows, backend=backend)
    direct = _checked(cotangents, core)
    core.start(initial_state)
    core.seed()
    synapses = Eligibilities(core)
    by_average = np.zeros((core.batch, model.widths[1]), core.dtype)
    spikes, outputs = np.zeros(model.widths[1], core.dtype), []
    for step in range(1, core.steps + 1):
        core.forward(step)
        synapses.follow(step)
        spikes += core.after.arrays[SPIKES].sum(axis=0)
        if windows is not None and windows.window[step - 1] >= 0:
            core.loss += core.step_loss(step)
            outputs.append(core.read(core.after.arrays[AVERAGE]).copy())
            core.pull_readout(core.after.arrays[AVERAGE], by_average)
            synapses.learn(by_average, synapses.average)
        for name, learning_signal in direct.items():
            synapses.learn(learning_signal[step - 1], getattr(synapses, name))
        np.copyto(core.before.memory, core.after.memory)
    penalty = 0.0
    if regulariser is not None:
        delta = model.neuron.time_step
        penalty, rates = regulariser.of(spikes.astype(np.float64), core.steps * core.batch, delta)
        synapses.learn(np.broadcast_to(rates, by_average.shape).astype(core.dtype), synapses.total)
    mean_rates = spikes / (core.steps * core.batch)
    read = np.array(outputs, core.dtype).reshape(len(outputs), core.batch, model.widths[2])
    return AdaptiveResult(
        loss=float(core.loss),
        gradients=synapses.gradients(),
        diagnostics=Diagnostics(
            steps_executed=core.steps,
            bytes_kept=synapses.nbytes,
            outputs=core.read(core.after.arrays[AVERAGE]).copy(),
            spike_rates={"layer.1": float(mean_rates.mean() * model.neuron.time_step)},
            margin=float(core.margin[0]),
        ),
        penalty=penalty,
        window_outputs=read,
        rates=mean_rates,
        initial_gradients={},
        final_state=core.after.copies(),
        input_gradients=None,
    )


class Eligibilities:
    """Derivatives of each neuron's own state by its own parameters, (B, n, n_in + n + constants).

    Parameters
    ----------
    core : AdaptiveCore
        The network at its start.

    Attributes
    ----------
    spikes, potential, adaptation, threshold : ndarray, (B, n, P)
        e^z, e^v, e^b and e^B after the step.
    average, total : ndarray, (B, n, P)
        The eligibility of the mean read-out, and the sum of e^z over the steps so far.
    """

    def __init__(self, core: AdaptiveCore) -> None:
        self.core, model = core, core.wiring.network
        inputs, n, _ = model.widths
        self.readout_decay = core.dtype.type(model.readout_decay)
        self.columns = inputs + n, len(NEURON_PARAMETERS) if model.trained else 0
        shape = core.batch, n, sum(self.columns)
        self.spikes, self.potential, self.adaptation, self.threshold = self._zeros(4, shape)
        self.trace, self.average, self.total = self._zeros(3, shape)
        self.gradient = np.zeros(shape[1:], core.dtype)
        # what the last D steps sent, the newest first; and what was under way at the start
        self.sent = np.zeros((model.delays.slots, core.batch, inputs + n), core.dtype)
        self.waiting = core.before.arrays[CURRENTS].copy()
        self.delays = np.concatenate([model.delays.input, model.delays.recurrent], axis=1)
        self.weights = np.concatenate(
            [core.parameters[f"layer.1.{name}_weight"] for name in ("input", "recurrent")], axis=1
        )
        self.weights[np.arange(n), inputs + np.arange(n)] = 0

    def _zeros(self, count: int, shape: tuple[int, ...]) -> list[np.ndarray]:
        return [np.zeros(shape, self.core.dtype) for _ in range(count)]

    @property
    def nbytes(self) -> int:
        """Of everything that is carried along."""
        carried = self.spikes, self.potential, self.adaptation, self.threshold
        means = self.trace, self.average, self.total
        return sum(array.nbytes for array in (*carried, *means, self.gradient, self.sent, self.waiting))

    def follow(self, step: int) -> None:
        """One step, after the core has made it.

        Parameters
        ----------
        step : int
            k + 1.
        """
        core = self.core
        before, after, driven = core.before.arrays, core.after.arrays, core.heard_in(step, step)
        late, new, to_threshold, by_threshold, attached, _, _, slope, height, delta, peak, one = core.options[
            1
        ]
        arriving = self._arriving(step)
        current = (arriving * self.weights).sum(axis=-1) + self.waiting[:, 0]
        if len(driven.noise):
            current = current + driven.noise[0]
        drift = self._drift(arriving)
        moments = before[SPIKES], before[POTENTIAL], before[ADAPTATION], current
        z, v, b, arrived = (np.expand_dims(value, -1) for value in moments)
        alpha, rho, beta, baseline = (value[:, None] for value in core.wiring.neurons)
        point = z, v, b, arrived, alpha, rho, beta, baseline
        switches = late, new, to_threshold, by_threshold
        _, threshold, _, distance = before_the_spike(*point, *switches, delta, one)
        self.adaptation, self.threshold, charged, moved = tangent_before_the_spike(
            self.spikes, self.potential, self.adaptation, *drift, *point, *switches, attached, delta, one
        )
        closed = driven.masks[0] if len(driven.masks) else before[REFRACTORY] > 0
        psi = core.options[0].surrogate(distance, slope, height, one) * peak
        self.spikes = np.where(closed[..., None], one - one, psi * moved)
        self.potential = tangent_after_the_spike(
            charged, self.spikes, self.threshold, after[SPIKES][..., None], threshold, late, attached, delta
        )
        if core.windows is not None:
            keep, share = core.windows.keep[step - 1], core.windows.share[step - 1]
            self.trace = leaky_mean(self.trace, self.spikes, self.readout_decay, one)
            self.average = keep * self.average + share * self.trace
        self.total += self.spikes
        self.waiting[:, :-1] = self.waiting[:, 1:].copy()
        self.waiting[:, -1] = 0

    def _arriving(self, step: int) -> np.ndarray:
        """s_k = pre_{k-d} of every synapse, (B, n, n_in + n)."""
        core = self.core
        self.sent[1:] = self.sent[:-1].copy()
        inputs = core.inputs.inputs[step - 1]
        self.sent[0] = np.concatenate([inputs, core.before.arrays[SPIKES]], axis=1)
        return np.moveaxis(self.sent[self.delays, :, np.arange(self.delays.shape[1])], -1, 0)

    def _drift(self, arriving: np.ndarray) -> tuple[Any, Any, Any, Any, Any]:
        """Which parameter moves what: the current, alpha, rho, beta, b^0; (B, n, P) and (P,)."""
        synapses, constants = self.columns
        current = np.zeros((*arriving.shape[:2], synapses + constants), arriving.dtype)
        current[..., :synapses] = arriving
        n = arriving.shape[1]
        current[:, np.arange(n), synapses - n + np.arange(n)] = 0  # a neuron does not hear itself
        each = np.zeros((len(NEURON_PARAMETERS), synapses + constants), arriving.dtype)
        each[:, synapses:] = np.eye(len(each), constants)
        by_leak, by_decay, by_strength, by_baseline = each
        return current, by_leak, by_decay, by_strength, by_baseline

    def learn(self, signal: np.ndarray, eligibility: np.ndarray) -> None:
        """Add the sum over the batch of learning signal times eligibility.

        Parameters
        ----------
        signal : ndarray, (B, n)
            Direct derivative of the loss.
        eligibility : ndarray, (B, n, P)
            Of what it is a derivative by.
        """
        self.gradient += (signal[..., None] * eligibility).sum(axis=0)

    def gradients(self) -> Parameters:
        """Under the names of the parameters, those of the read-out included."""
        core = self.core
        found = {name: value.copy() for name, value in core.gradients.items()}
        inputs, synapses = core.wiring.network.widths[0], self.columns[0]
        found["layer.1.input_weight"] = self.gradient[:, :inputs].copy()
        found["layer.1.recurrent_weight"] = self.gradient[:, inputs:synapses].copy()
        for column, name in enumerate(NEURON_PARAMETERS):
            if name in core.wiring.network.trained:
                found[f"layer.1.{name}"] = self.gradient[:, synapses + column].copy()
        return found


def _checked(given: Any, core: AdaptiveCore) -> dict[str, np.ndarray]:
    """Cotangents of fitting shapes."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not given.keys() <= set(_DIRECT):
        raise ValueError(f"cotangents: expected a dict with entries among {_DIRECT}, got {given!r:.80}")
    shape = core.steps, core.batch, core.wiring.network.widths[1]
    return {
        name: checks.float_array(f"cotangents[{name!r}]", value, shape, core.dtype)
        for name, value in given.items()
    }
