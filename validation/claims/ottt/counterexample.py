"""O9.counterexample: a network of one synapse that online training moves against the gradient of its rates."""

from __future__ import annotations

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from validation.claims.ottt.feedforward_theorem import coefficients, online_gradient
from validation.claims.ottt.networks import summed
from validation.claims.ottt.rates import clamp_slope, run_neurons, weighted_rates
from validation.ledger import Measured, claim, require

LEAK = 0.5


def inner_product(rng: np.random.Generator, presynaptic: list[int]) -> tuple[float, float, float]:
    """<O, S> of two neurons over two steps, and both sides of the theorem's hypothesis.

    The second neuron fires at step 2 only; its loss 5/4 (s - 2/5)^2 has the errors -1 and 3/2.
    """
    neuron = SpikingNeuron(leak=LEAK)
    current = np.array([rng.uniform(1.1, 1.3), rng.uniform(1.1, 1.3) if presynaptic[1] else 0.0])
    before, _ = run_neurons(neuron, current[:, None, None, None])
    weight, bias = rng.uniform(0.02, 0.1), rng.uniform(0.75, 0.85)
    after, _ = run_neurons(neuron, weight * before + bias)
    require(before.ravel().tolist() == presynaptic, f"the first neuron fires {before.ravel()}")
    require(after.ravel().tolist() == [0, 1], f"the second neuron fires {after.ravel()}")

    rates = weighted_rates(before, LEAK)
    slope = clamp_slope(weight * rates[-1] + bias)
    require(bool(slope.all()), "the rate map is flat where it was drawn")
    errors = 2.5 * (after - 0.4) * slope
    online, rate = online_gradient(errors, before, LEAK), summed(errors, rates[-1]) / 2
    left = abs(summed(errors, rates - rates[-1]).item())
    right = abs(2 * rate.item()) - abs(summed(errors, coefficients(LEAK, 2) * rates).item())
    return (online * rate).item(), left, right


@claim(
    "ottt/O9.counterexample",
    r"Without the hypothesis of Theorem 1 the directions can be opposed: one synapse, $\lambda=0.5$, $T=2$, presynaptic spikes $(1,0)$ and "
    r"$\hat g=(-1,\frac32)$, which a squared error gives when the second neuron fires $(0,1)$, have "
    r"$\langle\nabla_WL,(\nabla_WL_{sr})_{sr}\rangle=-\frac1{96}$; the hypothesis fails, $\frac23>-\frac16$.",
    source="specification, O9 (d)",
    metric="the inner product, two of the package's neurons with random weight, bias and currents",
    relation="in",
    bound=(-1 / 96 - 1e-15, -1 / 96 + 1e-15),
    control=r"the presynaptic neuron fires at both steps: its rate is constant",
)
def counterexample(rng: np.random.Generator) -> Measured:
    value, left, right = inner_product(rng, [1, 0])
    require(abs(left - 2 / 3) + abs(right + 1 / 6) < 1e-14, f"the hypothesis reads {left} < {right}")
    control, control_left, control_right = inner_product(rng, [1, 1])
    require(control_left < control_right, f"the control's hypothesis reads {control_left} < {control_right}")
    return Measured(value, control, {"left side": left, "right side": right})
