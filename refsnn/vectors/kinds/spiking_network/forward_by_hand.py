"""The way up of a dense spiking network in plain loops, and its loss, with switches for mistakes.

It reads the plain words of a case and nothing else: no graph, no operator and no kernel of the package.
"""

from __future__ import annotations

import numpy as np

from refsnn.vectors.case import Problem
from refsnn.vectors.kinds.spiking_network.words import Layer, layers_of


class ForwardByHand:
    """A run of one case, and what every way down needs.

    Parameters
    ----------
    problem : Problem
        Of a dense network.
    """

    def __init__(self, problem: Problem) -> None:
        self.given, self.layers = problem.hyperparameters, layers_of(problem)
        self.made = {
            name.removeprefix("mistake.")
            for name, on in self.given.items()
            if on and name.startswith("mistake.")
        }
        self.inputs, self.targets = problem.inputs["input"], problem.inputs["targets"]
        self.feedback = problem.inputs.get("feedback")
        self.parameters = {
            name.removeprefix("parameters/"): array
            for name, array in problem.inputs.items()
            if name.startswith("parameters/")
        }
        self.steps, self.batch = self.inputs.shape[:2]
        self.kappa = 0.0 if "no-readout-leak" in self.made else self.given["readout_leak"]
        self.psi: list[np.ndarray] = []
        self.forward()

    # -- up -----------------------------------------------------------------------------------------------

    def forward(self) -> None:
        """h, s, v of all layers (T, B, n), what each weight reads, y_t, the loss and its error dL/dy_t."""
        p, made = self.parameters, self.made
        shapes = [(self.steps, self.batch, width) for width in self.given["widths"][1:-1]]
        self.h, self.s, self.v = ([np.zeros(shape) for shape in shapes] for _ in range(3))
        self.y = np.zeros((self.steps, self.batch, self.given["widths"][-1]))
        for t in range(self.steps):
            read = self.inputs[t]
            for k, layer in enumerate(self.layers):
                current = read @ p[f"{layer.name}.weight"].T
                if "no-bias" not in made:
                    current = current + p[f"{layer.name}.bias"]
                if layer.recurrent and t and "no-recurrence" not in made:
                    loop = p[f"{layer.name}.recurrent.weight"]
                    current = current + self.s[k][t - 1] @ (
                        loop if "recurrence-transposed" in made else loop.T
                    )
                self.step(layer, k, t, current)
                read = self.s[k][t]
                if "late-layers" in made:
                    read = self.s[k][t - 1] if t else np.zeros_like(read)
                if "reads-potential" in made and k == len(self.layers) - 1:
                    read = self.h[k][t]
            o = read @ p["readout.weight"].T + (0.0 if "no-readout-bias" in made else p["readout.bias"])
            self.y[t] = o + (self.kappa * self.y[t - 1] if t else 0.0)
        reads = [self.inputs, *self.s[:-1], self.h[-1] if "reads-potential" in made else self.s[-1]]
        self.reads = [
            np.concatenate([np.zeros_like(one[:1]), one[:-1]]) if k and "late-layers" in made else one
            for k, one in enumerate(reads)
        ]
        self.loss_and_error()

    def step(self, layer: Layer, k: int, t: int, current: np.ndarray) -> None:
        """Charge, fire, reset."""
        c, made = layer.constants, self.made
        before = self.v[k][t - 1] if t else np.full_like(self.v[k][0], layer.rest)
        fired = self.s[k][t - 1] if t else np.zeros_like(before)
        leak = self.layers[0].leak if "one-leak" in made else layer.leak
        late = "late-reset" in made
        if late and layer.hard:
            before = before * (1 - fired) + layer.rest * fired
        h = leak * before + current
        if layer.hard and "no-rest" not in made:
            h = h + (1 - leak) * layer.rest
        if late and not layer.hard:
            h = h - c["threshold"] * fired
        s = layer.fires(h)
        if late or "no-reset" in made:
            v = h
        else:
            v = (1 - s) * h + s * layer.rest if layer.hard else h - c["threshold"] * s
        self.h[k][t], self.s[k][t], self.v[k][t] = h, s, v

    def loss_and_error(self) -> None:
        """L and dL/dy_t (T, B, C)."""
        over = self.given["loss_over"]
        if over == "mean_readout":
            summed = "summed-readout" in self.made
            mean = self.y.sum(axis=0) if summed else self.y.mean(axis=0)
            self.loss, error = self.loss_of(mean)
            self.error = np.repeat(error[None], self.steps, axis=0) / (1 if summed else self.steps)
        else:
            both = [self.loss_of(one) for one in self.y]
            share = 1 if "sum-of-steps" in self.made else self.steps
            self.loss = sum(loss for loss, _ in both) / share
            self.error = np.stack([error for _, error in both]) / share

    def loss_of(self, y: np.ndarray) -> tuple[float, np.ndarray]:
        """l(y) and its derivative."""
        made, share = self.made, 0.0 if "no-squared-share" in self.made else self.given["squared_share"]
        batch = 1 if "sum-over-batch" in made else self.batch
        if self.given["loss_function"] == "mean_squared_error":
            factor = 1.0 if "whole-squares" in made else 0.5
            factor /= y.shape[1] if "mean-over-classes" in made else 1
            difference = y - self.targets
            return factor * float((difference**2).sum()) / batch, 2 * factor * difference / batch
        onehot = np.eye(y.shape[1])[self.targets]
        weights = np.exp(y - y.max(axis=1, keepdims=True))
        probability = weights / weights.sum(axis=1, keepdims=True)
        entropy = -float(np.log((probability * onehot).sum(axis=1)).sum()) / batch
        squares = float(((y - onehot) ** 2).sum()) / (batch * y.shape[1])
        error = (1 - share) * (probability - onehot) / batch
        return (1 - share) * entropy + share * squares, error + share * 2 * (y - onehot) / (
            batch * y.shape[1]
        )

    # -- what a way down needs ----------------------------------------------------------------------------

    def _psi_at(self) -> list[np.ndarray]:
        return self.v if "psi-after-reset" in self.made else self.h

    def _slope(self, k: int) -> np.ndarray:
        """dv_t/dh_t."""
        layer, made = self.layers[k], self.made
        through = 0.0 if layer.constants["detach_reset"] else self.psi[k]
        if "straight" in made:
            return np.ones_like(self.h[k])
        if layer.hard:
            direct = 1.0 if "whole-slope" in made else 1 - self.s[k]
            return direct + (layer.rest - self.h[k]) * through
        threshold = 1.0 if "unit-threshold" in made else layer.constants["threshold"]
        return np.ones_like(self.h[k]) - threshold * through

    def _weights(self, k: int) -> np.ndarray:
        """Of the operator above layer k."""
        names = [*(layer.name for layer in self.layers[1:]), "readout"]
        weight = self.parameters[f"{names[k]}.weight"]
        return weight.T if "sent-down-wrongly" in self.made and len(set(weight.shape)) == 1 else weight

    def readout_errors(self, window: int = 0) -> np.ndarray:
        """dL/do_t: the memory of the read-out on the way back."""
        errors = self.error.copy()
        for t in reversed(range(self.steps - 1)):
            if not window or (self.steps - 1 - t) % window or "readout-uncut" in self.made:
                errors[t] += self.kappa * errors[t + 1]
        return errors
