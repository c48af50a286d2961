"""DEEP R written down a second time, from its pseudo-code, and with errors planted on request.

Lists of matrices in the layout (pre, post) of the official code, changed in place; the optimisers are written
out here too.  Nothing is shared with the package.
"""

from __future__ import annotations

import numpy as np

Matrices = list[np.ndarray]

PLANTS = (
    "no guard",  # what the optimiser wakes stays awake
    "moments of dormant entries rest",
    "one matrix is not counted",  # when the budget is compared with what is there
    "negative strengths work",  # w = s theta everywhere
    "reconnected anywhere",  # active entries are drawn too
    "only the dead of this update are drawn",
    "split by free places",
    "the split is of p alone",  # not of p |M|
    "shrinks what is dormant too",
)


class RewiringByHand:
    """Training under a budget of synapses.

    Parameters
    ----------
    weights, signs : list of ndarray, (pre, post)
        Of each matrix, at the start.
    bias : ndarray
        One ordinary parameter.
    connectivity : list of float
        p of each matrix.
    optimiser : str
        "adam" or "sgd".
    rate, l1, temperature : float
        eta, l_1, T.
    planted : iterable of str
        Some of `PLANTS`.
    """

    def __init__(
        self,
        weights: Matrices,
        signs: Matrices,
        bias: np.ndarray,
        connectivity: list[float],
        optimiser: str,
        rate: float,
        l1: float = 0.01,
        temperature: float = 0.0,
        planted: tuple[str, ...] = (),
    ) -> None:
        assert set(planted) <= set(PLANTS)
        self.signs, self.planted, self.optimiser = signs, planted, optimiser
        self.theta = [abs(weight) for weight in weights]
        self.bias = bias.copy()
        self.connectivity, self.rate, self.l1, self.temperature = connectivity, rate, l1, temperature
        self.k = int(np.floor(sum(p * w.size for p, w in zip(connectivity, weights, strict=True))))
        self.t = 0
        self.m = [np.zeros_like(w) for w in [*weights, bias]]
        self.s = [np.zeros_like(w) for w in [*weights, bias]]

    def weights(self) -> Matrices:
        """w of each matrix."""
        if "negative strengths work" in self.planted:
            return [s * th for s, th in zip(self.signs, self.theta, strict=True)]
        return [np.where(th > 0, s * th, 0.0) for s, th in zip(self.signs, self.theta, strict=True)]

    def count(self) -> int:
        """Active entries of all matrices."""
        return sum(int(np.sum(th > 0)) for th in self.theta)

    def step(
        self,
        gradients: Matrices,
        bias_gradient: np.ndarray,
        reconnect: Matrices | None = None,
        rng: np.random.Generator | None = None,
    ) -> Matrices:
        """One update with dL/dw of each matrix; returns which entries were reconnected."""
        g = [dw * s for dw, s in zip(gradients, self.signs, strict=True)] + [bias_gradient]
        active = [th > 0 for th in self.theta]
        variables = [*self.theta, self.bias]
        self.t += 1
        for i, (variable, gradient) in enumerate(zip(variables, g, strict=True)):
            learns: np.ndarray = np.ones(variable.shape, bool)
            if "moments of dormant entries rest" in self.planted and i < len(active):
                learns = active[i]
            if self.optimiser == "sgd":
                variable[learns] -= self.rate * gradient[learns]
                continue
            self.m[i][learns] = 0.9 * self.m[i][learns] + (1 - 0.9) * gradient[learns]
            self.s[i][learns] = 0.999 * self.s[i][learns] + (1 - 0.999) * gradient[learns] ** 2
            eta = self.rate * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
            variable[learns] -= eta * self.m[i][learns] / (np.sqrt(self.s[i][learns]) + 1e-8)
        for th, was in zip(self.theta, active, strict=True):
            if "no guard" not in self.planted:
                th[~was] = 0.0
            on = th > 0 if "shrinks what is dormant too" not in self.planted else np.ones(th.shape, bool)
            if self.temperature:
                assert rng is not None
                th[on] += np.sqrt(2 * self.rate * self.temperature) * rng.standard_normal(th.shape)[on]
            th[on] -= self.rate * self.l1
        if reconnect is None:
            assert rng is not None
            reconnect = self.choose(active, rng)
        for th, chosen in zip(self.theta, reconnect, strict=True):
            th[chosen] = 1e-12
        return reconnect

    def choose(self, active: Matrices, rng: np.random.Generator) -> Matrices:
        """Fill the budget."""
        seen = self.theta[:-1] if "one matrix is not counted" in self.planted else self.theta
        need = max(0, self.k - sum(int(np.sum(th > 0)) for th in seen))
        room = [p * th.size for p, th in zip(self.connectivity, self.theta, strict=True)]
        if "split by free places" in self.planted:
            room = [float(np.sum(th <= 0)) for th in self.theta]
        if "the split is of p alone" in self.planted:
            room = list(self.connectivity)
        split = rng.multinomial(need, [part / sum(room) for part in room])
        masks = []
        for th, was, wanted in zip(self.theta, active, split, strict=True):
            free = th <= 0
            if "reconnected anywhere" in self.planted:
                free = np.ones(th.shape, bool)
            if "only the dead of this update are drawn" in self.planted:
                free = (th <= 0) & was
            rows, columns = np.nonzero(free)
            drawn = rng.permutation(len(rows))[:wanted]
            mask = np.zeros(th.shape, bool)
            mask[rows[drawn], columns[drawn]] = True
            masks.append(mask)
        return masks
