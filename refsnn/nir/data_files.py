"""Recorded data of a NIR graph in HDF5: root attribute `__type__` = NIRGraphData.

    nodes/<name>/observables/<key>   __type__ = TimeGriddedData: data (samples, steps, neurons), attribute dt
                                     __type__ = EventData: idx, time (samples, events); attributes n_neurons,
                                     t_max; ValuedEventData has value too

Unused places of events have the index -1 and the time infinity.  Times become steps by rounding, never by
cutting off: 0.0003 / 0.0001 is less than 3 in floats.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn import checks
from refsnn.files import check_writable, replacing
from refsnn.nir.files import MOST_BYTES, array_at, check_contents, opened
from refsnn.nir.run import GraphRun


@dataclass(frozen=True)
class Gridded:
    """What each neuron had at each step.

    Parameters
    ----------
    data : ndarray, (samples, steps, neurons)
        Booleans for spikes, floats for anything else.
    dt : float
        Length of a step in seconds.

    Raises
    ------
    TypeError, ValueError
        For other shapes, NaN, or a step that is not positive.

    Examples
    --------
    >>> Gridded(np.array([[[True], [False]]]), 1e-3).to_events().times
    array([[0.]])
    """

    data: np.ndarray
    dt: float

    def __post_init__(self) -> None:
        data = checks.as_numpy("data", self.data)
        if data.ndim != 3 or data.dtype.kind not in "biuf":
            raise ValueError(
                f"data: expected numbers (samples, steps, neurons), got {data.dtype} of shape {data.shape}"
            )
        if not np.isfinite(data).all():
            raise ValueError("data: expected finite numbers, got NaN or infinity")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "dt", checks.number("dt", self.dt, 0, low_open=True))

    def to_events(self) -> Events:
        """Spikes as events at the beginnings of their steps.

        Raises
        ------
        TypeError
            If the data are no booleans.
        """
        if self.data.dtype != bool:
            raise TypeError(f"data: expected booleans to make events of, got {self.data.dtype}")
        samples, steps, neurons = self.data.shape
        most = int(self.data.sum(axis=(1, 2)).max(initial=0))
        index, times = np.full((samples, most), -1), np.full((samples, most), np.inf)
        for sample in range(samples):
            step, neuron = np.nonzero(self.data[sample])
            index[sample, : len(step)], times[sample, : len(step)] = neuron, step * self.dt
        return Events(index, times, neurons, steps * self.dt)


@dataclass(frozen=True)
class Events:
    """Which neuron had an event when.

    Parameters
    ----------
    neurons : ndarray of int, (samples, events)
        Indices, -1 where there is no event.
    times : ndarray, (samples, events)
        In seconds, infinity where there is none.
    count : int
        Number of neurons.
    duration : float
        Of the recording, in seconds.
    values : ndarray, (samples, events), optional
        Of the events.

    Raises
    ------
    TypeError, ValueError
        For unequal shapes, indices that are no neurons, times outside of the recording.

    Examples
    --------
    >>> events = Events(np.array([[0, 0, 1]]), np.array([[0.0001, 0.0003, 0.0003]]), 2, 0.0005)
    >>> events.to_grid(0.0001).data[0].astype(int).T
    array([[0, 1, 0, 1, 0],
           [0, 0, 0, 1, 0]])
    """

    neurons: np.ndarray
    times: np.ndarray
    count: int
    duration: float
    values: np.ndarray | None = None

    def __post_init__(self) -> None:
        neurons, times = checks.as_numpy("idx", self.neurons), checks.as_numpy("time", self.times)
        if neurons.dtype.kind not in "iu" or neurons.ndim != 2 or times.shape != neurons.shape:
            raise ValueError(
                f"idx, time: expected integers and times (samples, events), got {neurons.dtype} "
                f"{neurons.shape} and {times.dtype} {times.shape}"
            )
        object.__setattr__(self, "count", checks.count("n_neurons", self.count))
        object.__setattr__(self, "duration", checks.number("t_max", self.duration, 0, low_open=True))
        used = neurons != -1
        if (neurons[used] < 0).any() or (neurons[used] >= self.count).any():
            raise ValueError(f"idx: expected indices in [0, {self.count}) or -1, got others")
        if not ((times[used] >= 0) & (times[used] <= self.duration)).all():
            raise ValueError(f"time: expected times in [0, {self.duration:g}] seconds, got others or NaN")
        if self.values is not None and np.shape(self.values) != neurons.shape:
            raise ValueError(f"value: expected shape {neurons.shape}, got {np.shape(self.values)}")

    def to_grid(self, dt: float) -> Gridded:
        """Each event in the step that begins nearest to it, or in the last step if it came with its end.

        Events of one neuron in one step become one; their values add up.

        Parameters
        ----------
        dt : float
            Length of a step in seconds.

        Returns
        -------
        Gridded
            Booleans, or floats where events have values.

        Raises
        ------
        ValueError
            If the grid would be too large.
        """
        dt = checks.number("dt", dt, 0, low_open=True)
        steps = max(1, int(np.rint(self.duration / dt)))
        shape = (len(self.neurons), steps, self.count)
        if np.prod(shape, dtype=float) * 8 > MOST_BYTES:
            raise ValueError(
                f"dt: expected a grid of at most {MOST_BYTES} bytes, got {shape}; take longer steps"
            )
        used = self.neurons != -1
        sample, place = np.nonzero(used)
        step = np.minimum(np.rint(self.times[sample, place] / dt).astype(int), steps - 1)
        where = (sample, step, self.neurons[sample, place])
        if self.values is None:
            grid = np.zeros(shape, bool)
            grid[where] = True
        else:
            grid = np.zeros(shape)
            np.add.at(grid, where, np.asarray(self.values)[sample, place])
        return Gridded(grid, dt)


Observables = dict[str, Gridded | Events]


def data_of(run: GraphRun) -> dict[str, Observables]:
    """What a run recorded, as NIR data: spikes, potentials and currents of each neuron.

    Parameters
    ----------
    run : GraphRun
        From `run_graph`.

    Returns
    -------
    dict of str to dict of str to Gridded

    Examples
    --------
    >>> from refsnn.nir.graph import NirGraph
    >>> from refsnn.nir.nodes import Node
    >>> from refsnn.nir.run import run_graph
    >>> nodes = {
    ...     "in": Node("Input", {"shape": [1]}),
    ...     "if": Node("IF", {"r": [1.0], "v_threshold": [1.5]}),
    ...     "out": Node("Output", {"shape": [1]}),
    ... }
    >>> run = run_graph(NirGraph(nodes, [("in", "if"), ("if", "out")]), np.ones((4, 1, 1)), dt=1.0)
    >>> data_of(run)["if"]["spikes"].data[0, :, 0]
    array([False,  True, False,  True])
    """
    checks.instance("run", run, GraphRun, "what run_graph returns")
    found: dict[str, Observables] = {}
    for name, potential in run.potentials.items():
        traces = {"potentials": potential, "currents": run.currents[name]}
        if name in run.spikes:
            traces["spikes"] = run.spikes[name].astype(bool)
        found[name] = {
            what: Gridded(np.swapaxes(trace.reshape(*trace.shape[:2], -1), 0, 1), run.dt)
            for what, trace in traces.items()
        }
    return found


def read_data(path: str | os.PathLike[str]) -> dict[str, Observables]:
    """Read recorded data.

    Parameters
    ----------
    path : path-like
        An HDF5 file with NIRGraphData.

    Returns
    -------
    dict of str to dict of str to Gridded or Events
        By node, then by what was observed; nodes of graphs within graphs as `<name>.<inner name>`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    TypeError, ValueError
        For another kind of file, a broken one, missing arrays, unknown types.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = {"lif": {"spikes": Gridded(np.ones((1, 2, 1), bool), 1e-3)}}
    ...     path = write_data(Path(folder, "data.h5"), data)
    ...     read_data(path)["lif"]["spikes"].dt
    0.001
    """
    path = Path(path)
    with opened(path) as file:
        kind = file.attrs.get("__type__")
        if kind != "NIRGraphData":
            raise ValueError(
                f"{path}: __type__: expected NIRGraphData, found {checks.shortened(kind, 40)}; a graph is "
                "read with read_graph"
            )
        check_contents(path, file)
        return _read_nodes(path, file, "")


def write_data(path: str | os.PathLike[str], data: Mapping[str, Mapping[str, Gridded | Events]]) -> Path:
    """Write recorded data so that at every moment the file is the old one or the new one.

    Parameters
    ----------
    path : path-like
        Of the file, in an existing folder.
    data : mapping of str to mapping of str to Gridded or Events
        By node, then by what was observed.

    Returns
    -------
    Path

    Raises
    ------
    TypeError, ValueError
        For other kinds of data, names with a "/", or a path that cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = {"lif": {"spikes": Gridded(np.ones((1, 2, 1), bool), 1e-3)}}
    ...     write_data(Path(folder, "data.h5"), data).name
    'data.h5'
    """
    path = Path(path)
    check_writable("path", path)
    for name, observed in data.items():
        for key, value in observed.items():
            if not name or not key or "/" in name + key:
                raise ValueError(f"data: expected names without '/', got {name!r} and {key!r}")
            if not isinstance(value, (Gridded, Events)):
                raise TypeError(
                    f"data[{name!r}][{key!r}]: expected Gridded or Events, got {type(value).__name__}"
                )
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["__type__"] = "NIRGraphData"
        nodes = file.create_group("nodes")
        for name, observed in data.items():
            group = nodes.create_group(name)
            group.attrs["__type__"] = "NIRNodeData"
            room = group.create_group("observables")
            for key, value in observed.items():
                _write_one(room.create_group(key), value)
    return path


def _write_one(group: h5py.Group, value: Gridded | Events) -> None:
    if isinstance(value, Gridded):
        group.attrs["__type__"] = "TimeGriddedData"
        group.create_dataset("data", data=value.data)
        group.attrs["dt"] = value.dt
        return
    group.attrs["__type__"] = "EventData" if value.values is None else "ValuedEventData"
    group.create_dataset("idx", data=value.neurons)
    group.create_dataset("time", data=value.times)
    if value.values is not None:
        group.create_dataset("value", data=value.values)
    group.attrs["n_neurons"], group.attrs["t_max"] = value.count, value.duration


def _read_nodes(path: Path, group: h5py.Group, prefix: str) -> dict[str, Observables]:
    found: dict[str, Observables] = {}
    for name, entry in _rooms(path, group, "nodes").items():
        kind, full = entry.attrs.get("__type__"), prefix + name
        if kind == "NIRGraphData":
            found |= _read_nodes(path, entry, f"{full}.")
        elif kind == "NIRNodeData":
            observed = _rooms(path, entry, "observables")
            found[full] = {
                key: _read_one(path, part, f"node {full!r}: {key}") for key, part in observed.items()
            }
        else:
            raise ValueError(
                f"{path}: node {full!r}: __type__: expected NIRNodeData or NIRGraphData, found {kind!r}"
            )
    return found


def _rooms(path: Path, group: h5py.Group, name: str) -> dict[str, h5py.Group]:
    entry = group.get(name)
    if not isinstance(entry, h5py.Group) or not all(isinstance(part, h5py.Group) for part in entry.values()):
        raise ValueError(f"{path}: {group.name}: expected the group {name!r} of groups, found none")
    return dict(entry.items())


def _read_one(path: Path, group: h5py.Group, label: str) -> Gridded | Events:
    kind = group.attrs.get("__type__")
    names = {
        "TimeGriddedData": ("dt",),
        "EventData": ("n_neurons", "t_max"),
        "ValuedEventData": ("n_neurons", "t_max"),
    }
    if kind not in names:
        raise ValueError(f"{path}: {label}: __type__: expected one of {', '.join(names)}, found {kind!r}")
    missing = [name for name in names[kind] if name not in group.attrs]
    if missing:
        raise ValueError(f"{path}: {label}: expected the attributes {names[kind]}; missing {missing}")
    numbers: dict[str, Any] = {name: group.attrs[name] for name in names[kind]}
    try:
        if kind == "TimeGriddedData":
            return Gridded(array_at(path, group, "data", label), float(numbers["dt"]))
        values = array_at(path, group, "value", label) if kind == "ValuedEventData" else None
        index, times = array_at(path, group, "idx", label), array_at(path, group, "time", label)
        return Events(index, times, int(numbers["n_neurons"]), float(numbers["t_max"]), values)
    except (TypeError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise type(error)(f"{path}: {label}: {error}") from None
