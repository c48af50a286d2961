"""Every algorithm against independent truth on networks that hypothesis draws: a few, or 100 000 by night.

    python -m pytest tests/test_nightly_properties.py -m long --refsnn-examples 6000 --refsnn-seed 1

runs so many examples of each property (with `-p refsnn.testing.plugin` where refsnn is not installed).
"""

from __future__ import annotations

import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from refsnn.algorithms.adaptive_bptt import adaptive_bptt, raster_bptt
from refsnn.algorithms.adaptive_eprop import adaptive_eprop
from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.differentiation_via_manifold import differentiation_via_manifold
from refsnn.algorithms.differentiation_via_spikes import differentiation_via_spikes
from refsnn.algorithms.eprop import eprop
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.forward_mode import forward_mode
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.sltt import sltt
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.kernels.plain import spiking as plain
from refsnn.models.attentive.network import ReminderWarning
from refsnn.models.contract import StaticInput
from refsnn.models.edges import Edges
from refsnn.oracles.affine_graph import AffineGraph
from refsnn.oracles.fixed_point import implicit_gradient
from refsnn.testing import assert_leaves_match, assert_surrogate_gradients_match
from refsnn.testing import strategies as drawn
from validation.claims.lsnn import problems as adaptive_by_hand
from validation.claims.manifold_spiking_gnn.problems import Problem as GraphByHand
from validation.claims.sparse_attentive_backtracking.problems import Problem as AttentiveByHand

FEW = 6
BACKENDS = st.sampled_from(["plain", "cpu"])
# of neurons with any surrogate: each would be compiled for itself; that both are twins is tested elsewhere
MANY_NEURONS = st.just("plain")
LIMIT = 1e-30j
PLAIN = {"backend": "plain"}


def along(gradients, names, derivative, relative=1e-10, seed=0):
    """Each leaf's gradient along a random direction, to the sum of the |terms| of that product."""
    rng = np.random.default_rng(seed)
    alive = 0
    for name in names:
        direction = rng.standard_normal(gradients[name].shape)
        terms = gradients[name] * direction
        size, truth = np.abs(terms).sum(), derivative({name: direction})
        alive += size > 1e-9
        assert abs(terms.sum() - truth) <= relative * size + 1e-15, (
            f"{name}: {terms.sum():.12g} along a direction, expected {truth:.12g}"
        )
    assert alive, "every gradient is 0"


def agree(found, expected, **options):
    """Leaf by leaf; where a leaf is what is left of terms that cancel, to a few roundings of those.

    Hypothesis found that this is needed: recurrent_problem(seed=3, cell='tanh', widths=(2, 2, 3, 2), steps=2,
    batch=1) has a leaf of 2.8e-6 of which another order of summation changes 1.4e-17, 5e-12 of the leaf.
    """
    assert_leaves_match(found, expected, rounding=1e-15, **options)


def acting(problem, found):
    """Names of all leaves but weights of loops in a sequence of one step, which are 0."""
    silent = [f"{node.name}.weight" for node in problem.model.delayed] if len(problem.inputs) == 1 else []
    assert not any(found[name].any() for name in silent)
    return [name for name in found if name not in silent]


# -- the properties; the first name is that of the paper --------------------------------------------------


def rate_based_bptt(problem, backend):
    """BPTT of spiking graphs is the derivative of affine spikes."""
    found = bptt(*problem.arguments, backend=backend).gradients
    along(found, acting(problem, found), AffineGraph(*problem.arguments).derivative)


def rate_based_static(problem, backend):
    """One hidden layer under static input: rate-based backpropagation is exact."""
    static = StaticInput(problem.inputs[0], len(problem.inputs))
    arguments = problem.model, problem.parameters, static, problem.targets
    found = rate_backpropagation(*arguments, scale="bptt", backend=backend).gradients
    along(found, found, AffineGraph(*arguments).derivative)


def rate_based_modes(problem, backend):
    """With as many modes as steps the Galerkin family is BPTT."""
    found = temporal_galerkin(*problem.arguments, n_modes=len(problem.inputs), backend=backend).gradients
    along(found, found, AffineGraph(*problem.arguments).derivative)


def memory_efficient_same_bits(problem, strategy):
    """Every schedule gives the bits of the run that keeps everything, which is BPTT over the contract."""
    options = {"every": 2} if strategy == "periodic" else {}
    found, whole = (
        memory_efficient_bptt(*problem.arguments, backend="plain", **chosen)
        for chosen in ({"strategy": strategy, **options}, {"strategy": "all_tapes"})
    )
    expected = bptt_over_steps(*problem.arguments).gradients
    for name, value in whole.gradients.items():
        np.testing.assert_array_equal(found.gradients[name], value, err_msg=name)
    silent = [name for name, value in expected.items() if not value.any() and len(problem.inputs) == 1]
    assert found.loss == whole.loss
    agree(found.gradients, expected, relative=1e-12, dead=silent)


def memory_efficient_forward(problem, backend):
    """It is what derivatives carried forward give."""
    found = memory_efficient_bptt(*problem.arguments, strategy="chen", backend=backend).gradients
    zeros = {name: np.zeros_like(value) for name, value in problem.parameters.items()}
    along(found, found, lambda direction: forward_mode(*problem.arguments, zeros | direction)[1])


def online_one_leak(problem, backend):
    """OTTT is exact on the graph in which only the leak of the population above a weight is left."""
    found = ottt(*problem.arguments, preset="exact_local", backend=backend).gradients
    oracle, graph, checked = AffineGraph(*problem.arguments), problem.model, set()
    for population in (*graph.populations, None):
        prefix = "readout." if population is None else f"{population}."
        names = [name for name in acting(problem, found) if name.startswith(prefix)]
        edges = Edges(
            leak={p: False for p in graph.populations if p != population}, reset=False, feedback=False
        )
        along(found, names, lambda direction, edges=edges: oracle.derivative(direction, edges))
        checked |= set(names)
    assert checked == set(acting(problem, found))


def online_space_only(problem, backend):
    """SLTT is exact on the graph without any edge of time."""
    found = sltt(*problem.arguments, backend=backend).gradients
    oracle, edges = AffineGraph(*problem.arguments), Edges(leak=False, reset=False, feedback=False)
    along(found, acting(problem, found), lambda direction: oracle.derivative(direction, edges))


def online_eligibilities(problem, backend):
    """E-prop is exact on the graph without resets and recurrence, with a leaky read-out too."""
    found = eprop(*problem.arguments, backend=backend).gradients
    oracle, edges = AffineGraph(*problem.arguments), Edges(reset=False, feedback=False)
    along(found, acting(problem, found), lambda direction: oracle.derivative(direction, edges))


def equilibrium_limit(problem, family):
    """In the limit of a small nudge the contrast is the implicit gradient, and so is BPTT."""
    free = relax(*problem.arguments[:3], steps=300, backend="cpu")
    expected = implicit_gradient(*problem.arguments, free.state)
    phases = {"free_steps": 300, "backend": "cpu"}
    limit = equilibrium_propagation(*problem.arguments, nudged_steps=300, nudge=LIMIT, **phases | PLAIN)
    agree(limit.gradients, expected, relative=1e-9, smallest=1e-9)
    through_time = bptt_convergent(*problem.arguments, **phases).gradients
    agree(through_time, expected, relative=1e-9, smallest=1e-9)


def equilibrium_truncated(problem, steps):
    """After K nudged steps it is BPTT through the last K."""
    phases = {"free_steps": 320, "backend": "cpu"}
    found = equilibrium_propagation(*problem.arguments, nudged_steps=steps, nudge=LIMIT, **phases | PLAIN)
    expected = bptt_convergent(*problem.arguments, steps_back=steps, **phases).gradients
    far = tuple(name for name, value in expected.items() if not np.abs(value).max() > 1e-9)
    assert len(far) < len(expected)
    agree(found.gradients, expected, relative=1e-9, smallest=1e-9, dead=far)


def lsnn_forward(problem, backend):
    """BPTT through adaptive neurons is what derivatives carried forward give."""
    found = adaptive_bptt(*problem.arguments, backend=backend).gradients
    zeros = {name: np.zeros_like(value) for name, value in problem.parameters.items()}
    along(found, found, lambda direction: forward_mode(*problem.arguments, zeros | direction)[1])


def lsnn_by_hand(seed, kind):
    """And what the adjoint by hand gives, in mid-sequence, for a loss on spikes, potentials, thresholds."""
    scheme, divisor = kind
    problem = adaptive_by_hand.live(np.random.default_rng(seed), scheme=scheme, divisor=divisor, steps=20)
    expected = problem.expected()
    names = set(problem.leaves())
    agree(problem.leaves(), {name: expected[name] for name in expected if name in names}, relative=1e-11)


def lsnn_bits_of_spikes(problem, segment):
    """One bit a spike is enough, to the last bit of the gradient."""
    found = raster_bptt(*problem.arguments, segment=segment)
    expected = adaptive_bptt(*problem.arguments)
    for name, value in expected.gradients.items():
        assert value.any(), name
        np.testing.assert_array_equal(found.gradients[name], value, err_msg=name)


def lsnn_eprop(problem, backend):
    """E-prop is BPTT with recurrent transmission stopped."""
    stopped = adaptive_by_hand.changed(problem.model, stop_recurrent=True)
    found = adaptive_eprop(*problem.arguments, backend=backend).gradients
    expected = adaptive_bptt(stopped, *problem.arguments[1:]).gradients
    agree(found, expected, relative=1e-10, smallest=1e-9)


def attentive_frozen_cut(problem, backend):
    """Sparse attentive backtracking is the derivative of the network with the cut edges frozen."""
    network = problem.model
    names = ("hidden", "cell") if network.cell == "lstm" else ("hidden",)
    start = {name: np.zeros((problem.inputs.shape[1], network.widths[1])) for name in names}
    truth = AttentiveByHand(network, problem.parameters, problem.inputs, problem.targets, start)
    hypothesis.assume(truth.base.gap > 1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        found, expected = truth.leaves(backend), truth.complex_step()
    event(f"{network.sparsifier}, {network.cell}, {network.readout}")
    dead = [name for name in expected if name.startswith(("start.", "inputs"))]
    agree(found, expected, relative=1e-8, dead=dead)


def manifold_frozen(problem, backend):
    """Differentiation via manifold is the derivative with spikes held."""
    found = differentiation_via_manifold(*problem.arguments, backend=backend).gradients
    agree(found, GraphByHand(*problem.arguments).complex_step(), relative=1e-10, smallest=1e-8)


def manifold_spikes(problem, backend):
    """Differentiation via spikes is the derivative of affine spikes."""
    found = differentiation_via_spikes(*problem.arguments, backend=backend).gradients
    expected = GraphByHand(*problem.arguments).complex_step("affine")
    agree(found, expected, relative=1e-10, smallest=1e-8)


def layer_kernels(case):
    """The backward kernel that they all share, at awkward cases too."""

    def by_kernel(current, potential):
        charged, spikes, state = np.empty_like(current), np.empty_like(current), potential.copy()
        plain.forward(case.neuron, current, state, charged, spikes)
        adjoint, state_adjoint = np.empty_like(current), case.last.copy()
        plain.backward(case.neuron, charged, case.upstream, state_adjoint, adjoint, 0)
        return adjoint, state_adjoint

    assert_surrogate_gradients_match(
        case.loss, by_kernel, case.arguments, surrogate=case.neuron.surrogate, fires=case.neuron.fires,
        rates=None, margin=0.0, dead=("current", "potential"), oracle="complex_step",
    )  # fmt: skip


SOFT = drawn.spiking_neurons(
    resets=["soft"], surrogate=drawn.surrogates(slopes=(0.3, 1.5), kinds=["sigmoid", "arctan", "gaussian"])
)
EACH, MEAN = ["each_step"], ["mean_readout"]
STRATEGIES = ["nothing", "all_states", "chen", "periodic", "bisection"]
ADAPTIVE = drawn.adaptive_networks(steps=(10, 20))
PROPERTIES = {
    rate_based_bptt: (drawn.spiking_networks(), MANY_NEURONS),
    rate_based_static: (
        drawn.spiking_networks(hidden=(1, 1), recurrent=False, losses_over=MEAN), MANY_NEURONS),
    rate_based_modes: (drawn.spiking_networks(recurrent=False, losses_over=MEAN), MANY_NEURONS),
    memory_efficient_same_bits: (
        drawn.recurrent_networks() | drawn.spiking_networks(), st.sampled_from(STRATEGIES)),
    memory_efficient_forward: (drawn.recurrent_networks(), BACKENDS),
    online_one_leak: (drawn.spiking_networks(neurons=SOFT, losses_over=EACH), MANY_NEURONS),
    online_space_only: (drawn.spiking_networks(neurons=SOFT, losses_over=EACH), MANY_NEURONS),
    online_eligibilities: (
        drawn.spiking_networks(
            hidden=(1, 1), neurons=SOFT, recurrent=True, losses_over=EACH, readout_leak=0.6), MANY_NEURONS),
    equilibrium_limit: (drawn.convergent_networks(["energy"]), st.just("energy")),
    equilibrium_truncated: (drawn.convergent_networks(["energy"]), st.integers(3, 20)),
    lsnn_forward: (ADAPTIVE, BACKENDS),
    lsnn_by_hand: (drawn.seeds(), st.sampled_from(adaptive_by_hand.KINDS)),
    lsnn_bits_of_spikes: (ADAPTIVE, st.integers(1, 12)),
    lsnn_eprop: (ADAPTIVE, BACKENDS),
    attentive_frozen_cut: (drawn.attentive_networks(), BACKENDS),
    manifold_frozen: (drawn.graph_networks(), BACKENDS),
    manifold_spikes: (drawn.graph_networks(), BACKENDS),
    layer_kernels: (drawn.layers(kinds=("typical", *drawn.AWKWARD)),),
}  # fmt: skip


def run(check, examples, seed=None):
    """A property on so many examples."""
    many = settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    test = many(given(*PROPERTIES[check])(check))
    if seed is not None:
        test = hypothesis.seed(seed)(test)
    test()


@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
def test_a_few_examples(check):
    run(check, FEW)


@pytest.mark.long
@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
def test_by_night(check, request):
    if request.config.getoption("-m") != "long":
        pytest.skip("as many examples as --refsnn-examples says; ask for it with -m long")
    run(check, settings.default.max_examples, request.config.getoption("--refsnn-seed", None))
