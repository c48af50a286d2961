"""O11: e-prop's eligibilities are the gradient with the recurrence stopped."""

from __future__ import annotations

import numpy as np

from refsnn.algorithms.adaptive_bptt import RateRegulariser, adaptive_bptt
from refsnn.algorithms.adaptive_eprop import adaptive_eprop
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.contract import Parameters
from validation.claims.lsnn import by_hand
from validation.claims.lsnn.problems import EXACT, Problem, every_kind, live, worst
from validation.ledger import Measured, claim

INTO_LAYER = ("w_in", "w_rec")


def recursion(problem: Problem) -> dict[str, np.ndarray]:
    """Gradients of a loss on spikes by eligibilities (batch, pre, post), scheme "official", divisor B."""
    p, s, found = problem.values, problem.setting, problem.trajectory()
    _n, beta = len(p.b0), p.beta
    sources = {"w_in": (p.x, s.d_in), "w_rec": (found.z, s.d_rec)}
    gradients = {}
    for name, (pre, delays) in sources.items():
        shape = (len(pre), *delays.shape)
        e_z, e_v, e_b = (np.zeros(shape) for _ in range(3))
        total = np.zeros(delays.shape)
        for k in range(found.u.shape[1]):
            threshold, v, z = (a[:, None] for a in (found.threshold[:, k], found.v[:, k], found.z[:, k]))
            arrived = np.zeros(shape)
            for i, j in np.ndindex(delays.shape):
                if k >= delays[i, j] and not (name == "w_rec" and i == j):
                    arrived[:, i, j] = pre[:, k - delays[i, j], i]
            e_b = p.rho * e_b + (1 - p.rho) * e_z
            moved = e_v / threshold - v * beta * e_b / threshold**2
            e_v = p.alpha * e_v + (1 - p.alpha) * arrived - s.delta * (threshold * e_z + z * beta * e_b)
            psi = (1 - found.m[:, k]) * by_hand.triangle(found.u[:, k], s.gamma) / s.delta
            e_z = psi[:, None] * moved
            total += (problem.weights_of_loss["z"][:, k, None] * e_z).sum(axis=0)
        gradients[name] = total
    return gradients


@claim(
    "lsnn/O11",
    r"Along with the network, per synapse: $\epsilon^b_{k+1}=\rho\epsilon^b_k+(1-\rho)\epsilon^z_k$, $\epsilon^z_{k+1}=(1-m)\frac{\psi}{\delta}\left(\frac{\epsilon^v_k}{\mathcal{B}}-\frac{v_k\beta\epsilon^b_{k+1}}{\mathcal{B}^2}\right)$, "
    r"$\epsilon^v_{k+1}=\alpha\epsilon^v_k+(1-\alpha)s_k-\delta(\mathcal{B}_{k+1}\epsilon^z_k+z_k\beta\epsilon^b_{k+1})$. $\sum g^z\epsilon^z$ is the gradient of BPTT with the recurrent transmission stopped.",
    source="Bellec 2018; Bellec 2020; specification, section 4 and O11",
    metric="largest error over the largest entry of a leaf: the recursion by hand, and the algorithm, to BPTT",
    relation="<=",
    bound=EXACT,
    control="BPTT with the recurrence alive",
)
def local_recursion(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for _ in range(3):
        problem = live(rng, loss=("spikes",))
        truth = weights_of(problem.with_options(stop_recurrent=True).leaves())
        values.append(worst(recursion(problem), truth))
        arguments = problem.model, problem.parameters, problem.drive, None
        options = {"cotangents": problem.cotangents, "initial_state": problem.start}
        gradients = adaptive_eprop(*arguments, **options).gradients
        own = {"w_in": gradients["layer.1.input_weight"].T, "w_rec": gradients["layer.1.recurrent_weight"].T}
        values.append(worst(own, truth))
        controls.append(worst(weights_of(problem.leaves()), truth))
    return Measured(max(values), min(controls))


def weights_of(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the layer."""
    return {name: leaves[name] for name in INTO_LAYER}


@claim(
    "lsnn/O11.all",
    r"The same holds in every scheme with every divisor, with resets stopped or not, by the constants $\alpha$, $\rho$, $\beta$, $b^0$ too, for read-outs through a filter and windows, losses on potentials and thresholds and the penalty on rates.",
    source="Bellec 2020; specification, section 4",
    metric="largest error over the largest entry of a parameter, e-prop to BPTT with the recurrence stopped",
    relation="<=",
    bound=EXACT,
    control="resets stopped where they are not, and the other way round",
)
def every_scheme(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for _, problem in every_kind(rng):
        batch = problem.inputs.shape[1]
        targets = WindowTargets(
            [5, 20], [9, 39], rng.integers(0, 2, (2, batch)), rng.uniform(0.5, 2, (2, batch))
        )
        options = {
            "cotangents": problem.cotangents,
            "initial_state": problem.start,
            "regulariser": RateRegulariser(3.0, 0.1),
        }
        for stop_reset in (False, True):

            def local(
                stop: bool, own: Problem = problem, targets: WindowTargets = targets, **given: object
            ) -> Parameters:
                model = own.with_options(stop_reset=stop).model
                return adaptive_eprop(model, own.parameters, own.drive, targets, **given).gradients  # type: ignore[arg-type]

            cut = problem.with_options(stop_recurrent=True, stop_reset=stop_reset)
            truth = adaptive_bptt(cut.model, cut.parameters, cut.drive, targets, **options).gradients
            values.append(worst(local(stop_reset, **options), truth))
            controls.append(worst(local(not stop_reset, **options), truth))
    return Measured(max(values), min(controls))
