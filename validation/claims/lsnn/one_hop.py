"""O4, O5: what is left of the gradient for small dampening, and in one and two steps, in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.equations.surrogates import Surrogate
from validation.claims.lsnn import by_hand
from validation.claims.lsnn.problems import Problem, draw, live
from validation.ledger import Measured, VacuousError, claim, require

DAMPENINGS = (1e-3, 1e-4, 1e-6)


def with_height(problem: Problem, height: float) -> Problem:
    return problem.with_options(surrogate=Surrogate("triangle", 1.0, height))


def one_hop(problem: Problem, divide_by_baseline: bool = False) -> np.ndarray:
    """The gradient by W^in of paths that pass one spike only, over gamma, (n_in, n)."""
    values, setting, found = problem.values, problem.setting, problem.trajectory()
    n_in, n = values.w_in.shape
    alpha = values.alpha
    by = values.b0 if divide_by_baseline else found.threshold
    slope = (1 - found.m) * np.maximum(0, 1 - np.abs(found.u)) / (setting.delta * by)
    total = np.zeros((n_in, n))
    for i in range(n_in):
        for j in range(n):
            delay = setting.d_in[i, j]
            for k in range(found.u.shape[1]):
                # x before the start is 0
                filtered = sum(
                    alpha[j] ** (k - 1 - r) * values.x[:, r - delay, i] for r in range(int(delay), k)
                )
                g = problem.weights_of_loss["z"][:, k, j]
                total[i, j] += (g * slope[:, k, j] * (1 - alpha[j]) * filtered).sum()
    return total


@claim(
    "lsnn/O4",
    r"The raster does not depend on $\gamma$, and for $\gamma\to0$ the gradient of a loss on spikes keeps the paths through one spike, in closed form: "
    r"$\frac{1}{\gamma}\bar W^{in}_{ij}\to\sum_k g^z_{k+1,j}\frac{(1-m)\max(0,1-|u_{k+1,j}|)}{\delta\,\mathcal{B}_{k+1,j}}(1-\alpha_j)\sum_{r<k}\alpha_j^{k-1-r}x_{r-d_{ij},i}$, with an error that is linear in $\gamma$.",
    source="specification, O4",
    metric=r"largest deviation from 1 of error over $\gamma$ at $10^{-4}$ and $10^{-6}$, relative to that at $10^{-3}$",
    relation="<=",
    bound=0.1,
    control=r"the closed form with $b^0$ in the place of $\mathcal{B}$",
)
def linear_in_the_dampening(rng: np.random.Generator) -> Measured:
    problem = live(rng, from_rest=True, loss=("spikes",), steps=30)
    found = {height: with_height(problem, height).leaves()["w_in"] / height for height in DAMPENINGS}

    def deviation(limit: np.ndarray) -> float:
        size = np.abs(limit).max()
        over = [float(np.abs(found[height] - limit).max() / size) / height for height in DAMPENINGS]
        if over[0] == 0:
            raise VacuousError("no path passes two spikes")
        return max(abs(value / over[0] - 1) for value in over[1:])

    limit = one_hop(problem)
    least = float(np.abs(found[1e-6] - limit).max() / np.abs(limit).max())
    return Measured(deviation(limit), deviation(one_hop(problem, True)), {"error at 1e-6": least})


def two_steps(rng: np.random.Generator, steps: int, scheme: str = "official") -> Problem:
    """A network at rest without delays, a loss on spikes, and some u_2 within the triangle."""
    for _ in range(100):
        seed = int(rng.integers(2**31))
        problem = rest(np.random.default_rng(seed), steps, scheme)
        u = rest(np.random.default_rng(seed), 2, "official").trajectory().u[:, 1]
        if 0 < (np.abs(u) < 1).mean() < 1:
            return problem
    raise VacuousError("no u_2 near 0")


def rest(rng: np.random.Generator, steps: int, scheme: str) -> Problem:
    """Two inputs at the first step; of a longer run the first `steps`."""
    problem = draw(rng, scheme=scheme, steps=2, slots=1, from_rest=True, loss=("spikes",), gain=6.0, batch=4)
    return replace(
        problem,
        inputs=problem.inputs[:steps],
        cotangents={name: value[:steps] for name, value in problem.cotangents.items()},
    )


def of_two_steps(problem: Problem) -> np.ndarray:
    """The gradient by W^in of two steps from rest, (n_in, n)."""
    p, setting = problem.values, problem.setting
    u = (1 - p.alpha) * (p.x[:, 0] @ p.w_in) / p.b0 - 1
    psi = by_hand.triangle(u, setting.gamma)
    g = problem.weights_of_loss["z"][:, 1]
    return p.x[:, 0].T @ (g * psi * (1 - p.alpha) / (setting.delta * p.b0))


@claim(
    "lsnn/O5",
    r"Two steps from rest, no delays, a loss on spikes: $\bar W^{in}_{ij}=\sum_s x_{0,i}\,g^z_{2,j}\,\gamma\max(0,1-|u_2|)\frac{1-\alpha_j}{\delta b^0_j}$ with $u_2=(1-\alpha)x_0W^{in}/b^0-1$.",
    source="specification, O5",
    metric="largest error over the largest entry",
    relation="<=",
    bound=1e-14,
    control="scheme `eprop`, whose spikes look at the new potential",
)
def closed_form(rng: np.random.Generator) -> Measured:
    problem = two_steps(rng, 2)
    truth = of_two_steps(problem)
    size = np.abs(truth).max()
    require(size > 1e-3, "no gradient")
    values = [
        float(np.abs(problem.with_options(scheme=scheme).leaves()["w_in"] - truth).max() / size)
        for scheme in ("official", "paper", "eprop")
    ]
    return Measured(max(values[:2]), values[2])


@claim(
    "lsnn/O5.zero",
    r"One step from rest has no spikes and no gradient through any; in two steps $\bar W^{rec}=0$, exactly.",
    source="specification, O5",
    metric="entries of gradients of a loss on spikes that are not 0",
    relation="==",
    bound=0,
    control="scheme `eprop`, in which one step already leads from the input to a spike",
)
def nothing_yet(rng: np.random.Generator) -> Measured:
    def entries(scheme: str) -> int:
        one = two_steps(rng, 1, scheme)
        found = one.leaves()
        count = sum(int((found[name] != 0).sum()) for name in ("w_in", "w_rec", "alpha", "rho", "beta", "b0"))
        two = two_steps(rng, 2, scheme).leaves()
        return count + int((two["w_rec"] != 0).sum())

    return Measured(entries("official") + entries("paper"), entries("eprop"))
