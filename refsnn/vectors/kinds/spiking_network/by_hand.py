"""The algorithms on dense spiking networks in plain loops, with a switch for each frequent mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.vectors.case import Leaves
from refsnn.vectors.kinds.spiking_network.forward_by_hand import ForwardByHand

Arrays = dict[str, np.ndarray]


class ByHand(ForwardByHand):
    """One case, all the way."""

    def leaves(self) -> Leaves:
        """All of them."""
        names = [layer.name for layer in self.layers]
        self.psi = [layer.psi(h) for layer, h in zip(self.layers, self._psi_at(), strict=True)]
        self.slope = [self._slope(k) for k in range(len(names))]
        found: Leaves = {"loss": np.asarray(self.loss), "outputs": self.y.mean(axis=0)}
        if "summed-readout" in self.made and self.given["loss_over"] == "mean_readout":
            found["outputs"] = self.y.sum(axis=0)
        found |= {f"states/spikes/{name}": s for name, s in zip(names, self.s, strict=True)}
        found |= {f"states/charged/{name}": h for name, h in zip(names, self.h, strict=True)}
        algorithm = self.given["algorithm"]
        if algorithm in ("bptt", "truncated_bptt"):
            gradients = self.through_time(self.given.get("window", 0))
        elif algorithm in ("rate_backpropagation", "temporal_galerkin"):
            gradients, more = self.averaged()
            found |= more
        elif algorithm == "eprop":
            gradients = self.by_eligibilities()
        else:
            gradients, more = self.online()
            found |= more
        for name in self.parameters:
            if name.endswith("bias") and "no-bias-gradient" in self.made:
                gradients[name] = np.zeros_like(gradients[name])
        return found | {f"gradients/{name}": gradients[name] for name in self.parameters}

    def through_time(self, window: int) -> Arrays:
        """BPTT, cut every so many steps."""
        made, errors = self.made, self.readout_errors(window)
        count = len(self.layers)
        p = [np.zeros_like(h) for h in self.h]
        later = [np.zeros_like(h[0]) for h in self.h]
        for t in reversed(range(self.steps)):
            first = t + 1 if "windows-from-start" in made else self.steps - 1 - t
            if window and first % window == 0:
                later = [np.zeros_like(one) for one in later]
                cut = True
            else:
                cut = t == self.steps - 1
            error = errors[t]
            for k in reversed(range(count)):
                layer = self.layers[k]
                above = error if k == count - 1 else self._above(p[k + 1], t)
                spike = above @ self._weights(k)
                if layer.recurrent and not cut and "no-feedback" not in made:
                    loop = self.parameters[f"{layer.name}.recurrent.weight"]
                    spike = spike + p[k][t + 1] @ (loop.T if "loop-sent-down-wrongly" in made else loop)
                p[k][t] = self.psi[k][t] * spike + self.slope[k][t] * later[k]
                leak = 1.0 if "no-leak-back" in made else layer.leak
                leak = self.layers[0].leak if "one-leak" in made else leak
                later[k] = leak * p[k][t]
        return self.products([*p, errors])

    def _above(self, p: np.ndarray, t: int) -> np.ndarray:
        if "late-layers" in self.made:
            return p[t + 1] if t + 1 < self.steps else np.zeros_like(p[0])
        return p[t]

    def products(self, p: list[np.ndarray]) -> Arrays:
        """dW = sum_t p_t z_t^T of all parameters."""
        gradients: Arrays = {}
        for k, name in enumerate(self._names()):
            gradients[f"{name}.weight"] = np.einsum("tbi,tbj->ij", p[k], self.reads[k])
            gradients[f"{name}.bias"] = p[k].sum(axis=(0, 1))
            if k < len(self.layers) and self.layers[k].recurrent:
                heard = self.s[k] if "loop-sees-itself" in self.made else self._before(k)
                gradients[f"{name}.recurrent.weight"] = np.einsum("tbi,tbj->ij", p[k], heard)
        return gradients

    def _names(self) -> list[str]:
        return [*(layer.name for layer in self.layers), "readout"]

    def _before(self, k: int) -> np.ndarray:
        return np.concatenate([np.zeros_like(self.s[k][:1]), self.s[k][:-1]])

    # -- averages and temporal modes ----------------------------------------------------------------------

    def averaged(self) -> tuple[Arrays, Leaves]:
        """Rate-based backpropagation, and the Galerkin family."""
        made, steps = self.made, self.steps
        rate = self.given["algorithm"] == "rate_backpropagation"
        modes = 1 if rate else self.given["n_modes"]
        k, t = np.arange(modes)[:, None], np.arange(steps)[None]
        dual = np.cos(np.pi * k * (t + (0.0 if "mode-shifted" in made else 0.5)) / steps)
        if not rate:
            dual = dual * np.where(k == 0, np.sqrt(1 / steps), np.sqrt(2 / steps))
        basis = dual / steps if rate else dual
        summed = "summed-rate" in made and rate
        gains, spikes = [], []
        found: Leaves = {}
        for index, layer in enumerate(self.layers):
            factor = layer.leak * self.slope[index]
            gain = _gains(self.psi[index], factor, dual, basis, made)
            if "summed-jacobian" in made and rate:
                gain = gain * steps
            share = np.tensordot(basis, self.s[index], axes=1) * (steps if summed else 1)
            gains.append(gain)
            spikes.append(share)
            if rate:
                found |= {f"rate/{layer.name}": share[0], f"rate_jacobian/{layer.name}": gain[0, 0]}
            else:
                found |= {f"coefficients/{layer.name}": share, f"gains/{layer.name}": gain}
        read = np.tensordot(basis, self.inputs, axes=1)
        if "last-input" in made:
            read = self.inputs[-1:]
        errors = self.error if "readout-memory-forgotten" in made else self.readout_errors()
        a = np.tensordot(dual, errors, axes=1)
        if rate and self.given["scale"] == "paper":
            a = a / steps
        gradients: Arrays = {}
        for index, (name, below) in reversed(
            list(enumerate(zip(self._names(), [read, *spikes], strict=True)))
        ):
            gradients[f"{name}.weight"] = np.einsum("kbi,kbj->ij", a, below)
            gradients[f"{name}.bias"] = np.einsum("k,kbi->i", basis.sum(axis=1), a)
            if index:
                gain = gains[index - 1]
                letters = "kj...,j...->k..." if "gains-transposed" in made else "jk...,j...->k..."
                a = np.einsum(letters, gain, a @ self._weights(index - 1))
        return gradients, found

    # -- online -------------------------------------------------------------------------------------------

    def rule(self, made: set[str]) -> Iterator[tuple[float, float]]:
        """Decays of what the weight and the bias of each operator see."""
        preset = self.given["preset"] if self.given["algorithm"] == "ottt" else "sltt"
        for k, layer in enumerate(self.layers):
            decay = self.layers[k - 1].leak if preset == "official_code" and k else layer.leak
            if "leak-of-above" in made:
                decay = layer.leak
            if "leak-of-below" in made and k:
                decay = self.layers[k - 1].leak
            if preset == "sltt" or (preset == "official_code" and k == 0 and "traced-input" not in made):
                decay = 0.0
            yield decay, (decay if preset == "exact_local" or "traced-bias" in made else 0.0)
        if preset == "sltt":
            yield 0.0, 0.0
        else:
            last = 0.0 if preset == "exact_local" or "plain-readout" in made else self.layers[-1].leak
            last = self.layers[-1].leak if "traced-readout" in made else last
            yield self.kappa or last, self.kappa

    def online(self) -> tuple[Arrays, Leaves]:
        """OTTT and SLTT: an error a step, times a trace."""
        made, count, learning = self.made, len(self.layers), self.given.get("learning_steps")
        rules, ndot = list(self.rule(made)), self.given.get("preset") == "ndot"
        gradients = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        traces = [np.zeros_like(read[0]) for read in self.reads]
        loops = [np.zeros_like(s[0]) for s in self.s]
        ratios = [np.zeros_like(s[0]) for s in self.s]
        ones = [0.0] * (count + 1)
        for t in range(self.steps):
            for k, (decay, bias_decay) in enumerate(rules):
                factor: Any = ratios[k - 1] if ndot and k and decay and "not-measured" not in made else decay
                if "trace-late" in made and decay:  # the spike of this step counts from the next on
                    traces[k] = factor * traces[k] + (self.reads[k][t - 1] if t else 0.0)
                else:
                    traces[k] = factor * traces[k] + self.reads[k][t]
                ones[k] = bias_decay * ones[k] + 1
            if learning is None or t in learning:
                error, g = self.error[t], [np.zeros_like(s[0]) for s in self.s]
                for k in reversed(range(count)):
                    g[k] = self.psi[k][t] * ((g[k + 1] if k < count - 1 else error) @ self._weights(k))
                for k, name in enumerate(self._names()):
                    one = error if k == count else g[k]
                    gradients[f"{name}.weight"] += one.T @ traces[k]
                    gradients[f"{name}.bias"] += ones[k] * one.sum(axis=0)
                    if k < count and self.layers[k].recurrent:
                        gradients[f"{name}.recurrent.weight"] += one.T @ loops[k]
            for k, layer in enumerate(self.layers):
                before = self.v[k][t - 1] if t else np.full_like(self.v[k][0], layer.rest)
                ratio = self.v[k][t] / np.where(before == 0, 1.0, before)
                own: Any = layer.leak if self.given["algorithm"] == "ottt" else 0.0
                own = ratios[k] if ndot and "not-measured" not in made else own
                loops[k] = own * loops[k] + self.s[k][t]
                ratios[k] = np.clip(ratio, -layer.leak, layer.leak)
        pairs = zip(self._names(), self.rule(set()), traces, strict=True)
        return gradients, {f"traces/{name}": trace for name, (decay, _), trace in pairs if decay}

    def by_eligibilities(self) -> Arrays:
        """E-prop of one layer."""
        made, layer, name = self.made, self.layers[0], self.layers[0].name
        feedback = self.parameters["readout.weight"].T
        if self.feedback is not None and "symmetric" not in made:
            feedback = self.feedback
        kappa = 0.0 if "unfiltered" in made else self.kappa
        gradients = {key: np.zeros_like(value) for key, value in self.parameters.items()}
        heard = {f"{name}.weight": self.reads[0], f"{name}.bias": np.ones((self.steps, self.batch, 1))}
        if layer.recurrent:
            heard[f"{name}.recurrent.weight"] = self.s[0] if "loop-sees-itself" in made else self._before(0)
        for key, read in heard.items():
            trace, filtered = np.zeros_like(read[0]), 0.0
            for t in range(self.steps):
                leak = 0.0 if "traceless" in made else layer.leak
                trace = leak * trace + read[t]
                filtered = kappa * filtered + self.psi[0][t][:, :, None] * trace[:, None, :]
                share = np.einsum("bj,bji->ji", self.error[t] @ feedback.T, filtered)
                gradients[key] += share.reshape(gradients[key].shape)
        trace, one = np.zeros_like(self.reads[1][0]), 0.0
        for t in range(self.steps):
            trace, one = kappa * trace + self.reads[1][t], kappa * one + 1
            gradients["readout.weight"] += self.error[t].T @ trace
            gradients["readout.bias"] += one * self.error[t].sum(axis=0)
        return gradients


def _gains(
    psi: np.ndarray, factor: np.ndarray, dual: np.ndarray, basis: np.ndarray, made: set[str]
) -> np.ndarray:
    """G_jk = sum_t basis_j(t) psi_t rho_k(t), rho_k(t) = dual_k(t) + f_{t-1} rho_k(t-1)."""
    modes = len(dual)
    gains = np.zeros((modes, modes, *psi.shape[1:]))
    for k in range(modes):
        trace: Any = np.zeros_like(psi[0])
        for t in range(len(psi)):
            if t and "no-jacobian-trace" not in made:
                trace = factor[t if "trace-factor-late" in made else t - 1] * trace
            else:
                trace = np.zeros_like(psi[0])
            trace = trace + dual[k, t]
            for j in range(modes):
                gains[j, k] += basis[j, t] * psi[t] * trace
    return gains
