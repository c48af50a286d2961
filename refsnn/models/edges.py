"""The edges of time in the unrolled graph, and which of them a gradient may use.

    leak       h_t -> v_t -> h_{t+1}            of one population
    reset      s_t -> v_t                       of one population
    feedback   s_t -> I_{t+1}                   of one delayed node: recurrent and feedback connections

The forward run is the same whatever is cut.  All edges are BPTT, without resets it is BPTT with a detached
reset; OTTT, SLTT and e-prop are defined by what they cut (Xiao 2022, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from refsnn.equations.spiking import SpikingNeuron

Switch = bool | Mapping[str, bool]


@dataclass(frozen=True)
class Edges:
    """Switches on the edges of time.

    Parameters
    ----------
    leak, reset : bool or mapping of population name to bool
        A mapping names exceptions; the others keep the default.  `reset=None` leaves it to each neuron's
        `detach_reset`.  Where the leak is cut nothing passes along the potential, so the reset is cut too.
    feedback : bool or mapping of node name to bool
        Of delayed nodes.

    Raises
    ------
    TypeError, ValueError
        For anything else, and for a reset that should live where the leak is cut.

    Examples
    --------
    >>> edges = Edges(leak={"layer.1": False})
    >>> edges.has_leak("layer.1"), edges.has_leak("layer.2")
    (False, True)
    """

    leak: Switch = True
    reset: Switch | None = None
    feedback: Switch = True

    def __post_init__(self) -> None:
        for name in ("leak", "reset", "feedback"):
            value = getattr(self, name)
            given = value.values() if isinstance(value, Mapping) else (value,)
            if not all(isinstance(one, bool) or (one is None and name == "reset") for one in given):
                raise TypeError(f"{name}: expected True, False, or a mapping of names to them, got {value!r}")
        cut = [name for name, live in self.leak.items() if not live] if isinstance(self.leak, Mapping) else []
        wanted = isinstance(self.reset, Mapping) and any(
            live and (self.leak is False or name in cut) for name, live in self.reset.items()
        )
        if wanted or (self.leak is False and self.reset is True):
            raise ValueError(
                f"reset: expected False or None where leak=False, got {self.reset!r}; the reset acts through "
                "the potential, which is cut"
            )

    def has_leak(self, population: str) -> bool:
        """Whether the gradient flows along the potential of a population."""
        return _switch(self.leak, population, True)

    def has_feedback(self, node: str) -> bool:
        """Whether the gradient flows back through a delayed node."""
        return _switch(self.feedback, node, True)

    def neuron(self, population: str, neuron: SpikingNeuron) -> SpikingNeuron:
        """A population's neuron, with the reset detached or not as the switch says."""
        if self.reset is None:
            return neuron
        return replace(neuron, detach_reset=not _switch(self.reset, population, not neuron.detach_reset))

    def check(self, populations: Iterable[str], delayed: Iterable[str]) -> None:
        """Refuse names that the network does not have.

        Parameters
        ----------
        populations, delayed : iterable of str
            What there is.

        Raises
        ------
        ValueError
            Naming the switch and the name.

        Examples
        --------
        >>> Edges(reset={"layer.9": True}).check(["layer.1"], [])
        Traceback (most recent call last):
        ...
        ValueError: edges.reset: expected names among ['layer.1'], got 'layer.9'
        """
        known = {"leak": sorted(populations), "reset": sorted(populations), "feedback": sorted(delayed)}
        for switch, names in known.items():
            value = getattr(self, switch)
            for name in value if isinstance(value, Mapping) else ():
                if name not in names:
                    raise ValueError(f"edges.{switch}: expected names among {names}, got {name!r}")


ALL_EDGES = Edges()


def _switch(switch: Switch | None, name: str, default: bool) -> bool:
    chosen = switch.get(name) if isinstance(switch, Mapping) else switch
    return default if chosen is None else chosen
