"""O7: what the network becomes at the edges, and that time can be cut anywhere."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from refsnn.models.adaptive.core import ADJOINT_NAMES, CURRENTS
from refsnn.models.contract import State
from validation.claims.lsnn.problems import (
    LEAVES,
    Problem,
    batch_first,
    draw,
    driven,
    every_kind,
    live,
    states_of,
)
from validation.claims.lsnn.symmetries import BACKENDS, differing
from validation.ledger import Measured, claim, require


def dyadic(problem: Problem) -> Problem:
    """Weights in multiples of 2^-10, so that sums of currents are exact in any order; spikes of height 1."""
    p = problem.parameters
    return problem.with_parameters(
        **{
            name: np.round(p[f"layer.1.{name}"] * 1024) / 1024
            for name in ("input_weight", "recurrent_weight")
        }
    )


def integrate_and_fire(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """z and v (batch, T + 1, n) of leaky integrate-and-fire neurons with the fixed threshold b^0, no adaptation."""
    p, s = problem.values, problem.setting
    n, steps = len(p.b0), p.x.shape[1]
    z, v = [p.z], [p.v]
    last = [s.history[:, r] for r in range(s.history.shape[1])]
    for k in range(steps):
        current = np.zeros_like(p.v)
        for j in range(n):
            for i, delay in enumerate(s.d_in[:, j]):
                current[:, j] += p.x[:, k - delay, i] * p.w_in[i, j] if k >= delay else 0
            for i, delay in enumerate(s.d_rec[:, j]):
                current[:, j] += z[k - delay][:, i] * p.w_rec[i, j] if k >= delay and i != j else 0
        refractory = np.any([spikes > 0 for spikes in last[-s.history.shape[1] :]], axis=0)
        fired = np.where(refractory, 0.0, (v[k] > p.b0) / s.delta)
        resets = fired if s.scheme == "paper" else z[k]
        v.append(p.alpha * v[k] + (1 - p.alpha) * current - s.delta * resets * p.b0)
        z.append(fired)
        last.append(fired)
    return np.stack(z, axis=1), np.stack(v, axis=1)


@claim(
    "lsnn/O7.lif",
    r"With $\beta=0$ these are leaky integrate-and-fire neurons with the threshold $b^0$, bit by bit, and $\rho$ is in no gradient.",
    source="specification, O7",
    metric="spikes and potentials that are other bits than those by hand, and entries of gradients that another decay of the adaptation changes",
    relation="==",
    bound=0,
    control=r"the same with $\beta>0$",
)
def no_adaptation(rng: np.random.Generator) -> Measured:
    counts = {True: 0, False: 0}
    for scheme in ("official", "paper"):
        adaptive = dyadic(live(rng, scheme=scheme, from_rest=True, time_step=1.0))
        plain = adaptive.with_parameters(adaptation_strength=np.zeros(adaptive.model.widths[1]))
        for problem, none in ((plain, True), (adaptive, False)):
            z, v = integrate_and_fire(problem)
            other = problem.with_parameters(adaptation_decay=rng.uniform(0.5, 0.99, problem.model.widths[1]))
            for backend in BACKENDS:
                states = states_of(problem, backend)
                counts[none] += int((batch_first(states.spikes) != z).sum())
                counts[none] += int((batch_first(states.potential) != v).sum())
                found = problem.leaves(backend)
                for name in ("beta", "b"):  # those look at the adaptation, whatever it is good for
                    found.pop(name)
                require(not found["rho"].any() or not none, "a gradient by rho without adaptation")
                counts[none] += differing(other.leaves(backend), found)
    return Measured(counts[True], counts[False])


# -- chunks -----------------------------------------------------------------------------------------------


def part(problem: Problem, first: int, last: int) -> Problem:
    """Steps `first` to before `last`; the start is that of the whole."""
    return replace(
        problem,
        inputs=problem.inputs[first:last],
        cotangents={name: value[first:last] for name, value in problem.cotangents.items()},
        noise=None if problem.noise is None else problem.noise[first:last],
    )


def in_chunks(
    problem: Problem, cuts: list[int], backend: str, forget: str = ""
) -> tuple[dict, State, dict[str, float]]:
    """Gradients of chunks added up, from the last to the first; the state at the end; what sums are made of.

    The last is, leaf by leaf, the largest entry of the sum of magnitudes: where shares cancel, a sum in another
    order is rounded by that, not by what is left.
    """
    parts = [part(problem, a, b) for a, b in itertools.pairwise(cuts)]
    starts = [problem.start]
    for piece in parts:
        starts.append(piece.gradient(backend, initial_state=starts[-1]).final_state)
    adjoint: State | None = None
    total: dict[str, np.ndarray] = {}
    magnitude: dict[str, np.ndarray] = {}
    inputs = []
    for piece, start in reversed(list(zip(parts, starts[:-1], strict=True))):
        sent = None if adjoint is None else {n: adjoint[n] for n in ADJOINT_NAMES if n != forget}
        result = piece.gradient(backend, initial_state=start, final_adjoint=sent, input_gradients=True)
        for name, value in result.gradients.items():
            total[name] = total.get(name, 0) + value
            magnitude[name] = magnitude.get(name, 0) + np.abs(value)
        adjoint = result.initial_gradients
        inputs.insert(0, result.input_gradients)
    assert adjoint is not None
    found = {name: total[name] for name in LEAVES} | {f"start {n}": adjoint[n] for n in ADJOINT_NAMES[:4]}
    found["inputs"] = np.concatenate(inputs)
    sizes = {name: float(np.abs(magnitude.get(name, value)).max()) for name, value in found.items()}
    return found, starts[-1], sizes


def at_once(problem: Problem, backend: str) -> tuple[dict, State]:
    """The same without a cut."""
    whole, end, _ = in_chunks(problem, [0, len(problem.inputs)], backend)
    return whole, end


def apart(found: dict, whole: dict, sizes: dict[str, float]) -> float:
    """Largest difference over what a leaf's sums are made of."""
    for name, size in sizes.items():
        require(size > 0, f"{name} is all zero")
    return max(float(np.abs(found[name] - value).max()) / sizes[name] for name, value in whole.items())


def some_cuts(rng: np.random.Generator, steps: int) -> list[int]:
    """Some chunks longer than the delay line, some of one step."""
    middle = rng.choice(np.arange(3, steps - 1), 5, replace=False)
    return sorted({0, 1, 2, *map(int, middle), steps})


@claim(
    "lsnn/O7.chunks",
    r"Time may be cut anywhere: the state with its delay slots and refractory counters goes on bit by bit, and the adjoint with the adjoint of the delay line, $\bar I_{k},\dots,\bar I_{k+D-1}$, gives the gradient of the whole.",
    source="specification, section 4 (adjoint of the delay line) and O7",
    metric="largest error over the largest entry of a leaf's sum of magnitudes, three schemes with both divisors, eight chunks; last state, first adjoint and gradients by inputs bit by bit",
    relation="<=",
    bound=1e-14,
    control="the adjoint of the delay line forgotten between chunks",
)
def chunks(rng: np.random.Generator) -> Measured:
    values, controls, size = [], [], 0
    for _, problem in every_kind(rng, steps=50, noise=True):
        cuts = some_cuts(rng, 50)
        for backend in BACKENDS:
            (whole, end), (cut, cut_end, sizes) = at_once(problem, backend), in_chunks(problem, cuts, backend)
            bits = differing(cut_end, end)
            passed = [name for name in whole if name.startswith("start") or name == "inputs"]
            if backend == "cpu":
                bits += differing(cut, {name: whole[name] for name in passed})
            size += sum(value.size for value in end.values())
            values.append(max(float(bits), apart(cut, whole, sizes)))
        forgotten = in_chunks(problem, cuts, "cpu", CURRENTS)[0]
        controls.append(apart(forgotten, whole, sizes))
    return Measured(max(values), min(controls), {"numbers compared bit by bit": size})


# -- neurons alone ----------------------------------------------------------------------------------------


@claim(
    "lsnn/O7.alone",
    r"Without recurrent weights neurons are independent, whatever the delays: a loss on one has no gradient by what belongs to another. A single neuron does not hear itself.",
    source="specification, O7",
    metric="entries of gradients by weights, constants and first states of other neurons that are not 0, and bits that an autapse changes",
    relation="==",
    bound=0,
    control="with recurrent weights",
)
def alone(rng: np.random.Generator) -> Measured:
    counts = {True: 0, False: 0}
    for _, problem in every_kind(rng):
        n = problem.model.widths[1]
        chosen = int(rng.integers(n))
        looked_at = {name: value * (np.arange(n) == chosen) for name, value in problem.cotangents.items()}
        separate = problem.with_parameters(recurrent_weight=np.zeros((n, n)))
        for own, apart in ((separate, True), (problem, False)):
            for backend in BACKENDS:
                found = replace(own, cotangents=looked_at).leaves(backend)
                require(found["w_in"][:, chosen].any(), "no gradient at all")
                for name in ("w_in", "alpha", "rho", "beta", "b0", "z", "v", "b", "c"):
                    counts[apart] += int((np.delete(found[name], chosen, axis=-1) != 0).sum())
    single = draw(rng, neurons=1, inputs=3)
    with_weight = single.with_parameters(recurrent_weight=np.full((1, 1), 5.0))
    counts[True] += differing(
        with_weight.leaves(), {n: v for n, v in single.leaves().items() if n != "w_rec"}
    )
    require(with_weight.leaves()["w_rec"][0, 0] == 0, "an autapse has a gradient")
    return Measured(counts[True], counts[False])


@claim(
    "lsnn/O7.silent",
    r"A network that never fires has $\bar W^{rec}=0$ exactly, but $\bar W^{in}\ne0$: it can be woken.",
    source="specification, O7",
    metric=r"entries of $\bar W^{rec}$ that are not 0, plus one if $\bar W^{in}$ is 0",
    relation="==",
    bound=0,
    control="a network that fires",
)
def silent(rng: np.random.Generator) -> Measured:
    counts = {True: 0, False: 0}
    for _, problem in every_kind(rng, from_rest=True):
        quiet = replace(problem, inputs=0.1 * problem.inputs)
        for own, none in ((quiet, True), (problem, False)):
            require(
                bool(states_of(own).spikes.any()) != none, "fires where it should not, or the other way round"
            )
            found = own.leaves()
            counts[none] += int((found["w_rec"] != 0).sum()) + int(not found["w_in"].any())
    return Measured(counts[True], counts[False])


@claim(
    "lsnn/O7.driven",
    r"Where $u>1$ at every step ($R=0$, strong drive) the pseudo-derivative is 0: a loss on spikes has no gradient, a loss on $v$ and $\mathcal{B}$ has.",
    source="specification, O7",
    metric="entries of gradients of a loss on spikes that are not 0, plus one for each gradient of a loss on potentials and thresholds that is 0",
    relation="==",
    bound=0,
    control="a drive that is a hundredth",
)
def strongly_driven(rng: np.random.Generator) -> Measured:
    counts = {}
    for scheme in ("official", "paper", "eprop"):
        for drive in (1e3, 3.0):
            inputs = drive * rng.uniform(1, 2, (30, 2, 1))
            problem = driven(inputs, scheme, 0, strength=0.5)
            shape = 30, 2, 1
            start = problem.start | {"layer.1.potential": np.full((2, 1), 1e3)}
            problem = replace(problem, start=start)
            on_spikes = replace(problem, cotangents={"spikes": rng.standard_normal(shape)}).leaves()
            others = {name: rng.standard_normal(shape) for name in ("potential", "threshold")}
            on_others = replace(problem, cotangents=others).leaves()
            if drive == 1e3:
                u = problem.trajectory().u
                require(bool((u > 1).all()), "some distance is not above 1")
            count = sum(int((value != 0).sum()) for value in on_spikes.values())
            count += sum(not on_others[name].any() for name in ("w_in", "alpha", "rho", "beta", "b0"))
            counts[drive] = counts.get(drive, 0) + count
    return Measured(counts[1e3], counts[3.0])
