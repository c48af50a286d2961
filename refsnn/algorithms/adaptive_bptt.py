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
from refsnn.algorithms.spike_raster import RunResult, SpikeRaster, best_segment
from refsnn.kernels.adaptive import Cotangents
from refsnn.models.adaptive.core import AVERAGE, AdaptiveCore
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import AdaptiveNeuron
from refsnn.models.adaptive.run import Run
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

    def fits(self, neuron: AdaptiveNeuron) -> None:
        """Refuse a target that these neurons cannot reach.

        Parameters
        ----------
        neuron : AdaptiveNeuron
            For its refractory period and time step.

        Raises
        ------
        ValueError
            Where it is in other units, most likely.
        """
        highest = 1 / ((neuron.refractory + 1) * neuron.time_step)
        if self.compat_rate_dt:
            highest /= neuron.time_step
        if self.target > highest:
            raise ValueError(
                f"regulariser.target: expected spikes per ms, at most {highest:.3g} with {neuron.refractory} "
                f"refractory steps of {neuron.time_step} ms, got {self.target}; 10 Hz are 0.01"
            )

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
        What the read-out should be: `WindowTargets.at_the_end(T, length, labels)` for one answer.  A plain
        array is wanted at every step, and the losses of the steps are added up.  None for no such loss.
    regulariser : RateRegulariser, optional
        A penalty on mean rates; of the parts of a sequence it is not that of the whole.
    cotangents : dict of str to ndarray, optional
        Direct derivatives of a loss of your own by "spikes" (z_{k+1}), "potential" (v_{k+1}) and "threshold"
        (B_{k+1}), each (T, B, n).
    initial_state : dict of str to ndarray, optional
        Zeros by default.  The second part of a sequence begins with the `final_state` of the first, as it is;
        another sequence that is to find warm neurons with `model.for_next_sequence(final_state)`.
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
    core = _core(model, parameters, inputs, targets, backend, regulariser)
    direct = _checked_cotangents(cotangents, core)
    state = _first_state(core, initial_state)
    run = Run(core, core.windows)
    run.forward(state)
    outputs = run.outputs()
    spikes = run.states.spikes[1:]
    if model.neuron.smooth:
        total = spikes.sum(axis=(0, 1))
    else:
        total = np.count_nonzero(spikes, axis=(0, 1)) * core.options[1].spike_height
    wanted = np.zeros((core.steps if input_gradients else 0, core.batch, model.widths[0]), core.dtype)

    core.seed(final_adjoint)
    penalty, rates = _penalty(core, regulariser, total)
    cotangents_of_all = Cotangents(direct[0], direct[1], direct[2], run.pull_windows(), rates)
    run.backward(core.adjoint.arrays, cotangents_of_all, wanted)
    run_result = RunResult(outputs, total, run.margin, run.last_state(), run.nbytes)
    return _result(core, run_result, penalty, wanted if input_gradients else None)


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
    """The same bits from one bit of each neuron and step, and v, b, p, m where segments begin.

    The delay line at the beginning of a segment follows from the spikes and inputs of the D - 1 steps before
    it, potentials, thresholds and the read-out within it from the same steps run again (`SpikeRaster`).

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
    >>> whole.diagnostics.bytes_kept / frugal.diagnostics.bytes_kept > 6
    True
    """
    core = _core(model, parameters, inputs, targets, backend, regulariser)
    if model.neuron.smooth:
        raise ValueError(
            "model: expected spikes that are 0 or 1 / time_step, got neuron.smooth=True; use adaptive_bptt"
        )
    state, steps = _first_state(core, initial_state), core.steps
    best = best_segment(steps, model.delays.slots)
    length = min(steps, best if segment is None else checks.count("segment", segment))
    raster = SpikeRaster(core, state, length)
    run_result = raster.forward()

    core.seed(final_adjoint)
    penalty, rates = _penalty(core, regulariser, run_result.total)
    nothing = np.zeros((0, core.batch, model.widths[1]), core.dtype)
    no_inputs = np.zeros((0, core.batch, model.widths[0]), core.dtype)
    for number in reversed(range(raster.count)):
        run = raster.again(number)
        run.backward(
            core.adjoint.arrays, Cotangents(nothing, nothing, nothing, run.pull_windows(), rates), no_inputs
        )
    return _result(core, run_result, penalty, None)


def _core(
    model: Any, parameters: Any, inputs: Any, targets: Any, backend: str, regulariser: RateRegulariser | None
) -> AdaptiveCore:
    """Through the door."""
    checks.instance("model", model, AdaptiveSpikingNetwork, "AdaptiveSpikingNetwork((4, 20, 2))")
    if regulariser is not None:
        checks.instance("regulariser", regulariser, RateRegulariser, "RateRegulariser(0.1)")
        regulariser.fits(model.neuron)
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


def _penalty(
    core: AdaptiveCore, regulariser: RateRegulariser | None, total: np.ndarray
) -> tuple[float, np.ndarray]:
    if regulariser is None:
        return 0.0, np.zeros(total.shape, core.dtype)
    neuron = core.wiring.network.neuron
    penalty, by_spike = regulariser.of(total.astype(np.float64), core.steps * core.batch, neuron.time_step)
    return penalty, by_spike.astype(core.dtype)


def _result(
    core: AdaptiveCore, run: RunResult, penalty: float, input_gradients: np.ndarray | None
) -> AdaptiveResult:
    rates = run.total / (core.steps * core.batch)
    return AdaptiveResult(
        loss=float(core.loss),
        gradients=core.gradients,
        diagnostics=Diagnostics(
            steps_executed=core.steps,
            bytes_kept=run.bytes_kept,
            outputs=core.read(run.last_state[AVERAGE]).copy(),
            spike_rates={"layer.1": float(rates.mean() * core.wiring.network.neuron.time_step)},
            margin=float(run.margin[0]),
        ),
        penalty=penalty,
        window_outputs=run.outputs,
        rates=rates,
        initial_gradients=core.initial_gradients(),
        final_state=run.last_state,
        input_gradients=input_gradients,
    )
