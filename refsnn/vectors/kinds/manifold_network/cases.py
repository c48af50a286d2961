"""Live networks on small graphs, in all spaces, and what goes wrong at the edges."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.vectors.case import Case, Leaves, Problem
from refsnn.vectors.kinds.manifold_network.by_hand import by_hand

RATES = (0.1, 0.9)
SPACES: dict[str, tuple[list[float], list[int]]] = {
    "hyperbolic": ([-1.0], [3]),
    "hyperbolic-half": ([-0.5], [3]),
    "spherical": ([1.0], [3]),
    "spherical-double": ([2.0], [3]),
    "flat": ([0.0], [4]),
    "product": ([-0.5, 1.0, 0.0], [2, 1, 2]),
}
USUAL: dict[str, Any] = {
    "algorithm": "differentiation_via_manifold",
    "adjoint": "exact",
    "curvature": [-1.0],
    "dimension": [3],
    "layers": 2,
    "steps": 5,
    "step_size": 0.25,
    "gain": 1.0,
    "tangent": "transport",
    "learn_curvature": False,
    "leak": 1.0,
    "threshold": 0.5,
    "reset": "soft",
    "reset_value": 0.0,
    "detach_reset": True,
    "fires": ">",
    "surrogate.shape": "sigmoid",
    "surrogate.slope": 4.0,
    "surrogate.height": 0.8,
    "loss": "classes",
    "head": "manifold",
    "radius": 0.7,
    "temperature": 0.4,
    "power": 1,
    "product_distance": "l2",
}
BY_SPIKES: dict[str, Any] = {"algorithm": "differentiation_via_spikes"}


def cases(large: bool) -> Iterator[Case]:
    """All of them.

    Parameters
    ----------
    large : bool
        A wider one in addition.

    Yields
    ------
    Case
    """
    for name, (curvature, dimension) in SPACES.items():
        space: dict[str, Any] = {"curvature": curvature, "dimension": dimension}
        yield _live(f"manifold/{name}", "spikes are constants", **space)
        yield _live(f"spikes/{name}", "psi stands for the slope of a spike", **BY_SPIKES, **space)
    for tangent in ("project", "ambient"):
        for name in ("hyperbolic-half", "spherical"):
            curvature, dimension = SPACES[name]
            space = {"curvature": curvature, "dimension": dimension, "tangent": tangent}
            yield _live(f"{tangent}/{name}", "another tangent vector", **BY_SPIKES, **space)
    for tangent, name in (
        ("transport", "hyperbolic-half"),
        ("project", "spherical"),
        ("transport", "product"),
    ):
        curvature, dimension = SPACES[name]
        space = {"curvature": curvature, "dimension": dimension, "tangent": tangent}
        yield _live(f"paper/{name}", "the step differentiated as published", adjoint="paper", **space)
    for name in ("hyperbolic-half", "spherical-double", "product"):
        curvature, dimension = SPACES[name]
        space = {"curvature": curvature, "dimension": dimension, "learn_curvature": True}
        yield _live(f"curvature/{name}", "curvatures are parameters", **space)
        links: dict[str, Any] = {"loss": "links"} | (
            {"product_distance": "l1"} if name == "product" else {"power": 2}
        )
        yield _live(f"links/{name}", "links by distances", **BY_SPIKES, **space, **links)
    product: dict[str, Any] = {"curvature": SPACES["product"][0], "dimension": SPACES["product"][1]}
    yield _live("links/product-l2", "the product's own distance", loss="links", **product)
    yield _live("head/tangent", "logits of the sum of drives", head="tangent", **BY_SPIKES)
    neurons: dict[str, dict[str, Any]] = {
        "leaky": {"leak": 0.7, "gain": 0.6, "fires": ">=", "threshold": 0.3},
        "hard": {"reset": "hard", "reset_value": -0.2, "leak": 0.9, "detach_reset": False},
        "attached": {"detach_reset": False, "surrogate.shape": "arctan"},
    }
    for name, options in neurons.items():
        yield _live(f"neuron/{name}", "neurons of other kinds", **BY_SPIKES, **options)
    yield from _awkward()
    if large:
        yield _live("wide/spikes", "many nodes", nodes=40, features=12, **BY_SPIKES)


def _awkward() -> Iterator[Case]:
    yield _live("one-step/spikes", "T = 1", steps=1, **BY_SPIKES)
    yield _live("encoder/manifold", "no block after the encoder", layers=0)
    yield _live("one-block/spikes", "one block after the encoder", layers=1, **BY_SPIKES)
    yield _live("silent/spikes", "no spike: what remains is psi", scale=0.05, anyway=True, **BY_SPIKES)
    yield _live(
        "saturated/spikes",
        "a spike at every step",
        scale=1.01,
        step_size=0.1,
        threshold=0.02,
        anyway=True,
        **BY_SPIKES,
    )
    yield _live(
        "zero-upstream/spikes", "a read-out of zeros sends nothing down", zero_readout=True, **BY_SPIKES
    )
    yield _live("loose-node/manifold", "a node without neighbours", loose=True)
    for fires, name in ((">", "above"), (">=", "at-or-above")):
        given = USUAL | BY_SPIKES | {"fires": fires, "layers": 1}
        inputs: Leaves = {
            "edges": np.stack(np.nonzero(np.triu(np.ones((4, 4)), 1))),  # each entry of Ahat is 1/4
            "features": np.ones((4, 1)),
            "labels": np.array([0, 2, 1, 2]),
            "nodes": np.array([0, 1, 3]),
            "parameters/layer.0.weight": np.array([[0.25], [0.5], [-0.25], [0.75]]),
            "parameters/layer.1.weight": 0.25 * np.arange(-8.0, 8.0).reshape(4, 4)[::-1],
            "parameters/readout.weight": 0.5 * np.arange(12.0).reshape(3, 4) % 1.5 - 0.5,
        }
        purpose = "a potential equals the threshold to the last bit"
        yield Case(f"threshold/{name}", purpose, ("exact-threshold",), Problem(given, inputs))


def _live(
    name: str,
    purpose: str,
    *,
    nodes: int = 6,
    features: int = 3,
    scale: float = 1.0,
    anyway: bool = False,
    zero_readout: bool = False,
    loose: bool = False,
    **options: Any,
) -> Case:
    """A case, drawn again until every block fires and the points are not far out."""
    given = USUAL | options
    for attempt in range(300):
        rng = np.random.default_rng([zlib.crc32(name.encode()), attempt])
        inputs = _drawn(rng, given, nodes, features, scale, loose)
        if zero_readout:
            inputs["parameters/readout.weight"] *= 0
        problem = Problem(given, inputs)
        found = by_hand(problem)
        rates = [value for path, value in found.items() if path.startswith("states/rate/")]
        far = max(np.abs(v).max() for path, v in found.items() if path.startswith("states/points/"))
        if anyway or (far < 6 and all(RATES[0] < rate.mean() < RATES[1] for rate in rates)):
            return Case(name, purpose, _flags(problem, rates), problem)
    raise ArithmeticError(f"{name}: no live network in 300 tries")


def _drawn(
    rng: np.random.Generator, given: dict[str, Any], nodes: int, features: int, scale: float, loose: bool
) -> Leaves:
    width = sum(d + (kappa != 0) for kappa, d in zip(given["curvature"], given["dimension"], strict=True))
    joined = np.triu(rng.random((nodes, nodes)) < 0.45, 1)
    joined[0, 1] = True
    if loose:
        joined[:, -1] = False
    ends = np.stack(np.nonzero(joined))
    draw = scale * rng.normal(0.0, 1.0, (width, features))
    inputs: Leaves = {
        "edges": ends,
        "features": np.abs(rng.standard_normal((nodes, features))),
        "parameters/layer.0.weight": np.abs(draw) if scale > 1 else draw,
    }
    for block in range(1, given["layers"] + 1):
        drawn = scale * rng.normal(0.2, 0.7, (width, width))
        inputs[f"parameters/layer.{block}.weight"] = np.abs(drawn) if scale > 1 else drawn
    if given["loss"] == "classes":
        inputs["labels"] = rng.integers(3, size=nodes)
        inputs["nodes"] = np.sort(rng.permutation(nodes)[: nodes - 2])
        inputs["parameters/readout.weight"] = rng.standard_normal((3, width))
    else:
        pairs = np.stack(np.nonzero(np.triu(np.ones((nodes, nodes)), 1)))
        order = rng.permutation(pairs.shape[1])
        inputs["links"], inputs["absent"] = pairs[:, order[:4]], pairs[:, order[4:9]]
    if given["learn_curvature"]:
        inputs["parameters/curvature"] = np.array(given["curvature"])
    return inputs


def _flags(problem: Problem, rates: list[np.ndarray]) -> tuple[str, ...]:
    given, inputs = problem.hyperparameters, problem.inputs
    readout = inputs.get("parameters/readout.weight")
    zero = readout is not None and not readout.any()
    silent = bool(rates) and not any(rate.any() for rate in rates)
    saturated = bool(rates) and all((rate == 1).all() for rate in rates)
    shown = {
        "random": not (zero or silent or saturated),
        "silent": silent,
        "saturated": saturated,
        "attached-reset": not given["detach_reset"],
        "reset-value": given["reset_value"] != 0,
        "one-step": given["steps"] == 1,
        "zero-upstream": zero,
    }
    return tuple(flag for flag, holds in shown.items() if holds)
