"""A claim about a framework's own neuron, and how it is measured: against a rule, with a negative control.

A claim names a rule (`refsnn.crosscheck.rules`) and holds if the framework gives the same spikes and the same
gradient.  The control is what one would have thought instead; it must differ, so that the claim is not empty.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refsnn.crosscheck.adapter import imported
from refsnn.crosscheck.shapes import psi
from refsnn.crosscheck.simulation import Rule, State, simulated
from refsnn.equations.surrogates import PRESETS, Surrogate
from refsnn.vectors.case import Leaves, Problem
from refsnn.vectors.making import relative_error

CONTROL = 1e-3  # what a control must differ by
LIVE = (0.02, 0.95)  # share of spikes of a problem that says something


class Measured(NamedTuple):
    """What came out.

    Attributes
    ----------
    holds : bool
        Whether the claim does.
    figure : str
        The numbers, in words.
    """

    holds: bool
    figure: str


@dataclass(frozen=True)
class Convention:
    """One claim.

    Attributes
    ----------
    name : str
        Such as "leaky-subtract".
    says : str
        The claim.
    measure : callable
        `() -> Measured`.
    defect : bool
        Whether it is an error of the framework, or a departure from its own documentation.
    """

    name: str
    says: str
    measure: Callable[[], Measured]
    defect: bool = False


@dataclass(frozen=True)
class ConventionOutcome:
    """A claim with what was measured.

    Attributes
    ----------
    convention : Convention
        The claim.
    holds : bool
        Whether it does.
    figure : str
        The numbers, or the error that was raised.
    """

    convention: Convention
    holds: bool
    figure: str


def conventions_of(name: str) -> tuple[Convention, ...]:
    """The claims about a framework.

    Parameters
    ----------
    name : str
        Of its adapter.

    Returns
    -------
    tuple of Convention
        Empty where there are none.

    Examples
    --------
    >>> conventions_of("torch")
    ()
    """
    try:
        found = importlib.import_module(f"refsnn.crosscheck.conventions.{name}")
    except ModuleNotFoundError:
        return ()
    conventions: tuple[Convention, ...] = found.CONVENTIONS
    return conventions


def measured(
    conventions: tuple[Convention, ...], tell: Callable[[str], None] = lambda text: None
) -> tuple[ConventionOutcome, ...]:
    """Measure claims.

    Parameters
    ----------
    conventions : tuple of Convention
        Of an installed framework.
    tell : callable
        Told the name of each.

    Returns
    -------
    tuple of ConventionOutcome
    """
    outcomes = []
    for convention in conventions:
        tell(convention.name)
        try:
            holds, figure = convention.measure()
        except (Exception, SystemExit) as error:  # an option that a version no longer has is a finding too
            holds, figure = False, f"{type(error).__name__}: {error}"
        outcomes.append(ConventionOutcome(convention, bool(holds), figure))
    return tuple(outcomes)


def drive(
    preset: str | Surrogate, seed: int = 0, steps: int = 40, neurons: int = 16, **given: Any
) -> Problem:
    """A problem for a framework's own neuron: random currents, a random upstream gradient, a start at rest.

    Parameters
    ----------
    preset : str or Surrogate
        Of `refsnn.equations.surrogates.PRESETS`.
    seed, steps, neurons : int
        Of the generator; T and M.
    **given : Any
        Hyper-parameters in place of those of the reference; ``amplitude`` multiplies the currents.

    Returns
    -------
    Problem
    """
    surrogate = PRESETS[preset] if isinstance(preset, str) else preset
    rng = np.random.default_rng(seed)
    amplitude = given.pop("amplitude", 1.0)
    current = amplitude * rng.normal(0.3, 0.6, (steps, neurons))
    defaults: dict[str, Any] = {
        "leak": 0.9,
        "threshold": 1.0,
        "reset": "soft",
        "reset_value": 0.0,
        "detach_reset": False,
        "fires": ">=",
        "surrogate.shape": surrogate.shape,
        "surrogate.slope": surrogate.slope,
        "surrogate.height": surrogate.height,
    }
    inputs = {
        "current": current,
        "start": np.zeros(neurons),
        "spike_adjoint": rng.standard_normal(current.shape),
    }
    return Problem(defaults | given, inputs)


def compared(
    run: Callable[[Problem], Leaves],
    rule: Rule,
    problem: Problem,
    tolerance: float,
    control: Callable[[Problem], Leaves],
    begin: Callable[[Any, Any], State] = lambda start, given: (start,),
) -> Measured:
    """A framework against a rule, and against a control that must differ.

    Parameters
    ----------
    run : callable
        `problem -> leaves` with at least "states/spikes" and "gradients/current".
    rule : callable
        Of `refsnn.crosscheck.rules`.
    problem : Problem
        Of `drive`.
    tolerance : float
        Of the gradient, relative to its largest entry.
    control : callable
        `problem -> leaves`: what one would have thought.
    begin : callable
        First state of the rule.

    Returns
    -------
    Measured

    Raises
    ------
    ArithmeticError
        If hardly a neuron fires, or all do: nothing would be said.
    """
    truth, found, wrong = simulated(rule, problem, begin), run(problem), control(problem)
    share = float((truth["states/spikes"] > 0).mean())
    if not LIVE[0] < share < LIVE[1] or not truth["gradients/current"].any():
        raise ArithmeticError(f"expected a live problem, got spikes in a share of {share:.2f}")
    unequal = int((found["states/spikes"] != truth["states/spikes"]).sum())
    error = relative_error(found["gradients/current"], truth["gradients/current"])
    against = relative_error(found["gradients/current"], wrong["gradients/current"])
    others = int((found["states/spikes"] != wrong["states/spikes"]).sum())
    holds = not unequal and error <= tolerance and (against > CONTROL or others > 0)
    spikes = "spikes equal" if not unequal else f"{unequal} spikes differ"
    return Measured(
        holds, f"{spikes}, gradient {error:.1e}; the control: {others} spikes differ, gradient {against:.1e}"
    )


def through_torch(problem: Problem, forward: Callable[[Any], Any], dtype: str = "float64") -> Leaves:
    """Spikes and gradient of a framework of PyTorch.

    Parameters
    ----------
    problem : Problem
        Of `drive`.
    forward : callable
        Currents (T, M) to spikes (T, M).
    dtype : str
        Of the currents.

    Returns
    -------
    dict of str to ndarray
    """
    torch = imported("torch")
    current = torch.tensor(problem.inputs["current"], dtype=getattr(torch, dtype), requires_grad=True)
    spikes = forward(current)
    upstream = torch.tensor(problem.inputs["spike_adjoint"], dtype=spikes.dtype)
    (gradient,) = torch.autograd.grad((upstream * spikes).sum(), current)
    return {"states/spikes": spikes.detach().double().numpy(), "gradients/current": gradient.double().numpy()}


def through_jax(problem: Problem, forward: Callable[[Any], Any]) -> Leaves:
    """Spikes and gradient of a framework of JAX, in double precision.

    Parameters
    ----------
    problem : Problem
        Of `drive`.
    forward : callable
        Currents (T, M) to spikes (T, M).

    Returns
    -------
    dict of str to ndarray
    """
    jax = imported("jax")
    with jax.enable_x64(True):
        spikes, pull = jax.vjp(forward, jax.numpy.asarray(problem.inputs["current"]))
        (gradient,) = pull(jax.numpy.asarray(problem.inputs["spike_adjoint"], spikes.dtype))
        return {"states/spikes": np.asarray(spikes), "gradients/current": np.asarray(gradient)}


DISTANCES = np.array([-2.0, -0.9, -0.5, -0.1, -0.01, 0.0, 0.02, 0.1, 0.4, 0.9, 2.5])


def slopes_compared(slopes: dict[str, Callable[[np.ndarray], np.ndarray]], tolerance: float) -> Measured:
    """Shipped surrogates against presets, at distances from -2 to 2.5.

    Parameters
    ----------
    slopes : dict of str to callable
        By preset: distances to psi.
    tolerance : float
        Relative to the largest psi.

    Returns
    -------
    Measured
    """
    parts, holds = [], True
    for name, slope in slopes.items():
        preset = PRESETS[name]
        given = {f"surrogate.{part}": getattr(preset, part) for part in ("shape", "slope", "height")}
        found = slope(DISTANCES)
        error = relative_error(found, psi(np, given, DISTANCES))
        holds = holds and error <= tolerance
        at_threshold = float(found[DISTANCES == 0][0])
        parts.append(f"{name.split('-', 2)[-1]} {at_threshold:.4g} at 0, error {error:.0e}")
    return Measured(holds, "; ".join(parts))


def slope_of_torch(
    spike_of: Callable[[Any], Any], distances: np.ndarray, dtype: str = "float64"
) -> np.ndarray:
    """psi of a spike function of PyTorch, by autograd.

    Parameters
    ----------
    spike_of : callable
        Distances to spikes.
    distances : ndarray
        u.
    dtype : str
        Of the distances.

    Returns
    -------
    ndarray, float64
    """
    torch = imported("torch")
    u = torch.tensor(distances, dtype=getattr(torch, dtype), requires_grad=True)
    (slope,) = torch.autograd.grad(spike_of(u).sum(), u)
    return np.asarray(slope.double().numpy())
