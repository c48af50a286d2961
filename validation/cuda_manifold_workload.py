"""What `cuda_benchmark` runs of spiking graph networks, in float32: steps, lengths, sums over neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from refsnn.kernels import graph_kernels, manifold_kernels
from refsnn.kernels.manifold import CODES
from refsnn.models.manifold.graph import Graph, incidence
from refsnn.models.manifold.manifold import hyperbolic
from validation.cuda_recurrent_workload import CELL_BOUND, drawn
from validation.cuda_workload import Case, Sizes, kernel_case


def manifold_cases(sizes: Sizes) -> Iterator[Case]:
    """Nodes of a hyperboloid near its origin, pairs of neighbours, and a product with the adjacency."""
    rng, nodes, manifold = np.random.default_rng(8), sizes.nodes, hyperbolic(sizes.dimension)
    (factor,) = manifold.columns(np.float32)
    mode = CODES["transport"]
    origin = np.repeat(manifold.origin(np.float32)[None], nodes, axis=0)
    drive, upstream = drawn(rng, nodes, manifold.width, scale=0.1), drawn(rng, nodes, manifold.width)
    points = np.empty_like(origin)
    manifold_kernels("plain").step(factor, mode, origin, drive, points)
    graph = Graph(nodes, rng.integers(0, nodes, 8 * nodes), rng.integers(0, nodes, 8 * nodes))
    pairs, adjacency = incidence(nodes, graph.sources, graph.targets), graph.normalised(np.float32)
    row = np.empty(graph.edges, np.float32)
    by_chord = drawn(rng, graph.edges)
    case = partial(kernel_case, manifold_kernels, bound=CELL_BOUND)
    yield case("step", read=(factor, mode, points, drive), filled=[points])
    yield case(
        "step_backward",
        read=(factor, mode, False, points, drive, upstream),
        filled=[points, points],
    )
    yield case("origin_logarithm", read=(factor, points), filled=[points])
    yield case("origin_logarithm_backward", read=(factor, points, upstream), filled=[points])
    yield case("squared_distances", read=(factor, points, pairs), filled=[row, row])
    yield case("squared_distances_backward", read=(factor, points, pairs, by_chord), filled=[points])
    entries = adjacency.starts, adjacency.neighbours, adjacency.values
    yield kernel_case(graph_kernels, "propagate", CELL_BOUND, (*entries, upstream), filled=[upstream])
