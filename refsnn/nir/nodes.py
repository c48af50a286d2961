"""The nodes of NIR: what each kind is called, which arrays it has, and which of them are checked how.

    Input, Output           shape                                     where values enter and leave
    Linear, Affine          weight (..., n_out, n_in), bias           y = W x (+ b)
    Scale                   scale                                     y = s x
    Conv1d, Conv2d          weight, bias, stride, padding, ...        cross-correlation
    SumPool2d, AvgPool2d    kernel_size, stride, padding              sum or mean of each window
    Flatten                 start_dim, end_dim                        dimensions merged, samples not counted
    Threshold               threshold                                 z = 1 where x > threshold
    Delay                   delay                                     y(t) = x(t - delay)
    I                       r                                         dv/dt = r x
    LI                      tau, r, v_leak                            tau dv/dt = v_leak - v + r x
    IF, LIF                 and v_threshold, v_reset                  v > v_threshold: spike, v to v_reset
    CubaLI, CubaLIF         tau_syn, tau_mem, w_in, ...               tau_syn di/dt = -i + w_in x drives v

Times are in seconds.  NIR says nothing about steps of time: that is what `refsnn.nir.discretisation` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn import checks

Value = np.ndarray | str


@dataclass(frozen=True)
class Kind:
    """What a kind of node has.

    Parameters
    ----------
    fields : tuple of str
        Arrays that a file must have.
    optional : tuple of str
        Arrays that it may leave out.
    state : bool
        Whether it remembers: its output depends on the past.
    spikes : bool
        Whether it fires.
    """

    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()
    state: bool = False
    spikes: bool = False


KINDS = {
    "Input": Kind(("shape",)),
    "Output": Kind(("shape",)),
    "Linear": Kind(("weight",)),
    "Affine": Kind(("weight", "bias")),
    "Scale": Kind(("scale",)),
    "Conv1d": Kind(("weight", "bias", "stride", "padding", "dilation", "groups"), ("input_shape",)),
    "Conv2d": Kind(("weight", "bias", "stride", "padding", "dilation", "groups"), ("input_shape",)),
    "SumPool2d": Kind(("kernel_size", "stride", "padding")),
    "AvgPool2d": Kind(("kernel_size", "stride", "padding")),
    "Flatten": Kind(("start_dim", "end_dim"), ("input_type",)),
    "Threshold": Kind(("threshold",)),
    "Delay": Kind(("delay",), state=True),
    "I": Kind(("r",), state=True),
    "LI": Kind(("tau", "r", "v_leak"), state=True),
    "IF": Kind(("r", "v_threshold"), ("v_reset",), state=True, spikes=True),
    "LIF": Kind(("tau", "r", "v_leak", "v_threshold"), ("v_reset",), state=True, spikes=True),
    "CubaLI": Kind(("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",), state=True),
    "CubaLIF": Kind(
        ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in"), state=True, spikes=True
    ),
}
NEURONS = tuple(kind for kind, entry in KINDS.items() if entry.state and kind != "Delay")

_WHOLE = {"shape", "stride", "padding", "dilation", "groups", "input_shape", "kernel_size"} | {
    "start_dim",
    "end_dim",
    "input_type",
}
_TIMES = ("tau", "tau_syn", "tau_mem")
_WINDOWS = ("kernel_size", "stride", "dilation", "groups")


@dataclass(frozen=True)
class Node:
    """One node of a NIR graph: a kind and its arrays.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    values : mapping of str to array_like
        Its arrays: float32 or float64 for parameters, integers for shapes and windows; `padding` may be
        "same" or "valid".  `v_reset` is 0 and `w_in` is 1 where they are left out.
    metadata : mapping
        Whatever the file says beside.

    Raises
    ------
    TypeError, ValueError
        For an unknown kind, missing or unknown arrays, NaN, shapes that do not fit each other, times that
        are not positive.

    Examples
    --------
    >>> Node("LIF", {"tau": [2.5e-3], "r": [1.0], "v_leak": [0.0], "v_threshold": [0.1]}).values["v_reset"]
    array([0.])
    """

    kind: str
    values: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.choice("type", self.kind, KINDS)
        kind = KINDS[self.kind]
        if not isinstance(self.values, Mapping):
            raise TypeError(f"values: expected names with arrays, got {type(self.values).__name__}")
        missing = [name for name in kind.fields if name not in self.values]
        unknown = sorted(set(self.values).difference(kind.fields, kind.optional))
        if missing or unknown:
            raise ValueError(
                f"{self.kind}: expected the fields {', '.join((*kind.fields, *kind.optional))}; "
                f"missing {missing}, unknown {unknown}"
            )
        values = {name: _checked(name, value) for name, value in self.values.items() if value is not None}
        object.__setattr__(self, "values", _completed(self.kind, values))
        object.__setattr__(self, "metadata", dict(self.metadata))

    @property
    def is_neuron(self) -> bool:
        """Whether it has a potential."""
        return self.kind in NEURONS

    @property
    def fires(self) -> bool:
        """Whether it gives spikes; a neuron that does not gives its potential."""
        return KINDS[self.kind].spikes

    def __eq__(self, other: object) -> bool:
        """Equal kinds, and equal arrays of equal dtypes."""
        if not isinstance(other, Node) or self.kind != other.kind or set(self.values) != set(other.values):
            return False
        pairs = [(self.values[name], other.values[name]) for name in self.values]
        return all(
            one == two
            if isinstance(one, str) or isinstance(two, str)
            else one.dtype == two.dtype and np.array_equal(one, two)
            for one, two in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def parameter_shape(self) -> tuple[int, ...]:
        """Of a neuron, Scale, Threshold or Delay: the shape that its arrays have.

        Raises
        ------
        ValueError
            For a kind whose arrays have no common shape.
        """
        for name in ("r", "scale", "threshold", "delay"):
            if name in self.values:
                return self.values[name].shape
        raise ValueError(f"type: expected a node with one value a neuron, got {self.kind}")


def _checked(name: str, value: Any) -> Value:
    """One array of the right sort."""
    if name == "padding" and isinstance(value, str):
        return checks.choice(name, value, ("same", "valid"))
    array = checks.as_numpy(name, value)
    if name in _WHOLE:
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise TypeError(
                f"{name}: expected an integer or a row of integers, got {array.dtype} of shape {array.shape}"
            )
        low = 1 if name in (*_WINDOWS, "shape", "input_shape", "input_type") else 0
        if name not in ("start_dim", "end_dim") and array.size and array.min() < low:
            raise ValueError(f"{name}: expected integers of at least {low}, got {array.tolist()}")
        return array
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    array = checks.float_array(name, array)
    if not array.size:
        raise ValueError(f"{name}: expected at least one number, got an array of shape {array.shape}")
    if name in _TIMES and array.min() <= 0:
        raise ValueError(f"{name}: expected times > 0 in seconds, got {array.min()}")
    if name == "delay" and array.min() < 0:
        raise ValueError(f"{name}: expected times >= 0 in seconds, got {array.min()}")
    return array


def _completed(kind: str, values: dict[str, Value]) -> dict[str, Value]:
    """With what was left out, all shapes fitting."""
    optional = KINDS[kind].optional
    if kind in NEURONS:
        like = values["r"]
        assert isinstance(like, np.ndarray)
        if "v_reset" in optional and "v_reset" not in values:
            values["v_reset"] = np.zeros_like(like)
        if "w_in" in optional:
            given = values.get("w_in")
            if given is None or (isinstance(given, np.ndarray) and given.shape == ()):
                values["w_in"] = np.full_like(like, 1 if given is None else given)
        for name, value in values.items():
            if isinstance(value, np.ndarray) and value.shape != like.shape:
                raise ValueError(f"{name}: expected shape {like.shape} like r, got {value.shape}")
        if "v_threshold" in values and (np.asarray(values["v_threshold"]) <= values["v_reset"]).any():
            raise ValueError(
                "v_threshold: expected above v_reset everywhere, got a neuron that would never stop firing"
            )
    elif kind in ("Linear", "Affine"):
        _check_weight(values, "n_out", 2)
    elif kind in ("Conv1d", "Conv2d"):
        _check_weight(values, "channels", 3 if kind == "Conv1d" else 4, exactly=True)
    return values


def _check_weight(values: dict[str, Value], out: str, dimensions: int, exactly: bool = False) -> None:
    weight, bias = values["weight"], values.get("bias")
    assert isinstance(weight, np.ndarray)
    if weight.ndim < dimensions or (exactly and weight.ndim != dimensions):
        raise ValueError(
            f"weight: expected {'' if exactly else 'at least '}{dimensions} dimensions, got {weight.shape}"
        )
    wanted = weight.shape[:1] if exactly else weight.shape[:-1]
    if isinstance(bias, np.ndarray) and bias.shape != wanted:
        raise ValueError(f"bias: expected shape {wanted}, one for each of the {out}, got {bias.shape}")
    groups = values.get("groups")
    if groups is not None and weight.shape[0] % int(np.asarray(groups)):
        raise ValueError(f"groups: expected a divisor of {weight.shape[0]} channels, got {groups}")
