"""Random graph networks whose blocks all fire, for the package and by hand; and what is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import ManifoldResult, differentiation_via_manifold
from refsnn.algorithms.differentiation_via_spikes import differentiation_via_spikes
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import Head, Links, NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import Factor, Manifold
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from validation.claims.manifold_spiking_gnn import by_hand
from validation.claims.manifold_spiking_gnn.by_hand import Arrays, Run, Setting
from validation.ledger import VacuousError, require

BACKENDS = "plain", "cpu"
TANGENTS = "transport", "project", "ambient"
CURVATURES = -1.0, -0.3, 1.0, 2.0
# the test network of the specification
NODES, FEATURES, CLASSES, LAYERS, STEPS = 10, 6, 3, 2, 5
STEP_SIZE = THRESHOLD = 0.3
RATES, MARGIN = (0.1, 0.9), 1e-4
FAR = 20.0  # on the hyperboloid z_0^2 digits are lost, and a projected step runs away
LEAST_GRADIENT = 1e-6


@dataclass(frozen=True)
class Problem:
    """A network, its parameters, a graph with features, and a loss."""

    network: ManifoldSpikingNetwork
    parameters: Arrays
    inputs: GraphInputs
    head: Head
    kept_edges: Any = None  # of DropEdge, one mask a block
    cache: dict[str, Any] = field(default_factory=dict, compare=False)

    # -- the package ----------------------------------------------------------------------------------

    def result(self, backend: str = "cpu", adjoint: str = "exact") -> ManifoldResult:
        """What is on trial."""
        return differentiation_via_manifold(
            self.network, self.parameters, self.inputs, self.head, adjoint=adjoint, backend=backend
        )

    def over_spikes(self, backend: str = "cpu") -> ManifoldResult:
        """The other gradient of the same loss."""
        return differentiation_via_spikes(
            self.network, self.parameters, self.inputs, self.head, backend=backend
        )

    def changed(self, **options: Any) -> Problem:
        """With other options of the network."""
        return replace(self, network=replace(self.network, **options), cache={})

    def with_(self, **parts: Any) -> Problem:
        """With other parts."""
        return replace(self, **parts, cache={})

    # -- by hand --------------------------------------------------------------------------------------

    @property
    def setting(self) -> Setting:
        """The same for the second network."""
        network, neuron, graph = self.network, self.network.neuron, self.inputs.graph
        kept = self.kept_edges or [slice(None)] * (network.layers + 1)
        return Setting(
            factors=tuple((factor.curvature, factor.width) for factor in network.manifold.factors),
            tangent=network.tangent,
            steps=network.steps,
            step_size=network.step_size,
            neuron=by_hand.Neuron(
                neuron.leak,
                network.gain,
                neuron.threshold,
                neuron.reset,
                neuron.fires,
                neuron.detach_reset,
                neuron.surrogate.slope,
                neuron.surrogate.height,
            ),
            features=self.inputs.features,  # type: ignore[arg-type]
            adjacencies=tuple(
                by_hand.adjacency(graph.nodes, graph.sources[some], graph.targets[some]) for some in kept
            ),
            masks=self.inputs.masks,
            loss=self.loss_by_hand,
        )

    @property
    def loss_by_hand(self) -> Any:
        """The head's second writing."""
        head = self.head.check(self.network, self.inputs.nodes)
        if isinstance(head, NodeClasses):
            return by_hand.Classes(head.labels, head.nodes, head.head)
        assert isinstance(head, Links)
        return by_hand.FermiDirac(
            head.links, head.absent, head.radius, head.temperature, head.power, head.product_distance
        )

    @property
    def base(self) -> Run:
        """The run at the parameters."""
        if "base" not in self.cache:
            self.cache["base"] = by_hand.forward(self.setting, self.parameters)
        return self.cache["base"]

    def complex_step(self, how: str = "frozen") -> Arrays:
        """The derivative with spikes as constants of the run, or affine about it."""
        moved = by_hand.ensembles(self.parameters, 1e-30j)
        run = by_hand.forward(self.setting, moved, self.base, how)
        return self._without_flat(by_hand.leafwise(run.loss.imag / 1e-30, self.parameters))

    def differences(self, step: float) -> tuple[Arrays, Arrays]:
        """Central differences of the whole network, and which entries flip a spike that is used."""
        runs = [
            by_hand.forward(self.setting, by_hand.ensembles(self.parameters, sign * step)) for sign in (1, -1)
        ]
        found = (runs[0].loss - runs[1].loss) / (2 * step)
        flips = sum(
            (run.spikes[block] != self.base.spikes[block]).any(axis=(1, 2, 3)).astype(int)
            for run in runs
            for block in range(self.network.layers)
        )
        size = sum(value.size for value in self.parameters.values())
        flips = np.broadcast_to(flips, size)
        return (
            self._without_flat(by_hand.leafwise(found, self.parameters)),
            by_hand.leafwise(flips > 0, self.parameters),
        )

    def _without_flat(self, leaves: Arrays) -> Arrays:
        """Flat factors have no curvature to learn."""
        if "curvature" in leaves:
            flat = [not factor.curved for factor in self.network.manifold.factors]
            leaves["curvature"] = np.where(flat, 0, leaves["curvature"])
        return leaves


# -- what is compared -----------------------------------------------------------------------------------


def error(found: Arrays, expected: Arrays, least: float = LEAST_GRADIENT) -> float:
    """Largest error of a leaf, relative to its largest entry; no leaf may be silent."""
    return max(by_leaf(found, expected, least).values())


def by_leaf(found: Arrays, expected: Arrays, least: float = LEAST_GRADIENT) -> dict[str, float]:
    """Largest error of each leaf, relative to its largest entry."""
    errors = {}
    for name, value in expected.items():
        size = np.abs(value).max()
        require(size > least, f"no gradient of {name}: {size:.1e}")
        errors[name] = float(np.abs(found[name] - value).max() / size)
    return errors


def blocks_below(problem: Problem) -> list[str]:
    """Names of the weights below the last block."""
    return [f"layer.{block}.weight" for block in range(problem.network.layers)]


# -- drawing --------------------------------------------------------------------------------------------


def manifold_of(*curvatures: float, width: int = 4) -> Manifold:
    """Factors of one stored width."""
    return Manifold(tuple(Factor(kappa, width - (kappa != 0)) for kappa in curvatures))


def neuron_of(**options: Any) -> SpikingNeuron:
    """IF with a soft reset, that fires above its threshold."""
    return SpikingNeuron(**{"leak": 1.0, "threshold": THRESHOLD, "fires": ">"} | options)


def classes_of(rng: np.random.Generator, head: str = "manifold") -> NodeClasses:
    """Random labels, all nodes."""
    return NodeClasses(rng.integers(0, CLASSES, NODES), np.arange(NODES), head)


def links_of(rng: np.random.Generator, **options: Any) -> Links:
    """Random pairs of nodes, none with itself."""
    pairs = [np.stack([rng.permutation(NODES)[:2] for _ in range(count)], axis=1) for count in (8, 11)]
    return Links(*pairs, **{"radius": 0.7, "temperature": 0.4} | options)


def draw(
    rng: np.random.Generator,
    manifold: Manifold,
    tangent: str = "transport",
    *,
    head: Callable[[np.random.Generator], Head] = classes_of,
    prepare: Callable[[np.random.Generator, Arrays], None] | None = None,
    firing: slice = slice(None),
    noise: dict[str, Any] | None = None,
    **options: Any,
) -> Problem:
    """Drawn again until the rate of every block lies in (.1, .9) and no potential is close to the threshold."""
    made = {
        "classes": CLASSES if isinstance(head(rng), NodeClasses) else 0,
        "layers": LAYERS,
        "steps": STEPS,
        "step_size": STEP_SIZE,
        "neuron": neuron_of(),
    } | options
    network = ManifoldSpikingNetwork(FEATURES, manifold, tangent=tangent, **made)
    for _ in range(1000):
        ends = np.nonzero(np.triu(rng.random((NODES, NODES)) < 0.35, 1))
        graph = Graph.undirected(NODES, *ends)
        features = np.abs(rng.standard_normal((NODES, FEATURES)))
        parameters = network.initialise(rng)
        if prepare is not None:
            prepare(rng, parameters)
        inputs, kept = GraphInputs.of(graph, features, network.layers), None
        if noise:
            inputs, kept = noisy(rng, inputs, network, **noise)
        problem = Problem(network, parameters, inputs, head(rng), kept)
        if alive(problem, firing):
            return problem
    raise VacuousError("no network in 1000 tries in which every block fires")


def noisy(
    rng: np.random.Generator,
    inputs: GraphInputs,
    network: ManifoldSpikingNetwork,
    dropout: float = 0.0,
    drop_edge: float = 0.0,
    each: bool = False,
) -> tuple[GraphInputs, Any]:
    """With masks and graphs of one forward pass; the edges that stay are drawn a second time from a twin."""
    state = rng.bit_generator.state
    each_of = network.steps if each else None
    made = inputs.with_noise(rng, network.width, dropout=dropout, drop_edge=drop_edge, each_of=each_of)
    if not drop_edge:
        return made, None
    twin = np.random.Generator(type(rng.bit_generator)())
    twin.bit_generator.state = state
    return made, [twin.random(inputs.graph.edges) >= drop_edge for _ in range(network.layers + 1)]


def alive(problem: Problem, firing: slice = slice(None)) -> bool:
    """Whether every block fires sometimes, none nearly always, and the points are not far out."""
    base = problem.base
    rates = [spikes[..., firing].mean() for spikes in base.spikes]
    near = np.abs(base.points[-1]).max() < FAR
    return all(RATES[0] < rate < RATES[1] for rate in rates) and base.margin > MARGIN and bool(near)


def variety(rng: np.random.Generator, count: int = 1, **options: Any) -> Iterator[Problem]:
    """All three tangents with curvatures of both signs."""
    for tangent in TANGENTS:
        for kappa in CURVATURES:
            for _ in range(count):
                yield draw(rng, manifold_of(kappa), tangent, **options)


def surrogate(height: float) -> Surrogate:
    """The authors' sigmoid, of another height."""
    return Surrogate("sigmoid", slope=4.0, height=height)
