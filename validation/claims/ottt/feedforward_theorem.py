r"""O9: Theorem 1, the gradient of online training against that of the rates of a feed-forward network.

With \hat g[t] the errors of step t, sent down with the slopes d of the rate map at the rates of the end,

    O = \nabla_W L = 1/T \sum_t \hat g[t] \hat a[t]^T             online training
    S = (\nabla_W L_sr)_sr = 1/T \sum_t \hat g[t] a[T]^T          the rates
    O / Z_T - S = 1/T \sum_t \hat g[t] (\epsilon[t] - c[t] a[t])^T,
    \epsilon[t] = a[t] - a[T],   c[t] = \lambda^t (1 - \lambda^{T-t}) / (1 - \lambda^T).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from validation.claims.ottt.networks import Draws, cosines, draw_networks, norms, summed
from validation.claims.ottt.rates import clamp, normalisers, traces, weighted_rates
from validation.claims.rate_backpropagation.equalities import EXACT
from validation.ledger import Measured, claim, require

SETTINGS = ((0.3, 8), (0.5, 6), (0.9, 12), (1.0, 7))  # leak, T
STEP = 1e-30


def coefficients(leak: float, steps: int) -> np.ndarray:
    """c[t], as T numbers to multiply (T, D, B, n) with; (T - t) / T is its limit for leak = 1."""
    t = np.arange(1, steps + 1)
    limit = (steps - t) / steps
    found = limit if leak == 1 else leak**t * (1 - leak ** (steps - t)) / (1 - leak**steps)
    return found[:, None, None, None]


def online_gradient(errors: np.ndarray, activity: np.ndarray, leak: float) -> np.ndarray:
    """O, with the traces as the algorithm keeps them."""
    return summed(errors, traces(activity, leak)) / len(errors)


def rate_gradient(draws: Draws, operator: int) -> np.ndarray:
    """S as the paper writes it (Eq. 6): errors of L_sr, divided by what they decayed, and Jacobians of the rate map."""
    steps, leak = draws.steps, draws.leak
    decay = leak ** np.arange(steps - 1, -1, -1.0)[:, None, None, None]
    normaliser = normalisers(leak, steps)[-1]
    loss_errors = decay / normaliser * draws.output_errors()  # of L_sr = sum_t decay[t] L(s^N[t], y) / Z_T
    jacobian = np.eye(loss_errors.shape[-1])
    for above in range(len(draws.weights) - 1, operator, -1):
        jacobian = jacobian @ (draws.slopes(above)[..., None] * draws.weights[above][:, None])
    errors = (loss_errors[..., None, :] @ jacobian)[..., 0, :] * draws.slopes(operator)
    return summed(errors / decay, normaliser * draws.last_rates(operator)) / steps


@claim(
    "ottt/O9",
    r"The gradient of online training and that of the rates differ by "
    r"$\frac1{Z_T}\nabla_WL-(\nabla_WL_{sr})_{sr}=\frac1T\sum_t\hat g[t]\big(\epsilon[t]-c[t]\,a[t]\big)^\top$ exactly, for every weight "
    r"of a feed-forward network: $\epsilon[t]=a[t]-a[T]$ and $c[t]=\lambda^t(1-\lambda^{T-t})/(1-\lambda^T)$, in the limit $(T-t)/T$ "
    r"for $\lambda=1$.",
    source="Xiao 2022, Theorem 1 and its proof, Eq. 6",
    metric="largest difference of the two sides relative to the largest entry of the rate gradient, each network and weight alone",
    relation="<=",
    bound=EXACT,
    control=r"without the terms $c[t]\,a[t]$ (smallest over settings and weights)",
)
def displayed_identity(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for leak, steps in SETTINGS:
        for static in (True, False):
            draws = draw_networks(rng, leak, steps, static)
            for operator, errors in enumerate(draws.errors()):
                rates = weighted_rates(draws.activity[operator], leak)
                truth = rate_gradient(draws, operator)
                size = np.abs(truth).max(axis=(1, 2))
                alive = size > 1e-6  # where all d are 0, or the errors cancel, there is no gradient
                require(alive.mean() > 0.8, f"only {alive.mean():.0%} of the networks have a gradient")
                online = online_gradient(errors, draws.activity[operator], leak)
                left = online / normalisers(leak, steps)[-1] - truth
                drift = rates - rates[-1]
                right = summed(errors, drift - coefficients(leak, steps) * rates) / steps
                for found, side in ((values, right), (controls, summed(errors, drift) / steps)):
                    off = np.abs(left - side).max(axis=(1, 2))
                    found.append(float((off[alive] / size[alive]).max()))
    return Measured(max(values), min(controls))


class Sides(NamedTuple):
    """Of each draw: both sides of the theorem's hypothesis, |sum g a[T]^T|, and the cosine of the two gradients."""

    left: np.ndarray
    right: np.ndarray
    size: np.ndarray
    cosine: np.ndarray

    def least_cosine(self) -> np.ndarray:
        """What the proof gives where the hypothesis holds: S + something shorter, by the ratio r, than S."""
        ratio = (self.left + self.size - self.right) / self.size
        return np.sqrt(1 - ratio**2, out=np.zeros_like(ratio), where=ratio < 1)


def theorem_sides(errors: np.ndarray, activity: np.ndarray, leak: float) -> Sides:
    """|sum g eps^T| against |sum g a[T]^T| - |sum c g a^T|, for draws that have both gradients."""
    rates = weighted_rates(activity, leak)
    rate, online = summed(errors, rates[-1]), online_gradient(errors, activity, leak)
    left = norms(summed(errors, rates - rates[-1]))
    right = norms(rate) - norms(summed(errors, coefficients(leak, len(errors)) * rates))
    alive = norms(rate) * norms(online) > 0
    return Sides(left[alive], right[alive], norms(rate)[alive], cosines(online, rate))


def random_sides(rng: np.random.Generator, draws: int) -> Sides:
    """A single operator with any spikes and any errors: the theorem asks no more of them."""
    found = []
    for leak in (0.3, 0.5, 0.9, 1.0):
        for _ in range(4):
            steps, n_in, n_out = (int(number) for number in rng.integers((2, 1, 1), (9, 4, 3)))
            probability = rng.random((2, draws, 1, n_in))  # at the beginning and at the end
            share = np.linspace(0, 1, steps)[:, None, None, None]
            spikes = (
                rng.random((steps, draws, 1, n_in)) < probability[0] * (1 - share) + probability[1] * share
            )
            noise = rng.standard_normal((steps, draws, 1, n_out)) * rng.random((draws, 1, 1))
            errors = rng.standard_normal((draws, 1, n_out)) + noise
            found.append(theorem_sides(errors, spikes.astype(float), leak))
    return Sides(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


@claim(
    "ottt/O9.implication",
    r"If $\|\sum\hat g\,\epsilon^\top\|<\|\sum\hat g\,a[T]^\top\|-\|\sum c\,\hat g\,a^\top\|$, all sums over $t$, then "
    r"$\langle\nabla_WL,(\nabla_WL_{sr})_{sr}\rangle>0$: no draw, of any spikes and errors or from spiking networks, keeps the hypothesis "
    r"without a positive inner product.",
    source="Xiao 2022, Theorem 1",
    metric="smallest cosine of the two gradients over the draws that keep the hypothesis",
    relation=">=",
    bound=0.0,
    control="smallest cosine over the draws that do not keep it",
)
def implication(rng: np.random.Generator) -> Measured:
    anything = random_sides(rng, 500)
    parts, details = [anything], {}
    for leak, steps in SETTINGS:
        for static in (True, False):
            draws = draw_networks(rng, leak, steps, static, draws=20)
            for operator, errors in enumerate(draws.errors()):
                parts.append(theorem_sides(errors, draws.activity[operator], leak))
    every = Sides(*(np.concatenate(entries) for entries in zip(*parts, strict=True)))
    share = float((anything.left < anything.right).mean())
    require(0.05 < share < 0.95, f"{share:.0%} of the draws keep the hypothesis: a vacuous mix")
    kept = every.left < every.right
    above = every.cosine[kept] - every.least_cosine()[kept]
    require(float(above.min()) > -1e-12, f"a cosine is {-above.min():.1e} below what the proof gives")
    networks = len(every.left) - len(anything.left)
    details["draws"] = f"{len(anything.left)} of any spikes and errors, {networks} from networks"
    details["share that keeps the hypothesis, of any spikes and errors"] = share
    details["the same, from networks"] = float(kept[len(anything.left) :].mean())
    return Measured(float(every.cosine[kept].min()), float(every.cosine[~kept].min()), details)


@claim(
    "ottt/O9.cosines",
    r"Where the input is constant and the neurons integrate and fire for $T=20$ steps, online training has nearly the direction of the "
    r"rate gradient: the mean cosine of random networks 10-16-16-5 is above 0.995.",
    source="Xiao 2022, Theorem 1 (where rates converge); figures of the specification, O9",
    metric=r"mean cosine of the two gradients over 100 networks and three weights, $\lambda=1$, $T=20$, input constant in time",
    relation=">=",
    bound=0.995,
    control=r"the same for inputs fresh at every step, $\lambda=0.5$, $T=6$: rates that do not converge",
)
def cosine_statistics(rng: np.random.Generator) -> Measured:
    means, details = {}, {}
    for leak, steps, static in ((1.0, 20, True), (0.5, 6, True), (0.5, 6, False)):
        draws = draw_networks(rng, leak, steps, static, draws=100)
        found = [
            cosines(
                online_gradient(errors, activity, leak), summed(errors, weighted_rates(activity, leak)[-1])
            )
            for errors, activity in zip(draws.errors(), draws.activity[:-1], strict=True)
        ]
        means[leak, steps, static] = float(np.concatenate(found).mean())
        label = f"leak {leak}, T {steps}, input {'constant' if static else 'fresh at every step'}"
        details[f"mean cosine of each weight, {label}"] = [float(part.mean()) for part in found]
    short = means[0.5, 6, True]
    require(short > 0.95, f"the mean cosine at leak 0.5, T 6, constant input is {short:.3f}")
    return Measured(means[1.0, 20, True], means[0.5, 6, False], details)


def rate_loss_gradients(draws: Draws, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Complex-step gradients of the rate loss in the weights or biases of `draws` (moved in place, and back).

    The rates answer through the clamp map, around the rates that the spikes had; the loss is the mean error
    of the output spikes times the output rate, which is how (grad L_sr)_sr is defined.
    """
    last = [draws.last_rates(layer) for layer in range(len(draws.weights) + 1)]
    nominal = [clamp(draws.currents(operator, last[operator])) for operator in range(len(draws.weights))]
    mean_error = draws.output_errors().mean(axis=0)

    def loss() -> np.ndarray:
        rates = last[0]
        for operator, at_rest in enumerate(nominal):
            rates = last[operator + 1] + clamp(draws.currents(operator, rates)) - at_rest
        return (mean_error * rates).sum(axis=(1, 2))

    gradients = []
    for place, array in enumerate(arrays):
        gradient = np.empty(array.shape)
        for index in np.ndindex(array.shape[1:]):
            arrays[place] = array.astype(complex)
            arrays[place][:, *index] += 1j * STEP
            gradient[:, *index] = loss().imag / STEP  # one entry, of all the draws at once
        arrays[place] = array
        gradients.append(gradient)
    return gradients


@claim(
    "ottt/O9.biases",
    r"The untraced bias gradient of online training is that of the rates, $(\nabla_bL_{sr})_{sr}=\frac1T\sum_t\hat g[t]$, with the factor "
    r"1: Remark 2 prints $1/Z_T$. Against the biases online training makes the weights' gradients about $Z_T$ times too long.",
    source="Xiao 2022, Remark 2 (corrected)",
    metric="largest relative deviation from the complex-step gradient of the rate loss, each network and layer alone",
    relation="<=",
    bound=EXACT,
    control=r"with the factor $1/Z_T$",
)
def bias_factor(rng: np.random.Generator) -> Measured:
    values, controls, weights = [], [], []
    for leak, steps in SETTINGS:
        draws = draw_networks(rng, leak, steps, static=bool(rng.integers(2)), draws=10)
        errors = draws.errors()
        for error, truth in zip(errors, rate_loss_gradients(draws, draws.biases), strict=True):
            found = error.sum(axis=(0, 2))[:, None] / steps
            values.append(leaf_error(found, truth, max))
            controls.append(leaf_error(found / normalisers(leak, steps)[-1], truth, min))
        for operator, truth in enumerate(rate_loss_gradients(draws, draws.weights)):
            found = summed(errors[operator], draws.last_rates(operator)) / steps
            weights.append(leaf_error(found, truth, max))
    require(max(weights) <= EXACT, f"the weights' gradients deviate by {max(weights):.1e}")
    return Measured(
        max(values), min(controls), {"the same deviation for the weights' gradients": max(weights)}
    )


def leaf_error(found: np.ndarray, truth: np.ndarray, pick: type[max]) -> float:
    """Relative error of the draws whose reference is not zero: the largest or the smallest."""
    sizes = norms(truth)
    alive = sizes > 1e-6
    require(alive.mean() > 0.5, f"only {alive.mean():.0%} of the networks have a gradient")
    return float(pick(norms(found - truth)[alive] / sizes[alive]))
