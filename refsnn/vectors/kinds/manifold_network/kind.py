"""Spiking networks on graphs whose nodes move on a manifold: gradients via the manifold, and via spikes."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import (
    ManifoldResult,
    differentiation_via_manifold,
)
from refsnn.algorithms.differentiation_via_spikes import differentiation_via_spikes
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import Head, Links, NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import Factor, Manifold
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.vectors.case import Kind, Leaf, Problem, Solution
from refsnn.vectors.kinds.manifold_network.by_hand import by_hand
from refsnn.vectors.kinds.manifold_network.cases import cases
from refsnn.vectors.kinds.manifold_network.mistakes import MISTAKES
from refsnn.vectors.kinds.spiking_neuron.kind import neuron_of

_NETWORK = "refsnn/models/manifold/network.py"
LEAVES = (
    Leaf(
        "adjacency",
        "(N, N)",
        "Ahat",
        "Ahat = deg^-1/2 A deg^-1/2, A with a loop at each node, refsnn/models/manifold/graph.py",
    ),
    Leaf(
        "states/rate/*",
        "(N, D)",
        "r^l of the blocks 0 to L-1",
        f"r = mean_t s[t], x^0[t] = Ahat X W^0^T, x^l[t] = Ahat s^{{l-1}}[t] W^l^T (Sun 2024, Eqs. 4 and 9), "
        f"{_NETWORK}",
    ),
    Leaf(
        "states/drive/*",
        "(N, D)",
        "u^l",
        f"u^l = step_size mean_t x^l[t] (Sun 2024, Eq. 7), {_NETWORK}",
    ),
    Leaf(
        "states/points/*",
        "(N, D)",
        "z^l",
        f"z^l = Exp(v^l) at z^{{l-1}}, z^{{-1}} = o (Sun 2024, Eqs. 8 and 10), {_NETWORK}",
    ),
    Leaf("loss", "()", "L", "cross-entropy of nodes, or of links, refsnn/models/manifold/heads.py"),
    Leaf(
        "gradients/*",
        "as the parameter",
        "dL/d(parameter)",
        "via manifold: dL/dW^l = step_size (ubar^l)^T Ahat r^{l-1} (Sun 2024, Eq. 12); via spikes: sum_t "
        "xbar^l[t]^T Ahat s^{l-1}[t] (Eq. 11), refsnn/algorithms/ALGORITHM.py",
    ),
)
INPUTS = {
    "algorithm": "'differentiation_via_manifold': spikes are constants; 'differentiation_via_spikes': psi "
    "stands for their slope",
    "adjoint": "of the step, via manifold: 'exact', or 'paper', which has c0 I for the derivative by the "
    "point it starts from, whatever the tangent vector (c0 = cosh or cos of |v|/R, 1 in flat space)",
    "curvature": "one a factor: negative for a hyperboloid, 0 for flat space, positive for a sphere",
    "dimension": "one a factor: d; d + 1 coordinates are stored, d in flat space; D is the sum of them. "
    "o is (R, 0, ..), the south pole (-R, 0, ..), or 0, with R = 1/sqrt|curvature|",
    "layers": "L: blocks after the encoder",
    "steps": "T",
    "step_size": "eps",
    "gain": "the current is multiplied with it on its way into the neuron",
    "tangent": "how a drive u becomes a tangent vector at z: 'transport' carries (0, u_1, ..) from o to z "
    "along the geodesic, 'project' takes u - curvature <z, u> z, 'ambient' u itself",
    "learn_curvature": "whether curvatures are parameters; those of flat factors stay 0, with gradient 0",
    "leak": "share of the potential that survives a step",
    "threshold": "potential at which it fires",
    "reset": "'soft' subtracts the threshold, 'hard' sets the potential to reset_value and leaks towards it",
    "reset_value": "where a hard reset goes",
    "detach_reset": "whether the gradient takes the spike in the reset for a constant",
    "fires": "'>=' or '>'",
    "surrogate.shape": "psi, the slope of a spike (refsnn/equations/surrogates.py)",
    "surrogate.slope": "one over the width of psi, per unit of potential",
    "surrogate.height": "psi at the threshold",
    "loss": "'classes': mean cross-entropy over inputs/nodes of the logits W^out Log_o(z^L), or of W^out "
    "times the sum of the drives; 'links': mean of -log p over links plus mean of -log(1 - p) over absent "
    "pairs, p = 1/(exp((d^power - radius)/temperature) + 1)",
    "head": "what logits are read from: 'manifold', Log_o(z^L), or 'tangent', the sum of the drives; both "
    "without their first coordinates (0) in curved factors",
    "radius": "of the links' probability",
    "temperature": "of the links' probability",
    "power": "of the distance in it",
    "product_distance": "'l2': the root of the sum of squares over factors; 'l1': their sum",
    "inputs/edges": "(2, E): ends of undirected edges, each pair once, no loops",
    "inputs/features": "(N, F): X",
    "inputs/labels": "(N,): classes",
    "inputs/nodes": "(M,): which nodes count",
    "inputs/links": "(2, E'): pairs that are linked",
    "inputs/absent": "(2, E''): pairs that are not",
    "inputs/parameters/*": "layer.0.weight (D, F), layer.l.weight (D, D), readout.weight (C, D), curvature",
}


def network_of(problem: Problem) -> ManifoldSpikingNetwork:
    """The network of a case.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    ManifoldSpikingNetwork
    """
    given, inputs = problem.hyperparameters, problem.inputs
    factors = zip(given["curvature"], given["dimension"], strict=True)
    options: dict[str, Any] = {
        name: given[name] for name in ("layers", "steps", "step_size", "gain", "tangent", "learn_curvature")
    }
    readout = inputs.get("parameters/readout.weight")
    return ManifoldSpikingNetwork(
        inputs["features"].shape[1],
        Manifold(tuple(Factor(curvature, dimension) for curvature, dimension in factors)),
        classes=0 if readout is None else len(readout),
        neuron=neuron_of(given),
        **options,
    )


def solve(problem: Problem, backend: str) -> Solution:
    """Run the algorithm of a case.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Whose kernels.

    Returns
    -------
    Solution
    """
    given, inputs = problem.hyperparameters, problem.inputs
    network, dtype = network_of(problem), inputs["features"].dtype
    graph = Graph.undirected(len(inputs["features"]), *inputs["edges"])
    parameters = {name: inputs[f"parameters/{name}"] for name in network.parameter_shapes()}
    seen = GraphInputs.of(graph, inputs["features"], network.layers, dtype)
    head: Head = (
        NodeClasses(inputs["labels"], inputs["nodes"], given["head"])
        if given["loss"] == "classes"
        else Links(
            inputs["links"],
            inputs["absent"],
            given["radius"],
            given["temperature"],
            given["power"],
            given["product_distance"],
        )
    )
    result: ManifoldResult
    if given["algorithm"] == "differentiation_via_manifold":
        result = differentiation_via_manifold(
            network, parameters, seen, head, adjoint=given["adjoint"], backend=backend
        )
    else:
        result = differentiation_via_spikes(network, parameters, seen, head, backend=backend)
    leaves = {"adjacency": graph.normalised(dtype).scipy().toarray()}
    leaves |= {f"states/rate/{block}": rate for block, rate in enumerate(result.run.rates)}
    leaves |= {f"states/drive/{block}": drive for block, drive in enumerate(result.run.drives)}
    leaves |= {f"states/points/{block}": points for block, points in enumerate(result.run.points[1:])}
    leaves["loss"] = np.asarray(result.loss, dtype)
    leaves |= {f"gradients/{name}": np.asarray(gradient) for name, gradient in result.gradients.items()}
    return Solution(leaves, result.run.margin)


MANIFOLD_NETWORK = Kind(
    name="manifold_network",
    summary="Spiking graph networks on manifolds: differentiation via the manifold and via spikes.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="a second writing with dense matrices, frozen or affine spikes by complex step",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
)
