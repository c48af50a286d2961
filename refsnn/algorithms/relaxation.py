"""Relaxation: let a convergent network with static input settle, and say how well it has.

    s_{t+1} = F(x, s_t, theta)                       free phase        (E1)
    s_{t+1} = F(x, s_t, theta) - beta dl/ds(s_t, y)  nudged phase      (E5)

(E5) is nudged outside the activation with epsilon = 1.  The leaky step of an energy-based network is nudged
with epsilon beta (E10), and a prototypical network may feel the force inside its activation (E17).

All layers step at once.  Convergence is what every statement about equilibrium propagation needs and what
fixed step counts do not give, so the residual is always returned, and a tolerance can be asked for instead.
Synchronous updates may also lock into an orbit of period two, which |F(F(s)) - s| tells apart from slow
convergence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels import BACKENDS, relaxation_kernels
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.coupled_layers import largest_difference
from refsnn.models.couplings import Arrays

# after so many steps a run to a tolerance looks whether it goes round in a two-cycle
STEPS_BETWEEN_LOOKS = 100


class NotSettledError(RuntimeError):
    """A relaxation to a tolerance that did not arrive; says whether it cycles or only needs more steps."""


@dataclass(frozen=True)
class Relaxation:
    """Where a relaxation ended.

    Attributes
    ----------
    state : dict of ndarray
        s_T, one array a layer.
    kept : tuple of states
        The last states of the trajectory, oldest first; `state` is the last of them.
    residual : float
        max |F(s_T) - s_T|, in the units of the states.
    two_cycle_residual : float
        max |F(F(s_T)) - s_T|.
    steps_taken : int
        T.
    steps_executed : int
        Applications of the step, the two for the residuals included.
    """

    state: State
    kept: tuple[State, ...]
    residual: float
    two_cycle_residual: float
    steps_taken: int
    steps_executed: int

    @property
    def two_cycle(self) -> bool:
        """Whether it goes to and fro: two steps bring it back to rounding, and one moves it by far more.

        Steady to rounding is no cycle, nor is an alternating approach to a steady state, however slow.
        """
        size = max(1.0, *(float(np.abs(array).max()) for array in self.state.values()))
        dtype = next(iter(self.state.values())).real.dtype
        rounding = 64 * float(np.finfo(dtype).eps) * size
        return self.two_cycle_residual <= rounding and self.residual > np.sqrt(rounding)

    @property
    def bytes_kept(self) -> int:
        """Bytes of the kept states."""
        return sum(array.nbytes for state in self.kept for array in state.values())


def relax(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    state: State | None = None,
    steps: int = 100,
    targets: Any = None,
    nudge: complex = 0.0,
    keep_last: int = 0,
    tolerance: float | None = None,
    backend: str = "cpu",
) -> Relaxation:
    """Apply the step `steps` times, free or nudged, or until it moves nothing, and measure the residual.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says.
    inputs : array_like, shape (B, d_N) or (B, C, H, W)
        x, held fixed.
    state : dict of ndarray, optional
        Where to start; zeros by default.
    steps : int
        T; with a tolerance, the most steps to take.
    targets : array_like, shape (B, d_0), optional
        y; without it the phase is free.
    nudge : float or complex
        beta; any sign, 0 allowed here.
    keep_last : int
        How many of the last states to keep, the final one included.
    tolerance : float, optional
        Stop when a step moves no unit by more than this.
    backend : {"plain", "cpu", "cuda"}
        The step of the model in a loop, or the same compiled.

    Returns
    -------
    Relaxation

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for a nudge without targets.
    FloatingPointError
        If the states overflow.
    NotSettledError
        If a tolerance was asked for and not reached, with the reason.
    BackendUnavailableError
        For "cuda" on a machine without a CUDA device.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network = PrototypicalNetwork((2, 3, 4))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> relax(network, parameters, np.ones((1, 4)), steps=200).residual < 1e-15
    True
    >>> relax(network, parameters, np.ones((1, 4)), steps=200, tolerance=1e-6).steps_taken < 50
    True
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets, need_targets=False)
    steps = checks.count("steps", steps)
    keep_last = checks.count("keep_last", keep_last, minimum=0)
    nudge = checked_nudge(model, nudge, zero_allowed=True)
    checks.choice("backend", backend, BACKENDS)
    if tolerance is not None:
        tolerance = checks.number("tolerance", tolerance, 0)
    if nudge != 0 and targets is None:
        raise ValueError("targets: expected an array because nudge is not 0, got None")
    if state is None:
        state = model.initial_state(parameters, len(inputs))
    else:
        dtype = np.result_type(*parameters.values())
        state = model.check_state(state, len(inputs), dtype)
    drive = model.static_drive(parameters, inputs)
    phase: dict[str, Any] = {"nudge": nudge, "drive": drive, "keep_last": keep_last, "backend": backend}
    if tolerance is None:
        return settle(model, parameters, inputs, state, steps, targets, **phase)
    return _settle_to(model, parameters, inputs, state, steps, targets, tolerance, phase)


def settle(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    state: State,
    steps: int,
    targets: np.ndarray | None,
    nudge: complex,
    drive: Arrays,
    keep_last: int = 0,
    backend: str = "cpu",
    tolerance: float = -1.0,
) -> Relaxation:
    """`relax` behind the door: arguments are checked, the drive is computed, a tolerance is no promise.

    Returns
    -------
    Relaxation

    Raises
    ------
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network, x = PrototypicalNetwork((1, 1)), np.ones((1, 1))
    >>> parameters = {"coupling.0.1.weight": np.zeros((1, 1)), "coupling.0.1.bias": np.zeros(1)}
    >>> start, drive = network.initial_state(parameters, 1), network.static_drive(parameters, x)
    >>> settle(network, parameters, x, start, 5, None, 0.0, drive).residual
    0.0
    """
    run = _advance_plain if backend == "plain" else _advance_compiled
    problem, force = (model, parameters, inputs), (targets, nudge, drive)
    # an overflow is reported below and by `_measured`, with words
    with np.errstate(over="ignore", invalid="ignore"):
        if tolerance >= 0:
            state, kept, taken = run(*problem, state, steps, *force, keep_last, tolerance, backend)
            return _measured(*problem, state, kept, taken, *force, backend)
        # the last step is known before: the two for the residuals are made in one go with it
        *kept_and_state, once, twice = run(
            *problem, state, steps + 2, *force, max(keep_last, 1) + 2, -1.0, backend
        )[1]
    kept = tuple(kept_and_state) if keep_last else ()
    return _with_residuals(kept_and_state[-1], kept, steps, once, twice)


def _measured(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    state: State,
    kept: tuple[State, ...],
    taken: int,
    targets: np.ndarray | None,
    nudge: complex,
    drive: Arrays,
    backend: str,
) -> Relaxation:
    """Where a relaxation ended, with its residuals."""
    run = _advance_plain if backend == "plain" else _advance_compiled
    phase = targets, nudge, drive, 3, -1.0, backend
    with np.errstate(over="ignore", invalid="ignore"):
        _, once, twice = run(model, parameters, inputs, state, 2, *phase)[1]
    return _with_residuals(state, kept, taken, once, twice)


def _with_residuals(
    state: State, kept: tuple[State, ...], taken: int, once: State, twice: State
) -> Relaxation:
    """A relaxation that ended in `state`, from where one and two steps more lead to `once` and `twice`."""
    with np.errstate(over="ignore", invalid="ignore"):
        residual, two_cycle = largest_difference(once, state), largest_difference(twice, state)
    if not (np.isfinite(residual) and np.isfinite(two_cycle)):
        raise overflow(taken)
    return Relaxation(state, kept, residual, two_cycle, taken, taken + 2)


def free_and_nudged(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    targets: np.ndarray,
    free_steps: int,
    nudged_steps: int,
    nudges: Sequence[complex],
    keep_last: int = 0,
    backend: str = "cpu",
    tolerance: float | None = None,
) -> tuple[Relaxation, list[tuple[State, ...]]]:
    """A free phase from zero, then a nudged one from its end for each nudge, all from the same s_*.

    Arguments are checked; see `relax` for what they are.

    Returns
    -------
    Relaxation, list of tuples of states
        The free phase, and the last states of each nudged one: `keep_last` of them, and at least one.

    Raises
    ------
    FloatingPointError
        If the states overflow.
    NotSettledError
        If the free phase does not come to a tolerance that was asked for.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network, x, y = PrototypicalNetwork((1, 1)), np.ones((1, 1)), np.ones((1, 1))
    >>> parameters = {"coupling.0.1.weight": np.zeros((1, 1)), "coupling.0.1.bias": np.zeros(1)}
    >>> free, (plus, minus) = free_and_nudged(network, parameters, x, y, 5, 1, [0.5, -0.5])
    >>> plus[-1]["layer.0"].item(), minus[-1]["layer.0"].item()
    (0.5, -0.5)
    """
    drive, start = model.static_drive(parameters, inputs), model.initial_state(parameters, len(inputs))
    real = not any(isinstance(nudge, complex) for nudge in nudges)
    if backend == "cuda" and keep_last <= 1 and real and tolerance is None:
        state, nudged = _phases_compiled(
            model, parameters, start, free_steps, nudged_steps, targets, nudges, drive, backend
        )
        kept = (state,) * keep_last
        free = _measured(model, parameters, inputs, state, kept, free_steps, None, 0.0, drive, backend)
    else:
        free = free_phase(model, parameters, inputs, start, free_steps, drive, keep_last, backend, tolerance)
        run = _advance_plain if backend == "plain" else _advance_compiled
        nudged = []
        with np.errstate(over="ignore", invalid="ignore"):
            for nudge in nudges:
                phase = targets, nudge, drive, max(keep_last, 1), -1.0, backend
                nudged.append(run(model, parameters, inputs, free.state, nudged_steps, *phase)[1])
    if not all(np.isfinite(array).all() for kept in nudged for array in kept[-1].values()):
        raise overflow(nudged_steps)
    return free, nudged


def free_phase(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    start: State,
    steps: int,
    drive: Arrays,
    keep_last: int,
    backend: str,
    tolerance: float | None,
) -> Relaxation:
    """A free phase of `steps` steps, or of as many as a tolerance needs and `steps` at most.

    Returns
    -------
    Relaxation

    Raises
    ------
    FloatingPointError
        If the states overflow.
    NotSettledError
        If a tolerance was asked for and not reached, with the reason.
    """
    if tolerance is None:
        return settle(model, parameters, inputs, start, steps, None, 0.0, drive, keep_last, backend=backend)
    tolerance = checks.number("tolerance", tolerance, 0)
    phase: dict[str, Any] = {"nudge": 0.0, "drive": drive, "keep_last": keep_last, "backend": backend}
    return _settle_to(model, parameters, inputs, start, steps, None, tolerance, phase)


def overflow(steps: int) -> FloatingPointError:
    """The error of states that leave the range of their numbers."""
    return FloatingPointError(
        f"state: expected finite states, got overflow within {steps} steps; the network does not settle, "
        "take smaller weights, a smaller step_size or a smaller nudge"
    )


def _settle_to(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    state: State,
    steps: int,
    targets: np.ndarray | None,
    tolerance: float,
    phase: dict[str, Any],
) -> Relaxation:
    """Settle until a step moves nothing by more than `tolerance`, looking for two-cycles on the way."""
    taken = executed = 0
    kept: tuple[State, ...] = ()
    while True:
        chunk = min(STEPS_BETWEEN_LOOKS, steps - taken)
        part = settle(
            model, parameters, inputs, state, chunk, targets, tolerance=tolerance, **phase
        )  # fmt: skip
        state, taken, executed = part.state, taken + part.steps_taken, executed + part.steps_executed
        kept = (*kept[:-1], *part.kept)[-phase["keep_last"] :] if phase["keep_last"] else ()
        if part.residual <= tolerance:
            return Relaxation(state, kept, part.residual, part.two_cycle_residual, taken, executed)
        if part.two_cycle:
            raise NotSettledError(
                f"state: expected a steady state, got an orbit of period two after {taken} steps: one step "
                f"moves a unit by {part.residual:.1e}, two bring it back to {part.two_cycle_residual:.1e}; "
                "take a step_size below 1 or smaller weights"
            )
        if taken >= steps:
            raise NotSettledError(
                f"state: expected a step to move no unit by more than {tolerance:.1e} within {steps} steps, "
                f"got {part.residual:.1e}; take more steps, a larger tolerance or smaller weights"
            )


def _advance_plain(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    state: State,
    steps: int,
    targets: np.ndarray | None,
    nudge: complex,
    drive: Arrays,
    keep_last: int,
    tolerance: float,
    backend: str,
) -> tuple[State, tuple[State, ...], int]:
    """The step of the model, again and again: last state, kept states, steps taken."""
    kept: deque[State] = deque([state], maxlen=max(keep_last, 1))
    taken = 0
    for _ in range(steps):
        before, state = state, model.step(parameters, state, inputs, targets, nudge, drive)
        kept.append(state)
        taken += 1
        if tolerance >= 0 and largest_difference(state, before) <= tolerance:
            break
    return state, tuple(kept) if keep_last else (), taken


def _advance_compiled(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: np.ndarray,
    state: State,
    steps: int,
    targets: np.ndarray | None,
    nudge: complex,
    drive: Arrays,
    keep_last: int,
    tolerance: float,
    backend: str,
) -> tuple[State, tuple[State, ...], int]:
    """The same through the kernels of a backend."""
    kernels = relaxation_kernels(backend)
    arrays = (*parameters.values(), *drive.values(), *state.values(), *([] if targets is None else [targets]))
    dtype = np.result_type(*arrays, *([np.complex64] if isinstance(nudge, complex) else []))
    problem = model.relaxing(parameters, drive, len(inputs), dtype)
    force = None if targets is None else model.nudge_of(parameters, targets, nudge, dtype)
    layers = tuple(state[name].astype(dtype) for name in model.layers)  # copies: kernels write into them
    ring = tuple(np.empty((keep_last, *layer.shape), dtype) for layer in layers) if keep_last else None
    taken = kernels.relax(problem, layers, steps, force, tolerance, ring)
    after = dict(zip(model.layers, layers, strict=True))
    kept: tuple[State, ...] = ()
    if ring is not None:
        slots = [t % keep_last for t in range(max(taken - keep_last + 1, 0), taken + 1)]
        kept = tuple(
            {name: layer[slot] for name, layer in zip(model.layers, ring, strict=True)} for slot in slots
        )
    return after, kept, taken


def _phases_compiled(
    model: ConvergentNetwork,
    parameters: Parameters,
    state: State,
    free_steps: int,
    nudged_steps: int,
    targets: np.ndarray,
    nudges: Sequence[complex],
    drive: Arrays,
    backend: str,
) -> tuple[State, list[tuple[State, ...]]]:
    """All phases at once through the kernels of a backend: the end of the free one, those of the nudged."""
    dtype = np.result_type(*parameters.values(), *drive.values(), *state.values(), targets)
    problem = model.relaxing(parameters, drive, len(targets), dtype)
    force = model.nudge_of(parameters, targets, 0.0, dtype)
    layers = tuple(state[name].astype(dtype) for name in model.layers)  # copies: kernels write into them
    forces = tuple(force._replace(amount=nudge) for nudge in nudges)
    ends = relaxation_kernels(backend).phases(problem, layers, free_steps, nudged_steps, forces)
    after, *nudged = (dict(zip(model.layers, end, strict=True)) for end in (layers, *ends))
    return after, [(end,) for end in nudged]


def checked_phases(free_steps: Any, nudged_steps: Any) -> tuple[int, int]:
    """Return T and K as counts with K <= T.

    The theorem compares K nudged steps with the last K free ones.

    Raises
    ------
    TypeError, ValueError
        If one is no count, or K is above T.

    Examples
    --------
    >>> checked_phases(3, 5)
    Traceback (most recent call last):
    ...
    ValueError: nudged_steps: expected at most free_steps = 3, got 5; the theorem matches them with free ones
    """
    free_steps, nudged_steps = (
        checks.count("free_steps", free_steps),
        checks.count("nudged_steps", nudged_steps),
    )
    if nudged_steps > free_steps:
        raise ValueError(
            f"nudged_steps: expected at most free_steps = {free_steps}, got {nudged_steps}; "
            "the theorem matches them with free ones"
        )
    return free_steps, nudged_steps


def checked_nudge(model: ConvergentNetwork, value: Any, zero_allowed: bool = False) -> complex:
    """Return beta as a plain float, or a complex number for holomorphic networks.

    Raises
    ------
    TypeError, ValueError
        If it is no finite number, 0 where the contrast is divided by it, or complex where the network
        is not holomorphic.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> checked_nudge(PrototypicalNetwork((1, 1)), 0)
    Traceback (most recent call last):
    ...
    ValueError: nudge: expected a number other than 0, got 0; the contrast of the phases is divided by it
    """
    if isinstance(value, (complex, np.complexfloating)):
        model.require_holomorphic("nudge")
        if not np.isfinite(value):
            raise ValueError(f"nudge: expected a finite number, got {value!r}")
        nudge: complex = complex(value)
    else:
        nudge = checks.number("nudge", value)
    if nudge == 0 and not zero_allowed:
        raise ValueError(
            f"nudge: expected a number other than 0, got {value!r}; "
            "the contrast of the phases is divided by it"
        )
    if not isinstance(nudge, complex) and 0 < abs(nudge) < np.finfo(float).eps:
        raise ValueError(
            f"nudge: expected a real number of at least {np.finfo(float).eps:.1e}, got {value!r}; what it "
            "moves is lost in rounding; take an imaginary one, 1e-30j, for the limit"
        )
    return nudge
