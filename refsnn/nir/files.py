"""NIR graphs in files: HDF5 as the `nir` package writes it, read and written with h5py alone.

    version                      string, of the package that wrote it
    node/type                    "NIRGraph"
    node/edges                   (E, 2) strings: from, to
    node/nodes/<name>/type       kind of the node
    node/nodes/<name>/<field>    its arrays
    .../metadata/<key>           whatever else, also beside node/nodes

A node of the kind NIRGraph holds a graph of its own; it is read flat, its nodes named `<name>.<inner name>`,
its Input and Output replaced by the edges that go through them.  What is written is flat.

h5py is needed by refsnn anyway, and a reader of our own can say which file, node and field is wrong and look
at sizes before it loads anything; that these files and those of the `nir` package are the same is tested.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn import checks
from refsnn.files import check_writable, replacing
from refsnn.nir.graph import Edge, NirGraph
from refsnn.nir.nodes import KINDS, Node

FORMAT = "1.0.8"  # the version of the nir package whose layout is written
MOST_BYTES = 2**30  # of all arrays of a file, unpacked
MOST_NODES = 10_000
_DEEPEST = 8  # graphs within graphs
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_VERSIONS = re.compile(r"[01]\.\d+")
_AGAIN = "get the file again, or write it again with nir.write"
Parts = tuple[dict[str, Node], list[Edge]]


def read_graph(path: str | os.PathLike[str]) -> NirGraph:
    """Read a NIR graph.

    Parameters
    ----------
    path : path-like
        An HDF5 file of NIR version 0 or 1.

    Returns
    -------
    NirGraph

    Raises
    ------
    FileNotFoundError
        If there is none.
    TypeError, ValueError
        Naming the file, node and field: for a file that is not HDF5, cut short or changed, of another
        version, with arrays that are missing, unknown, too large, not finite or of shapes that do not fit,
        with unknown kinds of nodes, links to other files, edges that lead nowhere, and circles without a
        neuron.

    Examples
    --------
    >>> import tempfile
    >>> nodes = {"in": Node("Input", {"shape": [2]}), "out": Node("Output", {"shape": [2]})}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_graph(Path(folder, "graph.nir"), NirGraph(nodes, [("in", "out")]))
    ...     read_graph(path).edges
    (('in', 'out'),)
    """
    path = Path(path)
    with opened(path) as file:
        if file.attrs.get("__type__") == "NIRGraphData":
            raise ValueError(
                f"{path}: expected a graph, found recorded data (NIRGraphData); read it with read_data"
            )
        check_contents(path, file)
        version = _text(path, file, "version")
        if not _VERSIONS.match(version):
            raise ValueError(
                f"{path}: version: expected NIR 0.x or 1.x, found {checks.shortened(version, 40)}; write it "
                "again with a version that is known"
            )
        root = _group(path, file, "node")
        nodes, edges = _read_parts(path, root, "", 0)
        metadata = _metadata(path, root)
    try:
        return NirGraph(nodes, edges, metadata)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from None


def write_graph(path: str | os.PathLike[str], graph: NirGraph) -> Path:
    """Write a NIR graph so that at every moment the file is the old one or the new one.

    Parameters
    ----------
    path : path-like
        Of the file, in an existing folder.
    graph : NirGraph
        The graph.

    Returns
    -------
    Path

    Raises
    ------
    TypeError, ValueError
        If it is no graph, a node's name has a "/" in it, metadata are no numbers or texts, or the path cannot
        be written to.

    Examples
    --------
    >>> import tempfile
    >>> nodes = {"in": Node("Input", {"shape": [2]}), "out": Node("Output", {"shape": [2]})}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_graph(Path(folder, "graph.nir"), NirGraph(nodes, [("in", "out")])).name
    'graph.nir'
    """
    checks.instance("graph", graph, NirGraph, "NirGraph(nodes, edges)")
    path = Path(path)
    check_writable("path", path)
    for name in graph.nodes:
        if not name or "/" in name or name == ".":
            raise ValueError(f"node {name!r}: expected a name without '/', which HDF5 takes for a folder")
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("version", data=FORMAT, dtype=h5py.string_dtype())
        root = file.create_group("node")
        root.create_dataset("type", data="NIRGraph", dtype=h5py.string_dtype())
        root.create_dataset("edges", data=[list(edge) for edge in graph.edges], dtype=h5py.string_dtype())
        _write_metadata(root, graph.metadata)
        for name, node in graph.nodes.items():
            group = root.create_group(f"nodes/{name}")
            group.create_dataset("type", data=node.kind, dtype=h5py.string_dtype())
            for field, value in _written_values(graph, name).items():
                if isinstance(value, str):
                    group.create_dataset(field, data=value, dtype=h5py.string_dtype())
                else:
                    group.create_dataset(field, data=value)
            _write_metadata(group, node.metadata)
    return path


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read, and say which one it is if it is broken.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    h5py.File

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is no HDF5 file, or broken.

    Examples
    --------
    >>> with opened(Path("no/such/file")):
    ...     pass
    Traceback (most recent call last):
    ...
    FileNotFoundError: no/such/file: expected a NIR file, found none of that name
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a NIR file, found none of that name")
    with open(path, "rb") as stream:
        beginning = stream.read(8)
    if beginning != _SIGNATURE:
        raise ValueError(
            f"{path}: expected HDF5, found a file that begins with "
            f"{beginning[:4].hex(' ') or 'nothing'}; {_AGAIN}"
        )
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (TypeError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: expected a whole HDF5 file, found it broken: {error}; {_AGAIN}") from None
    except (OSError, KeyError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: expected a whole HDF5 file, found it broken: {error}; {_AGAIN}") from None


def array_at(path: Path, group: h5py.Group, name: str, label: str) -> np.ndarray:
    """The array of a dataset, of numbers or of booleans.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    group : h5py.Group
        Where it stands.
    name : str
        Of the dataset.
    label : str
        What a message says behind the path.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If there is none, or something else.
    """
    entry = group.get(name)
    if not isinstance(entry, h5py.Dataset):
        what = "a group" if entry is not None else "nothing"
        raise ValueError(f"{path}: {label}: expected the dataset {name!r}, found {what}; {_AGAIN}")
    if entry.dtype.kind not in "biuf":
        raise TypeError(f"{path}: {label}: {name}: expected numbers, found {entry.dtype}")
    return np.asarray(entry[()])


def _written_values(graph: NirGraph, name: str) -> dict[str, Any]:
    """A node's arrays; a convolution's with the size of its images: nir 1.0.8 cannot read it without."""
    values = dict(graph.nodes[name].values)
    if graph.nodes[name].kind in ("Conv1d", "Conv2d") and "input_shape" not in values:
        sides = graph.shapes[graph.sources(name)[0]][1:]
        values["input_shape"] = np.array(sides if len(sides) > 1 else sides[0])
    return values


def _read_parts(path: Path, group: h5py.Group, prefix: str, depth: int) -> Parts:
    """Nodes and edges of a graph and of those in it, with the prefix in front of names."""
    if depth > _DEEPEST:
        raise ValueError(f"{path}: {prefix[:-1]}: expected at most {_DEEPEST} graphs within graphs")
    where = f"graph {prefix[:-1]!r}" if prefix else "node"
    kind = _text(path, group, "type", where)
    if kind != "NIRGraph":
        raise ValueError(f"{path}: {where}: type: expected 'NIRGraph', found {checks.shortened(kind, 40)}")
    nodes: dict[str, Node] = {}
    edges = [(prefix + a, prefix + b) for a, b in _read_edges(path, group, where)]
    for name, entry in _group(path, group, "nodes", where).items():
        full = prefix + name
        if not isinstance(entry, h5py.Group):
            raise ValueError(f"{path}: node {full!r}: expected a group, found a dataset; {_AGAIN}")
        if _text(path, entry, "type", f"node {full!r}") == "NIRGraph":
            inner = _read_parts(path, entry, f"{full}.", depth + 1)
            edges = _spliced(path, full, inner, nodes, edges)
        else:
            nodes[full] = _read_node(path, entry, full)
        if len(nodes) > MOST_NODES:
            raise ValueError(f"{path}: expected at most {MOST_NODES} nodes, found more")
    return nodes, edges


def _spliced(path: Path, name: str, inner: Parts, nodes: dict[str, Node], edges: list[Edge]) -> list[Edge]:
    """Edges of a graph with an inner graph laid open; its nodes are added to `nodes`."""
    inside, inner_edges = inner
    for kind, end in (("Input", 1), ("Output", 0)):
        doors = [door for door, node in inside.items() if node.kind == kind]
        touching = [edge for edge in edges if edge[end] == name]
        if touching and len(doors) != 1:
            raise ValueError(
                f"{path}: node {name!r}: expected a graph with one {kind}, because edges name the graph "
                f"only, found {len(doors)}"
            )
        for door in doors:
            near = [edge[end] for edge in inner_edges if edge[1 - end] == door]
            inner_edges = [edge for edge in inner_edges if door not in edge]
            added = [(edge[0], other) if end else (other, edge[1]) for edge in touching for other in near]
            edges = [edge for edge in edges if edge not in touching] + added
            del inside[door]
    nodes.update(inside)
    return edges + inner_edges


def _read_node(path: Path, group: h5py.Group, name: str) -> Node:
    label = f"node {name!r}"
    kind = _text(path, group, "type", label)
    if kind not in KINDS:
        raise ValueError(
            f"{path}: {label}: type: expected one of {', '.join(KINDS)}, found {checks.shortened(kind, 40)}"
        )
    values: dict[str, Any] = {}
    for field in group:
        if field in ("type", "metadata"):
            continue
        entry = group[field]
        if isinstance(entry, h5py.Dataset) and entry.dtype.kind == "O":
            values[field] = _text(path, group, field, label)
        else:
            values[field] = array_at(path, group, field, label)
    try:
        return Node(kind, values, _metadata(path, group))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {label}: {error}") from None


def _read_edges(path: Path, group: h5py.Group, where: str) -> list[Edge]:
    entry = group.get("edges")
    if not isinstance(entry, h5py.Dataset):
        raise ValueError(f"{path}: {where}: expected the dataset 'edges', found none; {_AGAIN}")
    if not entry.size:
        return []
    if entry.ndim != 2 or entry.shape[1] != 2 or entry.dtype.kind not in "OS":
        raise ValueError(
            f"{path}: {where}: edges: expected pairs of names (E, 2), found {entry.dtype} of shape "
            f"{entry.shape}"
        )
    return [(_decoded(path, a), _decoded(path, b)) for a, b in entry[()]]


def _metadata(path: Path, group: h5py.Group) -> dict[str, Any]:
    """Texts and numbers beside; groups in it become dicts."""
    entry = group.get("metadata")
    if not isinstance(entry, h5py.Group):
        return {}
    found: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, h5py.Dataset):
            content = value[()]
            found[key] = _decoded(path, content) if isinstance(content, (bytes, str)) else content
    return found


def _write_metadata(group: h5py.Group, metadata: Mapping[str, Any]) -> None:
    if not metadata:
        return
    room = group.create_group("metadata")
    for key, value in metadata.items():
        try:
            room.create_dataset(str(key), data=value)
        except TypeError:
            raise TypeError(
                f"metadata {key!r}: expected a text, a number or an array, got {type(value).__name__}"
            ) from None


def _group(path: Path, group: h5py.Group, name: str, where: str = "file") -> h5py.Group:
    entry = group.get(name)
    if not isinstance(entry, h5py.Group):
        raise ValueError(f"{path}: {where}: expected the group {name!r}, found none; is it a NIR graph?")
    return entry


def _text(path: Path, group: h5py.Group, name: str, where: str = "file") -> str:
    entry = group.get(name)
    if not isinstance(entry, h5py.Dataset) or entry.shape != () or entry.dtype.kind not in "OS":
        raise ValueError(f"{path}: {where}: expected the text {name!r}, found none; is it a NIR graph?")
    return _decoded(path, entry[()])


def _decoded(path: Path, value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode("utf-8")
    except (UnicodeDecodeError, TypeError):
        raise ValueError(f"{path}: expected texts in UTF-8, found {value!r}; {_AGAIN}") from None


def check_contents(path: Path, file: h5py.Group) -> None:
    """Go through a file without loading it: refuse what is too large, and what leads out of it.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    file : h5py.Group
        Its root.

    Raises
    ------
    ValueError
        If its arrays are too large together, or something in it stands in another file.
    """
    total, entries, waiting = 0, 0, [(file, 0)]
    while waiting:
        group, depth = waiting.pop()
        for name in group:
            entries += 1
            if entries > 100 * MOST_NODES or depth > 4 * _DEEPEST:
                raise ValueError(
                    f"{path}: expected a file of at most {MOST_NODES} nodes, found more or a circle"
                )
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(
                    f"{path}: {group.name}/{name}: expected data in the file itself, found a link; {_AGAIN}"
                )
            entry = group[name]
            if isinstance(entry, h5py.Group):
                waiting.append((entry, depth + 1))
                continue
            if not isinstance(entry, h5py.Dataset) or entry.is_virtual or entry.external:
                raise ValueError(
                    f"{path}: {group.name}/{name}: expected data in the file itself, found a link; {_AGAIN}"
                )
            total += (entry.size or 0) * entry.dtype.itemsize
            if total > MOST_BYTES:
                raise ValueError(
                    f"{path}: {group.name}/{name}: expected arrays of at most {MOST_BYTES / 2**30:g} GiB "
                    f"together, found {total / 2**30:.3g} GiB; raise refsnn.nir.files.MOST_BYTES if you "
                    "trust the file"
                )
