"""Networks as JSON: a spiking graph written out node by node, or a builder with its arguments.

    {"builder": "dense_network", "widths": [4, 8, 3], "neuron": {"leak": 0.5}, "recurrent": true}

    {"input_shape": [4], "loss_over": "each_step", "nodes": [
        {"name": "layer.1.current", "inputs": ["input"], "what": {"class": "Dense", "width": 8}},
        {"name": "layer.1", "inputs": ["layer.1.current"],
         "what": {"class": "Population", "neuron": {"leak": 0.5, "surrogate": {"shape": "triangle"}}}},
        {"name": "readout", "inputs": ["layer.1"], "what": {"class": "Dense", "width": 3}}]}

Names are those of the classes and of their parameters; what is left out has its default.  The arrays of
the parameters stand elsewhere, see `refsnn.array_files`.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.files import write_whole
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.normaliser_free import nf_resnet34
from refsnn.models.builders.residual import preactivation_resnet34, resnet18, resnet19, sew_resnet34
from refsnn.models.builders.vgg import vgg, vgg11, vgg_dvs, vgg_feedback, vgg_sws
from refsnn.models.edges import Edges
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AdaptiveAveragePool, AveragePool, MaxPool
from refsnn.models.operators.reshaping import Flatten, LearnableScale, Scale, Upsample
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum

FORMAT = "refsnn network 1"

CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(Population, Sum, Dense, Convolution2d, AveragePool, AdaptiveAveragePool, MaxPool),
        *(BatchNormalisation, Dropout, Flatten, Scale, LearnableScale, Upsample),
    )
}
BUILDERS: dict[str, Callable[..., SpikingGraph]] = {
    builder.__name__: builder
    for builder in (
        *(dense_network, vgg, vgg_sws, vgg_feedback, vgg11, vgg_dvs),
        *(resnet18, resnet19, preactivation_resnet34, sew_resnet34, nf_resnet34),
    )
}
# Fields whose value has fields of its own.
_NESTED: dict[str, type] = {"neuron": SpikingNeuron, "surrogate": Surrogate, "edges": Edges}
_NOT_WRITTEN = ("mask",)  # of dropout: it belongs to a batch
_LOSS_AND_EDGES = [field.name for field in fields(SpikingGraph) if field.name not in ("nodes", "input_shape")]


def describe(graph: SpikingGraph) -> dict[str, Any]:
    """A network in the types of JSON; `build` gives it back.

    Parameters
    ----------
    graph : SpikingGraph
        The network.

    Returns
    -------
    dict
        With every field written out.

    Raises
    ------
    TypeError
        For something else, and for operators that are not of this package.
    ValueError
        For a drawn mask of dropout.

    Examples
    --------
    >>> describe(dense_network((4, 8, 3)))["nodes"][-1]["what"]
    {'class': 'Dense', 'width': 3, 'with_bias': True, 'standardise': False}
    """
    checks.instance("graph", graph, SpikingGraph, "dense_network((4, 8, 3))")
    options = {name: _plain(name, getattr(graph, name)) for name in ("input_shape", *_LOSS_AND_EDGES)}
    nodes = []
    for index, node in enumerate(graph.nodes):
        label = f"graph.nodes[{index}] ({node.name!r})"
        kind = type(node.what)
        if CLASSES.get(kind.__name__) is not kind:
            raise TypeError(f"{label}: expected one of {sorted(CLASSES)}, got {kind.__name__}")
        written = _plain(label, node)
        written["what"] = {"class": kind.__name__, **written["what"]}
        nodes.append(written)
    return {"format": FORMAT, **options, "nodes": nodes}


def build(description: Any) -> SpikingGraph:
    """The network of a description.

    Parameters
    ----------
    description : dict
        From `describe`, or written by hand, or ``{"builder": name, ...}``; see the top of this module.

    Returns
    -------
    SpikingGraph

    Raises
    ------
    TypeError, ValueError
        For unknown or missing names, and for values that describe no network.

    Examples
    --------
    >>> build({"builder": "dense_network", "widths": [4, 8, 3]}) == dense_network((4, 8, 3))
    True
    >>> build({"builder": "dense_network", "width": 4})
    Traceback (most recent call last):
    ...
    ValueError: dense_network: unknown 'width'; expected names among 'widths', 'neuron', 'standardise',
    'scale', 'recurrent', 'dropout', 'loss_function', 'loss_over', 'squared_share', 'readout_leak', 'edges'
    """
    entries = dict(_checked_mapping("network", description))
    given = entries.pop("format", FORMAT)
    if given != FORMAT:
        raise ValueError(f"format: expected {FORMAT!r}, got {given!r}; write the file anew with this version")
    if "builder" in entries:
        return _built(entries)
    if "nodes" not in entries:
        raise ValueError(
            f"network: expected 'nodes' or 'builder', got {sorted(entries)}; see refsnn.network_files"
        )
    nodes = entries["nodes"]
    if not isinstance(nodes, list):
        raise TypeError(f"nodes: expected a list, got {type(nodes).__name__}")
    entries["nodes"] = tuple(_node(f"nodes[{index}]", node) for index, node in enumerate(nodes))
    return _made("network", SpikingGraph, entries)


def save_network(path: str | os.PathLike[str], graph: SpikingGraph) -> Path:
    """Write a network; a file that is there stays whole until the new one is.

    Parameters
    ----------
    path : path-like
        Of the file, by custom ``.json``.
    graph : SpikingGraph
        The network.

    Returns
    -------
    Path

    Raises
    ------
    TypeError, ValueError
        As `describe`.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> graph = dense_network((4, 8, 3), recurrent=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_network(save_network(f"{folder}/network.json", graph)) == graph
    True
    """
    return write_whole(path, json.dumps(describe(graph), indent=2, allow_nan=False) + "\n")


def load_network(path: str | os.PathLike[str]) -> SpikingGraph:
    """Read a network.

    Parameters
    ----------
    path : path-like
        A file of `save_network`, or one written by hand.

    Returns
    -------
    SpikingGraph

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If it is no JSON, or describes no network; the message begins with the path.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a network file, found none of that name")
    try:
        description = json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_number
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected a network as JSON, found something else ({error}); the network file comes "
            "before the one with arrays"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    with labelled(str(path)):
        return build(description)


# -- to JSON ------------------------------------------------------------------------------------------------


def _plain(label: str, value: Any) -> Any:
    """A field's value in the types of JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        entries = {field.name: getattr(value, field.name) for field in fields(value)}
        for name in _NOT_WRITTEN:
            if entries.pop(name, None) is not None:
                raise ValueError(
                    f"{label}: expected no {name}, got one that was drawn for a batch; save the network as "
                    "it was before `with_dropout`"
                )
        return {name: _plain(label, entry) for name, entry in entries.items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(label, entry) for name, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(label, entry) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{label}: expected what JSON can hold, got {type(value).__name__}")


# -- from JSON ----------------------------------------------------------------------------------------------


def _node(label: str, description: Any) -> Node:
    entries = dict(_checked_mapping(label, description))
    if isinstance(entries.get("name"), str):
        label = f"{label} ({entries['name']!r})"
    for name in ("name", "prefix"):
        if not isinstance(entries.get(name, ""), str) and not (name == "prefix" and entries[name] is None):
            raise TypeError(f"{label}: {name}: expected a string, got {entries[name]!r}")
    inputs = entries.get("inputs", [])
    if not isinstance(inputs, list) or not all(isinstance(name, str) for name in inputs):
        raise TypeError(f"{label}: inputs: expected a list of names, got {inputs!r}")
    if "what" in entries:
        what = dict(_checked_mapping(f"{label}: what", entries["what"]))
        name = what.pop("class", None)
        if not isinstance(name, str) or name not in CLASSES:
            raise ValueError(f"{label}: class: expected one of {_names(CLASSES)}, got {name!r}")
        entries["what"] = _made(f"{label}: {name}", CLASSES[name], what)
    return _made(label, Node, entries)


def _built(entries: dict[str, Any]) -> SpikingGraph:
    """A builder called with its arguments."""
    name = entries.pop("builder")
    if not isinstance(name, str) or name not in BUILDERS:
        raise ValueError(f"builder: expected one of {_names(BUILDERS)}, got {name!r}")
    arguments = inspect.signature(BUILDERS[name]).parameters.values()
    named = [argument for argument in arguments if argument.kind is not argument.VAR_KEYWORD]
    needed = [argument.name for argument in named if argument.default is argument.empty]
    _check_names(name, entries, [argument.name for argument in named] + _LOSS_AND_EDGES, needed)
    values = {key: _nested(f"{name}: {key}", key, entry) for key, entry in entries.items()}
    with labelled(name):
        return BUILDERS[name](**values)


def _made(label: str, kind: type, entries: dict[str, Any]) -> Any:
    """An instance of a dataclass by its fields."""
    known = [field for field in fields(kind) if field.name not in _NOT_WRITTEN]
    needed = [field.name for field in known if field.default is MISSING and field.default_factory is MISSING]
    _check_names(label, entries, [field.name for field in known], needed)
    values = {name: _nested(f"{label}: {name}", name, entry) for name, entry in entries.items()}
    with labelled(label):
        return kind(**values)


def _nested(label: str, name: str, value: Any) -> Any:
    """The value of a field: a neuron, a surrogate or edges of their own fields, or a list of neurons."""
    if name not in _NESTED or value is None or is_dataclass(value):
        return value
    if isinstance(value, list) and name == "neuron":
        return [_nested(f"{label}[{index}]", name, entry) for index, entry in enumerate(value)]
    return _made(label, _NESTED[name], dict(_checked_mapping(label, value)))


def _check_names(label: str, entries: Mapping[str, Any], known: list[str], needed: list[str]) -> None:
    unknown, missing = sorted(set(entries).difference(known)), [n for n in needed if n not in entries]
    if unknown:
        among = f"expected names among {_names(known)}" if known else "expected nothing more"
        raise ValueError(f"{label}: unknown {_names(unknown)}; {among}")
    if missing:
        raise ValueError(f"{label}: missing {_names(missing)}; got {_names(sorted(entries)) or 'nothing'}")


def _checked_mapping(label: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{label}: expected names with values, got {type(value).__name__}")
    return value


def _names(names: Any) -> str:
    return ", ".join(map(repr, names))


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Say where an error came up.

    Parameters
    ----------
    label : str
        What its message will begin with: a file, or a place in it.

    Yields
    ------
    None

    Raises
    ------
    TypeError, ValueError
        Those of the block, with the label in front.

    Examples
    --------
    >>> with labelled("network.json"):
    ...     raise ValueError("edges: unknown")
    Traceback (most recent call last):
    ...
    ValueError: network.json: edges: unknown
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{label}: {error}") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ValueError(f"expected each name once, got {_names(doubles)} more than once in one place")
    return dict(pairs)


def _no_number(text: str) -> None:
    raise ValueError(f"expected finite numbers, got {text}")
