r"""O10: Theorem 2, online training of a recurrent layer against the implicit gradient of its rates' fixed point.

    a = \sigma(W a + F x + b),   J = D W,   D = diag(d),   d = \sigma'
    c = (dL_sr/da)^T,   v = (I - J)^{-T} c
    online: D c a^T,   implicit: D v a^T
    <D c a^T, D v a^T> = |a|^2 (|D v|^2 - (D v)^T W^T (D v)) >= |a|^2 (1 - |D W D|_2) |D v|^2

The identity uses that d is 0 or 1 and that the threshold is 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from validation.claims.ottt.networks import cosines
from validation.claims.ottt.rates import clamp, clamp_slope
from validation.ledger import Measured, claim, require

SIZES = (8, 12, 20)
DRAWS = 1000
STEP = 1e-30


class Recurrent(NamedTuple):
    """Random draws: weight (D, n, n), slopes, error at the rates, and rates, each (D, n)."""

    weight: np.ndarray
    slopes: np.ndarray
    error: np.ndarray
    rates: np.ndarray

    def implicit_error(self) -> np.ndarray:
        """v = (I - J)^{-T} c."""
        transposed = np.eye(self.weight.shape[-1]) - self.weight.swapaxes(1, 2) * self.slopes[:, None, :]
        return np.linalg.solve(transposed, self.error[..., None])[..., 0]

    def active_norm(self) -> np.ndarray:
        """|D W D|_2."""
        active = self.slopes[:, :, None] * self.weight * self.slopes[:, None, :]
        return np.linalg.norm(active, 2, axis=(1, 2))

    def cosine(self) -> np.ndarray:
        """Of the two gradients of W."""
        online = outer(self.slopes * self.error, self.rates)
        return cosines(online, outer(self.slopes * self.implicit_error(), self.rates))


def outer(errors: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """(D, n, m)."""
    return errors[:, :, None] * rates[:, None, :]


def weights_of_norm(rng: np.random.Generator, draws: int, size: int, norm: float) -> np.ndarray:
    """Gaussian matrices scaled to a spectral norm."""
    matrices = rng.standard_normal((draws, size, size))
    return matrices * (norm / np.linalg.norm(matrices, 2, axis=(1, 2)))[:, None, None]


def draw(rng: np.random.Generator, size: int, norm: float) -> Recurrent:
    """c Gaussian, a uniform in [0, 1]; d all 1 in every other draw, else half of it 0."""
    slopes = np.ones((DRAWS, size))
    slopes[1::2, size // 2 :] = 0
    slopes[1::2] = rng.permuted(slopes[1::2], axis=1)
    return Recurrent(
        weights_of_norm(rng, DRAWS, size, norm),
        slopes,
        rng.standard_normal((DRAWS, size)),
        rng.random((DRAWS, size)),
    )


@claim(
    "ottt/O10",
    r"With $v=(I-J)^{-\top}c$ the gradient $Dc\,a^\top$ of online training and the implicit one $Dv\,a^\top$ of the rates' fixed point have "
    r"the inner product $\|a\|^2\big(\|Dv\|^2-(Dv)^\top W^\top(Dv)\big)$ exactly, for every recurrent weight.",
    source="specification, O10 (derived from Xiao 2022, Theorem 2)",
    metric=r"largest difference of the two sides relative to $\|a\|^2\|Dv\|^2$, $\|W\|_2=0.95$ and 5",
    relation="<=",
    bound=1e-13,
    control=r"the slopes left out of the implicit gradient, $v=(I-W)^{-\top}c$ (smallest over settings)",
)
def inner_product_identity(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for size in SIZES:
        for norm in (0.95, 5.0):
            case = draw(rng, size, norm)
            all_ones = case._replace(slopes=np.ones_like(case.slopes))
            values.append(identity_error(case, case.implicit_error()))
            controls.append(identity_error(case, all_ones.implicit_error()))
    return Measured(max(values), min(controls))


def identity_error(case: Recurrent, implicit: np.ndarray) -> float:
    """The inner product of the two matrices, entry by entry, against the right-hand side."""
    below = case.slopes * implicit
    left = (outer(case.slopes * case.error, case.rates) * outer(below, case.rates)).sum(axis=(1, 2))
    length, size = (case.rates**2).sum(axis=1), (below**2).sum(axis=1)
    require(float((length * size).min()) > 0, "a gradient is zero")
    right = length * (size - (below[:, None, :] @ case.weight.swapaxes(1, 2) @ below[:, :, None])[:, 0, 0])
    return float((np.abs(left - right) / (length * size)).max())


@claim(
    "ottt/O10.sign",
    r"Online training goes with the implicit gradient, $\langle Dc\,a^\top,Dv\,a^\top\rangle\ge\|a\|^2(1-\|DWD\|_2)\|Dv\|^2$: it is positive "
    r"whenever $\|DWD\|_2<1$, saturated neurons, which the hypothesis of Theorem 2 excludes, or not.",
    source="specification, O10 (stronger than Xiao 2022, Theorem 2)",
    metric=rf"smallest cosine of the two gradients, {DRAWS} draws each of 8, 12 and 20 neurons, $\|W\|_2=0.95$",
    relation=">=",
    bound=0.0,
    control=r"the same at $\|W\|_2=5$",
)
def sign_of_contractions(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for size in SIZES:
        case = draw(rng, size, 0.95)
        below = case.slopes * case.implicit_error()
        inner = (case.slopes * case.error * below).sum(axis=1)
        least = (1 - case.active_norm()) * (below**2).sum(axis=1)
        require(bool((inner >= least * (1 - 1e-12)).all()), "an inner product is below its bound")
        values.append(float(case.cosine().min()))
        details[f"smallest cosine, {size} neurons"] = values[-1]
        controls.append(float(draw(rng, size, 5.0).cosine().min()))
    return Measured(min(values), max(controls), details)


@claim(
    "ottt/O10.control",
    r"Without a contraction there is no sign: at $\|W\|_2=5$ more than a tenth of the inner products are negative.",
    source="specification, O10",
    metric="smallest share of negative inner products, 8, 12 and 20 neurons",
    relation=">=",
    bound=0.1,
    control=r"the largest share at $\|W\|_2=0.95$",
)
def no_sign_without_contraction(rng: np.random.Generator) -> Measured:
    shares = {
        norm: {size: float((draw(rng, size, norm).cosine() < 0).mean()) for size in SIZES}
        for norm in (0.95, 1.5, 5.0)
    }
    details = {
        f"share at |W| = {norm}, {size} neurons": found
        for norm, by_size in shares.items()
        for size, found in by_size.items()
    }
    return Measured(min(shares[5.0].values()), max(shares[0.95].values()), details)


class FixedPoints(NamedTuple):
    """Networks resting at a = clamp(W a + b): (D, n, n), (D, n), (D, n)."""

    weight: np.ndarray
    bias: np.ndarray
    rates: np.ndarray

    def map(self, weight: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """f(a)."""
        return clamp((weight @ rates[..., None])[..., 0] + self.bias)

    def with_error(self, error: np.ndarray) -> Recurrent:
        """The same with a loss whose gradient in a is `error`."""
        z = (self.weight @ self.rates[..., None])[..., 0] + self.bias
        return Recurrent(self.weight, clamp_slope(z), error, self.rates)


def fixed_points(rng: np.random.Generator, saturated: int) -> FixedPoints:
    """50 networks of 8 neurons, |W|_2 = 0.9, the first `saturated` of which rest at the rate 1."""
    draws, size = 50, 8
    weight = weights_of_norm(rng, draws, size, 0.9)
    rates = rng.uniform(0.1, 0.9, (draws, size))
    rates[:, :saturated] = 1
    bias = rates - (weight @ rates[..., None])[..., 0]  # of which a is the fixed point
    bias[:, :saturated] += rng.uniform(0.1, 1.0, (draws, saturated))
    found = FixedPoints(weight, bias, rates)
    require(float(np.abs(found.map(weight, rates) - rates).max()) < 1e-12, "the rates are no fixed point")
    return found


@claim(
    "ottt/O10.implicit",
    r"$Dv\,a^\top$ with $v=(I-J)^{-\top}c$ is the gradient of a loss of the fixed point $a=\sigma(Wa+Fx+b)$ in $W$, saturated neurons "
    r"or not.",
    source="Xiao 2022, section 4.2 and Theorem 2",
    metric="largest relative error of the derivative along a random direction, complex step through 600 iterations, 50 networks each with 0 and 3 of 8 neurons saturated",
    relation="<=",
    bound=1e-12,
    control=r"$J$ in the place of $J^\top$, $v=(I-J)^{-1}c$ (worst network of the better setting)",
)
def implicit_gradient(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for saturated in (0, 3):
        resting = fixed_points(rng, saturated)
        case = resting.with_error(rng.standard_normal(resting.rates.shape))
        direction = rng.standard_normal(resting.weight.shape)
        moved, rates = resting.weight + 1j * STEP * direction, resting.rates.astype(complex)
        for _ in range(600):  # 0.9^600 is 3e-28
            rates = resting.map(moved, rates)
        truth = (case.error * rates.imag).sum(axis=1) / STEP

        wrong = np.linalg.solve(np.eye(8) - case.slopes[:, :, None] * case.weight, case.error[..., None])[
            ..., 0
        ]
        for found, error in ((values, case.implicit_error()), (controls, wrong)):
            gradient = outer(case.slopes * error, case.rates)
            size = np.sqrt((gradient**2).sum(axis=(1, 2)))
            found.append(float((np.abs((gradient * direction).sum(axis=(1, 2)) - truth) / size).max()))
    return Measured(max(values), min(controls))


def weight_jacobian(resting: FixedPoints) -> np.ndarray:
    """df/dW at fixed a, by complex step: (D, n, n * n)."""
    draws, size, _ = resting.weight.shape
    jacobian = np.empty((draws, size, size * size))
    for column, (i, j) in enumerate(np.ndindex(size, size)):
        moved = resting.weight.astype(complex)
        moved[:, i, j] += 1j * STEP
        jacobian[:, :, column] = resting.map(moved, resting.rates).imag / STEP
    return jacobian


def conditioning(rng: np.random.Generator, saturated: int) -> np.ndarray:
    """sigma_min^2 / sigma_max^2 of df/dW at each fixed point."""
    resting = fixed_points(rng, saturated)
    case = resting.with_error(rng.standard_normal(resting.rates.shape))
    require(float(case.cosine().min()) > 0, "online training goes against the implicit gradient")
    singular = np.linalg.svd(weight_jacobian(resting), compute_uv=False)
    return (singular[:, -1] / singular[:, 0]) ** 2


@claim(
    "ottt/O10.saturated",
    r"One saturated neuron ($d_i=0$) makes $\sigma_{min}=0$ for $\partial f/\partial W$, whose singular values are $d_i\|a\|$: the "
    r"hypothesis $\|J\|\le\eta<\sigma_{min}^2/\sigma_{max}^2$ of Theorem 2 cannot hold, though the directions agree all the same.",
    source="Xiao 2022, Theorem 2 (its hypothesis); specification, O10",
    metric=r"largest $\sigma_{min}^2/\sigma_{max}^2$ of $\partial f/\partial W$ by complex step, 50 fixed points with one neuron at rate 1",
    relation="<=",
    bound=1e-24,
    control="smallest, with no neuron saturated: the hypothesis reads $\\|W\\|_2<1$",
)
def saturation(rng: np.random.Generator) -> Measured:
    free = conditioning(rng, saturated=0)
    require(float(np.abs(free - 1).max()) < 1e-12, f"without saturation the ratio is {free.min()}, not 1")
    return Measured(float(conditioning(rng, saturated=1).max()), float(free.min()))
