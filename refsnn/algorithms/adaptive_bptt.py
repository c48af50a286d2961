"""BPTT through adaptive spiking neurons (Bellec 2018): thresholds, resets, delays, refractory masks.

With bars for derivatives of the loss, from the last step to the first, for each neuron j:

    ubar = (1 - m_{k+1}) psi(u_{k+1}) zbar / delta                         spikes
    Bbar -= ubar V / B^2 + delta z vbar                                    threshold, by distance and reset
    bbar = bhat + beta Bbar                                                adaptation
    Ibar_k = (1 - alpha) vbar                                              current
    zhat_i = (1 - rho) bbar_i + sum_{j != i} W_ji Ibar_{k + d_ji, j} - delta B_i vbar_i
    vhat = alpha vbar + ubar / B,     bhat = rho bbar                      to step k
    dL/dW_ji = sum_k z_{k,i} Ibar_{k + d_ji, j}

(scheme "official"; `refsnn.equations.adaptive` has all).  What others hear of z_k comes back from the future
by the delay: the adjoint of the delay line is Ibar_k, ..., Ibar_{k + D - 1}.

`adaptive_bptt` keeps z, v and b of each step.  `raster_bptt` keeps one bit of each neuron and step: given the
spikes, potentials and thresholds are linear, and are computed again segment by segment to the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.kernels.adaptive import Cotangents
from refsnn.models.adaptive.core import (
    ADAPTATION,
    AVERAGE,
    COUNTER,
    CURRENTS,
    POTENTIAL,
    REFRACTORY,
    SPIKES,
    TRACE,
    AdaptiveCore,
)
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.run import Run, empty_states, pull_windows
from refsnn.models.contract import Parameters, State

_DIRECT = "spikes", "potential", "threshold"


@dataclass(frozen=True)
class RateRegulariser:
    """lambda sum_j (r_j - f_0)^2, with r_j the mean of z over time and batch (Bellec 2018).

    Parameters
    ----------
    strength : float
        lambda.
    target : float
        f_0 in kHz: 0.01 is 10 Hz.
    compat_rate_dt : bool
        Whether r is divided by the time step once more, as the official code does: harmless at 1 ms only.

    Raises
    ------
    TypeError, ValueError
        For values out of range.

    Examples
    --------
    >>> RateRegulariser(0.1).target
    0.01
    """

    strength: float
    target: float = 0.01
    compat_rate_dt: bool = False

    def __post_init__(self) -> None:
        checks.number("strength", self.strength, 0)
        checks.number("target", self.target, 0)
        if not isinstance(self.compat_rate_dt, bool):
            raise TypeError(f"compat_rate_dt: expected True or False, got {self.compat_rate_dt!r}")

    def of(self, total: np.ndarray, cells: int, time_step: float) -> tuple[float, np.ndarray]:
        """The penalty, and its derivative by each spike of each neuron.

        Parameters
        ----------
        total : ndarray, (n,)
            Sum of z over time and batch.
        cells : int
            T B.
        time_step : float
            delta.

        Returns
        -------
        float, ndarray (n,)
        """
        scale = 1 / time_step if self.compat_rate_dt else 1.0
        distance = total * (scale / cells) - self.target
        by_spike = 2 * self.strength * scale / cells * distance
        return self.strength * float(np.square(distance).sum()), by_spike


@dataclass(frozen=True)
class AdaptiveResult(GradientResult):
    """A gradient, and the run it was taken along.

    Attributes
    ----------
    loss, gradients, diagnostics
        As of any algorithm; the loss without the penalty on rates, the gradients with it.
    penalty : float
        On the rates.
    window_outputs : ndarray, (W, B, outputs)
        The mean read-out of each window.
    rates : ndarray, (n,)
        Mean of z of each neuron, in kHz.
    initial_gradients, final_state : dict of str to ndarray
        dL/d(first state), and the last state.
    input_gradients : ndarray, (T, B, n_in), or None
        dL/dx, where it was asked for.
    """

    penalty: float
    window_outputs: np.ndarray
    rates: np.ndarray
    initial_gradients: State
    final_state: State
    input_gradients: np.ndarray | None


def adaptive_bptt(
    model: AdaptiveSpikingNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    regulariser: RateRegulariser | None = None,
    cotangents: dict[str, Any] | None = None,
    initial_state: State | None = None,
    final_adjoint: State | None = None,
    input_gradients: bool = False,
    backend: str = "cpu",
) -> AdaptiveResult:
    """The gradient of BPTT through a whole sequence; keeps z, v and b of each step.

    Parameters
    ----------
    model : AdaptiveSpikingNetwork
        The network.
    parameters : dict of str to ndarray
        As `model.parameter_shapes()` says.
    inputs : ndarray, (T, B, n_in), StaticInput, SpikeEvents or DrivenInput
        What each step hears.
    targets : WindowTargets, StepTargets, array_like or None
        What the read-out should be; None for no such loss.
    regulariser : RateRegulariser, optional
        A penalty on mean rates.
    cotangents : dict of str to ndarray, optional
        Direct derivatives of a loss of your own by "spikes" (z_{k+1}), "potential" (v_{k+1}) and "threshold"
        (B_{k+1}), each (T, B, n).
    initial_state : dict of str to ndarray, optional
        Zeros by default; the last state of another run goes through `model.carried` first.
    final_adjoint : dict of str to ndarray, optional
        dL/d(last state) of what comes after, as `initial_gradients` of that part.
    input_gradients : bool
        Whether dL/dx is wanted.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    AdaptiveResult

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> network, rng = AdaptiveSpikingNetwork((4, 20, 2)), np.random.default_rng(0)
    >>> parameters = network.initialise(rng, gain=2.0)
    >>> result = adaptive_bptt(network, parameters, rng.random((50, 3, 4)), [0, 1, 1])
    >>> result.gradients["layer.1.recurrent_weight"].shape, result.diagnostics.spike_rates["layer.1"] > 0
    ((20, 20), True)
    """
    core = _core(model, parameters, inputs, targets, backend)
    direct = _checked_cotangents(cotangents, core)
    state = _first_state(core, initial_state)
    run = Run(core, core.windows)
    run.forward(state)
    spikes = run.states.spikes[1:]
    if model.neuron.smooth:
        total = spikes.sum(axis=(0, 1))
    else:
        total = np.count_nonzero(spikes, axis=(0, 1)) * core.options[1].spike_height
    wanted = np.zeros((core.steps if input_gradients else 0, core.batch, model.widths[0]), core.dtype)

    core.seed(final_adjoint)
    loss, by_averages = _window_losses(core, run.averages)
    penalty, rates = _penalty(core, regulariser, total)
    adjoint = core.adjoint.arrays
    run.backward(adjoint, Cotangents(direct[0], direct[1], direct[2], by_averages, rates), wanted)
    bytes_kept = sum(array.nbytes for array in (*run.states, run.arrived, run.averages))
    by_inputs = wanted if input_gradients else None
    return _result(core, run, loss, penalty, total, run.averages, bytes_kept, by_inputs)


def raster_bptt(
    model: AdaptiveSpikingNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    segment: int | None = None,
    regulariser: RateRegulariser | None = None,
    initial_state: State | None = None,
    final_adjoint: State | None = None,
    backend: str = "cpu",
) -> AdaptiveResult:
    """The same bits from one bit of each neuron and step, and v and b where segments begin.

    The delay line and the refractory counters at the beginning of a segment follow from the spikes and inputs
    of the steps before it, potentials and thresholds within it from the same steps run again.

    Parameters
    ----------
    model, parameters, inputs, targets
        As in `adaptive_bptt`.
    segment : int, optional
        Steps of a segment; by default such that the least is kept.
    regulariser, initial_state, final_adjoint, backend
        As in `adaptive_bptt`.

    Returns
    -------
    AdaptiveResult

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range, and smooth spikes, which are no bits.

    Examples
    --------
    >>> network, rng = AdaptiveSpikingNetwork((4, 20, 2)), np.random.default_rng(0)
    >>> from refsnn.models.adaptive.windows import WindowTargets
    >>> at_the_end = WindowTargets.at_the_end(400, 50, [0, 1, 1])
    >>> arguments = network.initialise(rng, gain=2.0), rng.random((400, 3, 4)), at_the_end
    >>> frugal, whole = raster_bptt(network, *arguments), adaptive_bptt(network, *arguments)
    >>> all(np.array_equal(frugal.gradients[name], whole.gradients[name]) for name in whole.gradients)
    True
    >>> whole.diagnostics.bytes_kept / frugal.diagnostics.bytes_kept > 10
    True
    """
    core = _core(model, parameters, inputs, targets, backend)
    if model.neuron.smooth:
        raise ValueError(
            "model: expected spikes that are 0 or 1 / time_step, got neuron.smooth=True; use adaptive_bptt"
        )
    state, steps = _first_state(core, initial_state), core.steps
    length = min(steps, _best_segment(model, steps) if segment is None else checks.count("segment", segment))
    raster = Raster(core, state, length)
    averages, total, margin = raster.forward(state)

    core.seed(final_adjoint)
    loss, by_averages = _window_losses(core, averages)
    penalty, rates = _penalty(core, regulariser, total)
    adjoint, nothing = core.adjoint.arrays, np.zeros((0, core.batch, model.widths[1]), core.dtype)
    no_inputs = np.zeros((0, core.batch, model.widths[0]), core.dtype)
    for number in reversed(range(raster.count)):
        run = raster.again(number)
        run.backward(adjoint, Cotangents(nothing, nothing, nothing, by_averages, rates), no_inputs)
    run.margin = margin
    kept = raster.nbytes + averages.nbytes
    return _result(core, run, loss, penalty, total, averages, kept, None, raster.last_state)


class Raster:
    """The spikes of a run at one bit each, and what is needed to run any segment of it again.

    Parameters
    ----------
    core : AdaptiveCore
        Network, parameters and inputs.
    state : dict of str to ndarray
        Before the first step.
    length : int
        Steps of a segment.
    """

    def __init__(self, core: AdaptiveCore, state: State, length: int) -> None:
        self.core, self.start, self.length = core, state, length
        self.count = -(-core.steps // length)
        n = core.wiring.network.widths[1]
        shape = length + 1, core.batch, n
        self.memory = empty_states(shape, core.dtype)
        self.bits = np.zeros((core.steps, core.batch, -(-n // 8)), np.uint8)
        self.begun = np.zeros((self.count, 2, core.batch, n), core.dtype)
        self.last_state: State = {}

    @property
    def nbytes(self) -> int:
        """Bytes that are kept, the segment at hand included."""
        return sum(array.nbytes for array in (*self.memory, self.bits, self.begun))

    def forward(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The whole run, segment by segment.

        Parameters
        ----------
        state : dict of str to ndarray
            Before the first step.

        Returns
        -------
        averages, total, margin : ndarray
            Means of the windows (W, B, n), sum of all spikes (n,), smallest |u| (1,).
        """
        core, windows = self.core, self.core.windows
        n = core.wiring.network.widths[1]
        averages = np.zeros((0 if windows is None else len(windows.values), core.batch, n), core.dtype)
        counts, margin = np.zeros(n, np.int64), np.full(1, np.inf, core.margin.dtype)
        for number in range(self.count):
            self.begun[number] = state[POTENTIAL], state[ADAPTATION]
            run = self._run(number)
            run.forward(state, averages)
            fired = run.states.spikes[1:] > 0
            self.bits[run.first - 1 : run.first - 1 + run.steps] = np.packbits(fired, axis=-1)
            counts += np.count_nonzero(fired, axis=(0, 1))
            np.minimum(margin, run.margin, out=margin)
            state = run.last_state()
        self.last_state = state
        return averages, counts * core.options[1].spike_height, margin

    def again(self, number: int) -> Run:
        """A segment as it was.

        Parameters
        ----------
        number : int
            Which, from 0.

        Returns
        -------
        Run
        """
        run = self._run(number)
        run.forward(self._state_before(number), np.empty_like(run.averages))
        return run

    def _run(self, number: int) -> Run:
        first = number * self.length + 1
        last = min(first + self.length - 1, self.core.steps)
        return Run(self.core, self.core.windows, first, last, self.memory)

    def _spikes(self, step: int) -> np.ndarray:
        """z after step k, counted from 1."""
        if step == 0:
            return self.start[SPIKES]
        n = self.core.wiring.network.widths[1]
        peak = self.core.options[1].spike_height
        return np.unpackbits(self.bits[step - 1], axis=-1, count=n) * peak

    def _state_before(self, number: int) -> State:
        """z, the counter and the delay line from spikes and inputs before the segment."""
        if number == 0:
            return self.start
        before, core = number * self.length, self.core
        slots, refractory = self.start[CURRENTS].shape[1], core.options[1].refractory
        since = max(0, before - max(slots - 1, refractory))
        counter, currents = self.start[REFRACTORY].copy(), np.zeros_like(self.start[CURRENTS])
        if since == 0:
            currents[...] = self.start[CURRENTS]
        else:
            counter[...] = 0
        spikes = np.stack([self._spikes(step) for step in range(since, before + 1)])
        sent = core.heard_in(since + 1, before), core.wiring.into, core.wiring.back
        core.kernel.transmit(*sent, spikes[:-1], currents)
        for fired in spikes[1:] > 0:
            counter = np.where(fired, refractory, np.maximum(counter - 1, 0)).astype(COUNTER)
        potential, adaptation = self.begun[number]
        nothing = np.zeros_like(potential)
        return {
            SPIKES: self._spikes(before), POTENTIAL: potential, ADAPTATION: adaptation, CURRENTS: currents,
            REFRACTORY: counter, TRACE: nothing, AVERAGE: nothing,
        }  # fmt: skip


def _best_segment(model: AdaptiveSpikingNetwork, steps: int) -> int:
    """Where v and b at the beginnings, 2 T / length of them, and 3 length of a segment are least together."""
    return max(1, round(np.sqrt(2 * steps / 3)))


def _core(model: Any, parameters: Any, inputs: Any, targets: Any, backend: str) -> AdaptiveCore:
    """Through the door."""
    checks.instance("model", model, AdaptiveSpikingNetwork, "AdaptiveSpikingNetwork((4, 20, 2))")
    if targets is None:
        parameters, inputs = model.check_inputs(parameters, inputs)
        return model.working_core(parameters, inputs, None, backend=backend)
    parameters, inputs, windows = model.check(parameters, inputs, targets)
    return model.working_core(parameters, inputs, windows, backend=backend)


def _first_state(core: AdaptiveCore, given: State | None) -> State:
    core.start(given)
    return core.before.copies()


def _checked_cotangents(given: Any, core: AdaptiveCore) -> list[np.ndarray]:
    shape = core.steps, core.batch, core.wiring.network.widths[1]
    if given is None:
        return [np.zeros((0, *shape[1:]), core.dtype)] * 3
    if not isinstance(given, dict) or not given.keys() <= set(_DIRECT):
        raise ValueError(f"cotangents: expected a dict with entries among {_DIRECT}, got {given!r:.80}")
    return [
        np.ascontiguousarray(checks.float_array(f"cotangents[{name!r}]", given[name], shape, core.dtype))
        if name in given
        else np.zeros(shape, core.dtype)
        for name in _DIRECT
    ]


def _window_losses(core: AdaptiveCore, averages: np.ndarray) -> tuple[Any, np.ndarray]:
    return (0.0, averages) if core.windows is None else pull_windows(core, core.windows, averages)


def _penalty(
    core: AdaptiveCore, regulariser: RateRegulariser | None, total: np.ndarray
) -> tuple[float, np.ndarray]:
    if regulariser is None:
        return 0.0, np.zeros_like(total)
    checks.instance("regulariser", regulariser, RateRegulariser, "RateRegulariser(0.1)")
    penalty, by_spike = regulariser.of(
        total.astype(np.float64), core.steps * core.batch, core.wiring.network.neuron.time_step
    )
    return penalty, by_spike.astype(core.dtype)


def _result(
    core: AdaptiveCore,
    run: Run,
    loss: Any,
    penalty: float,
    total: np.ndarray,
    averages: np.ndarray,
    bytes_kept: int,
    input_gradients: np.ndarray | None,
    last_state: State | None = None,
) -> AdaptiveResult:
    rates = total / (core.steps * core.batch)
    outputs = np.array([core.read(average).copy() for average in averages])
    state = run.last_state() if last_state is None else last_state
    return AdaptiveResult(
        loss=float(loss),
        gradients=core.gradients,
        diagnostics=Diagnostics(
            steps_executed=core.steps,
            bytes_kept=bytes_kept,
            outputs=core.read(state[AVERAGE]).copy(),
            spike_rates={"layer.1": float(rates.mean() * core.wiring.network.neuron.time_step)},
            margin=float(run.margin[0]),
        ),
        penalty=penalty,
        window_outputs=outputs,
        rates=rates,
        initial_gradients=core.initial_gradients(),
        final_state=state,
        input_gradients=input_gradients,
    )
