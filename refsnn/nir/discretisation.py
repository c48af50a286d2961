"""Discretisations: what a step of length dt makes of the differential equations of a NIR neuron.

    tau dv/dt = v_leak - v + r i,    v > v_threshold: a spike, and v goes to v_reset             (LIF)
    tau_syn di/dt = -i + w_in x                                                                  (CubaLIF)

NIR leaves this choice to whoever runs a graph, and platforms differ in it.  A `Discretisation` names it:

    leak       "euler"        1 - dt/tau
               "exponential"  exp(-dt/tau)
    gain       "euler"        of a current in one step: r dt/tau
               "exact"        r (1 - leak): no error for a current that is constant in the step
    current    which current drives the potential of the same step, with a synapse:
               "updated"      i_t = leak i_{t-1} + gain x_t
               "decayed"      i_t = leak (i_{t-1} + gain x_t): what arrives decays at once
               "previous"     i_{t-1}: the input acts one step late
               "exact"        the solution of both equations for an x_t that is constant in the step
    fires      ">" or ">=" of the threshold
    reset      "value"        v goes to v_reset
               "subtract"     v_threshold - v_reset is taken away
    reset_step "same"         in the step of the spike, before the potential is recorded
               "next"         behind the decay of the next step: the recorded potential is above the threshold
    input_delay, spike_delay  steps by which what enters a neuron, or its spikes, come late

`Arithmetic` says in which numbers it is computed.  Rounding tells platforms apart that have the same
discretisation.  The step's equations are those of `refsnn.equations.spiking`, with a potential that leaks to
v_leak in the place of the reset value.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from refsnn import checks


@dataclass(frozen=True)
class Discretisation:
    """One way to step a neuron; see the module for what the options mean.

    Parameters
    ----------
    name : str
        Under which results state it.
    leak : {"euler", "exponential"}
        Share of the potential that survives a step.
    gain : {"euler", "exact"}
        Of a current in one step.
    current : {"updated", "decayed", "previous", "exact"}
        Which current drives the potential, behind a synapse.
    fires : {">", ">="}
        Comparison with the threshold.
    reset : {"value", "subtract"}
        Where a spike brings the potential.
    reset_step : {"same", "next"}
        When; "next" goes with "subtract" only.
    input_delay, spike_delay : int
        Steps by which inputs and spikes come late, 0 or 1.
    shown_at_spike : int
        What the potential reads in the step of a spike, in units of 2^-14; 0 is the potential itself.

    Raises
    ------
    TypeError, ValueError
        For options that are not known or do not go together.

    Examples
    --------
    >>> print(Discretisation("mine", leak="exponential", gain="exact").describe())
    mine: leak exp(-dt/tau), gain r (1 - leak), fires above the threshold, reset to v_reset in the same step
    """

    name: str
    leak: str = "euler"
    gain: str = "euler"
    current: str = "updated"
    fires: str = ">"
    reset: str = "value"
    reset_step: str = "same"
    input_delay: int = 0
    spike_delay: int = 0
    shown_at_spike: int = 0

    def __post_init__(self) -> None:
        checks.instance("name", self.name, str, "'forward_euler'")
        checks.choice("leak", self.leak, ("euler", "exponential"))
        checks.choice("gain", self.gain, ("euler", "exact"))
        checks.choice("current", self.current, ("updated", "decayed", "previous", "exact"))
        checks.choice("fires", self.fires, (">", ">="))
        checks.choice("reset", self.reset, ("value", "subtract"))
        checks.choice("reset_step", self.reset_step, ("same", "next"))
        for option in ("input_delay", "spike_delay"):
            if checks.count(option, getattr(self, option), minimum=0) > 1:
                raise ValueError(f"{option}: expected 0 or 1 steps, got {getattr(self, option)}")
        checks.count("shown_at_spike", self.shown_at_spike, minimum=0)
        if self.reset_step == "next" and self.reset == "value":
            raise ValueError(
                "reset_step: expected 'same' with reset='value', got 'next'; setting v_reset one step late "
                "would lose the input of that step"
            )
        if self.current == "exact" and (self.leak, self.gain) != ("exponential", "exact"):
            raise ValueError(
                "current: expected leak='exponential' and gain='exact' with current='exact', got "
                f"{self.leak!r} and {self.gain!r}"
            )

    def describe(self) -> str:
        """One line that says it all, for people."""
        parts = [
            "leak 1 - dt/tau" if self.leak == "euler" else "leak exp(-dt/tau)",
            "gain r dt/tau" if self.gain == "euler" else "gain r (1 - leak)",
            "fires above the threshold" if self.fires == ">" else "fires at or above the threshold",
            "reset to v_reset" if self.reset == "value" else "reset by subtraction",
        ]
        parts[-1] += f" in the {self.reset_step} step"
        if self.current != "updated":
            parts.append(f"current {self.current}")
        parts += [f"{what} one step late" for what in ("input", "spike") if getattr(self, f"{what}_delay")]
        if self.shown_at_spike:
            parts.append(f"the potential reads {self.shown_at_spike}/16384 in the step of a spike")
        return f"{self.name}: {', '.join(parts)}"

    def as_dict(self) -> dict[str, str | int]:
        """Its options by name, for JSON."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


DISCRETISATIONS = {
    recipe.name: recipe
    for recipe in (
        Discretisation("forward_euler"),
        Discretisation("exponential_euler", leak="exponential", gain="exact"),
        Discretisation("exact_propagator", leak="exponential", gain="exact", current="exact"),
        Discretisation(
            "exponential_leak_euler_gain",
            leak="exponential",
            current="decayed",
            fires=">=",
            reset="subtract",
        ),
        Discretisation("forward_euler_subtract", reset="subtract"),
        Discretisation("forward_euler_subtract_next", reset="subtract", reset_step="next"),
        Discretisation("forward_euler_late_spike", reset="subtract", reset_step="next", spike_delay=1),
        Discretisation("forward_euler_late_input", input_delay=1),
        Discretisation("forward_euler_late_current", current="previous"),
        Discretisation("loihi_chip", input_delay=1, shown_at_spike=128),
    )
}


@dataclass(frozen=True)
class Arithmetic:
    """In which numbers a discretisation is computed.

    Parameters
    ----------
    name : str
        Under which results state it.
    dtype : str
        Of states and currents, "float64" or "float32".
    constants : {"state", "float32"}
        Leak and gain in the dtype of the state, or rounded to float32 first.
    form : {"leak", "increment"}
        v' = leak v + gain x, or v' = v + dt/tau (v_leak - v + r x): one number on paper, not in floats.
    weight_steps : float
        Weights are rounded to whole multiples of 1 / weight_steps; 0 leaves them.
    fixed : bool
        Integers as on Loihi: potentials in units of 2^-14, thresholds and what arrives cut down to multiples
        of 2^-8, dt/tau to a multiple of 1/4095, and the rest that decays cut towards 0 at each step with
        leak (4096 - d) / 4096.

    Raises
    ------
    TypeError, ValueError
        For options that are not known.

    Examples
    --------
    >>> Arithmetic("mine", dtype="float32").dtype
    'float32'
    """

    name: str
    dtype: str = "float64"
    constants: str = "state"
    form: str = "leak"
    weight_steps: float = 0.0
    fixed: bool = False

    def __post_init__(self) -> None:
        checks.instance("name", self.name, str, "'float32'")
        checks.float_dtype("dtype", self.dtype)
        checks.choice("constants", self.constants, ("state", "float32"))
        checks.choice("form", self.form, ("leak", "increment"))
        checks.number("weight_steps", self.weight_steps, 0)
        checks.instance("fixed", self.fixed, bool, "False")

    def describe(self) -> str:
        """One line, for people."""
        if self.fixed:
            return f"{self.name}: integers, potentials in units of 1/16384, leak (4096 - d)/4096 cut to 0"
        text = f"{self.name}: states in {self.dtype}"
        if self.constants == "float32" and self.dtype != "float32":
            text += ", leak and gain in float32"
        if self.form == "increment":
            text += ", as v + dt/tau (v_leak - v + r x)"
        if self.weight_steps:
            text += f", weights rounded to 1/{self.weight_steps:g}"
        return text


ARITHMETICS = {
    kind.name: kind
    for kind in (
        Arithmetic("float64"),
        Arithmetic("float32", dtype="float32"),
        Arithmetic("float32_increments", dtype="float32", form="increment"),
        Arithmetic("float32_constants", constants="float32"),
        Arithmetic("integer_weights", constants="float32", weight_steps=102.02),
        Arithmetic("loihi_fixed_point", fixed=True),
    )
}
UNIT = 1 << 14  # of fixed-point potentials
STEP = 1 << 8  # of fixed-point thresholds and currents


def discretisation_of(value: Discretisation | str) -> Discretisation:
    """The discretisation of that name, or the one given.

    Parameters
    ----------
    value : Discretisation or str
        One of your own, or a name in `DISCRETISATIONS`.

    Returns
    -------
    Discretisation

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> discretisation_of("forward_euler").leak
    'euler'
    """
    if isinstance(value, Discretisation):
        return value
    return DISCRETISATIONS[checks.choice("discretisation", value, DISCRETISATIONS)]


def arithmetic_of(value: Arithmetic | str) -> Arithmetic:
    """The arithmetic of that name, or the one given.

    Parameters
    ----------
    value : Arithmetic or str
        One of your own, or a name in `ARITHMETICS`.

    Returns
    -------
    Arithmetic

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> arithmetic_of("float32").dtype
    'float32'
    """
    if isinstance(value, Arithmetic):
        return value
    return ARITHMETICS[checks.choice("arithmetic", value, ARITHMETICS)]
