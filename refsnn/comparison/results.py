"""What a comparison finds: one row an algorithm, in it one leaf a parameter array."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from refsnn import checks


@dataclass(frozen=True)
class Leaf:
    """One parameter array's gradient against both yardsticks.

    Attributes
    ----------
    norm : float
        Of the gradient.
    cosine_full, error_full : float or None
        To BPTT with the gradient through the resets: cosine, and |a - b| / |b|.
    cosine_detached, error_detached : float or None
        To BPTT without it.  None where there is nothing to compare: both 0 but for rounding, or no yardstick;
        an error is infinite where only the yardstick is 0.
    """

    norm: float
    cosine_full: float | None
    error_full: float | None
    cosine_detached: float | None
    error_detached: float | None


class _Leaves(dict[str, Leaf]):
    """By parameter; a name that is not there is said to be unknown."""

    def __missing__(self, name: object) -> Leaf:
        raise KeyError(f"leaves: expected one of {_quoted(self)}, got {name!r}")


@dataclass(frozen=True)
class Row:
    """One algorithm under one loss.

    Attributes
    ----------
    algorithm : str
        Its name.
    loss_over : {"mean_readout", "each_step"}
        The loss that it, and the yardsticks that it is measured by, are gradients of.
    refused : str or None
        Why it cannot treat this network, in its own words; then there is nothing else.
    loss : float or None
        Its value.
    leaves : dict of str to Leaf
        By parameter.
    peak_bytes : int or None
        Most memory held above that at the start, see `refsnn.comparison.measures.peak_memory`.
    bytes_kept : int or None
        What the method keeps for the gradient (`Diagnostics.bytes_kept`).
    seconds : float or None
        Best of several calls behind a first one.
    spike_rates : dict of str to float
        By population.
    margin : float or None
        Smallest distance of a potential to the threshold.
    """

    algorithm: str
    loss_over: str
    refused: str | None = None
    loss: float | None = None
    leaves: dict[str, Leaf] = field(default_factory=dict)
    peak_bytes: int | None = None
    bytes_kept: int | None = None
    seconds: float | None = None
    spike_rates: dict[str, float] = field(default_factory=dict)
    margin: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "leaves", _Leaves(self.leaves))

    def layers(self) -> dict[str, Leaf]:
        """The leaves grouped by layer, of each the worst figure: the least cosine, the largest error.

        A layer is what stands before the last dot of a parameter's name.
        """
        groups: dict[str, list[Leaf]] = {}
        for name, leaf in self.leaves.items():
            groups.setdefault(layer_of(name), []).append(leaf)
        return {name: _worst(leaves) for name, leaves in groups.items()}

    def worst(self) -> Leaf:
        """The worst figures of all leaves."""
        return _worst(self.leaves.values())


def layer_of(parameter: str) -> str:
    """The layer of a parameter: its name up to the last dot.

    Examples
    --------
    >>> layer_of("layer.1.weight")
    'layer.1'
    """
    return parameter.rpartition(".")[0] or parameter


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _worst(leaves: Iterable[Leaf]) -> Leaf:
    leaves = list(leaves)

    def of(name: str, choose: Callable[[list[float]], float]) -> float | None:
        given = [value for value in (getattr(leaf, name) for leaf in leaves) if value is not None]
        return choose(given) if given else None

    return Leaf(
        math.hypot(*(leaf.norm for leaf in leaves)),
        of("cosine_full", min),
        of("error_full", max),
        of("cosine_detached", min),
        of("error_detached", max),
    )


@dataclass(frozen=True)
class Comparison:
    """The table.

    Attributes
    ----------
    rows : tuple of Row
        Under the network's own loss first; then, where that is the loss of the mean read-out, those
        under the loss at each step, for the algorithms that learn at each step.
    steps, batch : int
        T and B.
    numbers : int
        Entries of all parameters.
    dtype : str
        Of the parameters.
    backend : str
        Which kernels ran the neurons.
    notes : tuple of str
        What a reader should know before trusting a figure: dead layers, vanished yardsticks.
    """

    rows: tuple[Row, ...]
    steps: int
    batch: int
    numbers: int
    dtype: str
    backend: str
    notes: tuple[str, ...] = ()

    def row(self, algorithm: str, loss_over: str | None = None) -> Row:
        """The row of an algorithm.

        Parameters
        ----------
        algorithm : str
            Its name.
        loss_over : {"mean_readout", "each_step"}, optional
            Under which loss; the first row of that name by default.

        Returns
        -------
        Row

        Raises
        ------
        KeyError
            If there is none; it names those that there are.
        ValueError
            For an unknown loss.
        """
        if loss_over is not None:
            checks.choice("loss_over", loss_over, ("mean_readout", "each_step"))
        for row in self.rows:
            if row.algorithm == algorithm and loss_over in (None, row.loss_over):
                return row
        under = f" under {loss_over!r}" if loss_over else ""
        there = [row.algorithm for row in self.rows if loss_over in (None, row.loss_over)]
        raise KeyError(
            f"algorithm: expected one of {_quoted(dict.fromkeys(there))}{under}, got {algorithm!r}"
        )

    def as_dict(self) -> dict[str, Any]:
        """In the types of strict JSON: what is not finite is written as text, "inf" or "nan"."""
        return _strict(asdict(self))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
