"""The backward and rate kernels against the dense Jacobian of one neuron, written down a second time here.

For one neuron ds_tau/dI_t = psi_tau prod_{u=t}^{tau-1} f_u for tau >= t, f_u = dh_{u+1}/dh_u: a lower
triangle of T x T numbers.  A backward pass, a trace, a gain are each one contraction of it.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, event, given, note, settings
from spiking_cases import SMALLEST_SCALE, Case, cases, run

from refsnn.kernels import BACKENDS, spiking_kernels

ANY_BACKEND = [pytest.param(name, marks=pytest.mark.cuda) if name == "cuda" else name for name in BACKENDS]

# The shape of psi at height 1; spelt as the literature does, not as refsnn does.
PSI = {
    "sigmoid": lambda u, slope: 1 / np.cosh(slope * u / 2) ** 2,
    "arctan": lambda u, slope: 1 / (1 + slope**2 * u**2),
    "triangle": lambda u, slope: max(0.0, 1 - slope * abs(u)),
    "fast_sigmoid": lambda u, slope: (1 + slope * abs(u)) ** -2,
}


class DenseNeuron:
    """One neuron's run and its Jacobian, step by step and entry by entry."""

    def __init__(self, case: Case, j: int) -> None:
        neuron, given_ = case.neuron, case.arrays()
        hard, v = neuron.reset == "hard", float(given_["potential"][j])
        self.h, self.s, self.psi = [], [], []
        self.after = []  # dv_t/dh_t
        for current in given_["current"][:, j]:
            h = neuron.leak * v + float(current) + (1 - neuron.leak) * neuron.reset_value * hard
            s = float(h >= neuron.threshold if neuron.fires == ">=" else h > neuron.threshold)
            psi = neuron.surrogate.height * PSI[neuron.surrogate.shape](
                h - neuron.threshold, neuron.surrogate.slope
            )
            through = 0.0 if neuron.detach_reset else psi
            if hard:
                v, after = (neuron.reset_value if s else h), 1 - s + (neuron.reset_value - h) * through
            else:
                v, after = h - neuron.threshold * s, 1 - neuron.threshold * through
            for record, value in ((self.h, h), (self.s, s), (self.psi, psi), (self.after, after)):
                record.append(value)
        self.v, self.leak, steps = v, neuron.leak, case.steps
        # response[tau, t] = dh_tau/dI_t
        self.response = np.zeros((steps, steps))
        for t in range(steps):
            for tau in range(t, steps):
                factors = [self.leak * self.after[u] for u in range(t, tau)]
                self.response[tau, t] = np.prod(factors)
        self.jacobian = np.array(self.psi)[:, None] * self.response


def live(case: Case) -> Case:
    """Cases with a spike and, where there is more than one step, a memory."""
    assume(case.neuron.leak > 0 and case.steps > 1)
    neurons = [DenseNeuron(case, j) for j in range(case.size)]
    off_diagonal = max(np.abs(np.tril(neuron.jacobian, -1)).max() for neuron in neurons)
    assume(any(any(neuron.s) for neuron in neurons) and off_diagonal > 1e-3)
    note(f"seed {case.seed}")
    event(f"{case.neuron.reset}, {'detached' if case.neuron.detach_reset else 'through the reset'}")
    return case


def close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    error = np.abs(found - expected).max() / max(np.abs(expected).max(), SMALLEST_SCALE)
    assert error < 1e-12, f"{what}: off by {error:.1e}"


@pytest.mark.parametrize("backend", ANY_BACKEND)
@given(case=cases().map(live))
@settings(max_examples=30)
def test_every_kernel_is_its_contraction(backend, case):
    found, given_ = run(spiking_kernels(backend), case), case.arrays()
    steps = case.steps
    for j in range(case.size):
        neuron = DenseNeuron(case, j)
        close(found["h"][:, j], np.array(neuron.h), "charged")
        np.testing.assert_array_equal(found["s"][:, j], neuron.s)
        close(found["v"][j], np.array(neuron.v), "potential")

        # Backward: only pairs in one window, counted from the end, are connected.
        window = case.window or steps + 1
        block = (steps - 1 - np.arange(steps)) // window
        connected = block[:, None] == block[None, :]
        adjoint = (connected * neuron.jacobian).T @ given_["spike_adjoint"][:, j]
        adjoint += given_["potential_adjoint"][j] * neuron.after[-1] * (connected * neuron.response)[-1]
        close(found["current_adjoint"][:, j], adjoint, "current adjoint")
        open_start = case.window == 0 or steps % case.window != 0
        close(found["potential_adjoint"][j], open_start * neuron.leak * adjoint[0], "potential adjoint")

        # Rate: the sum over the whole triangle.
        close(found["rate.slope_sum"][j], neuron.jacobian.sum(), "slope sum")
        close(found["rate.spike_sum"][j], np.sum(neuron.s), "spike sum")
        following = 1 + neuron.leak * neuron.after[-1] * neuron.response[-1].sum()
        close(found["rate.trace"][j], following, "trace")
        np.testing.assert_array_equal(found["rate.s"][:, j], neuron.s)

        # Galerkin: the triangle in the basis.
        basis = given_["basis"]
        close(found["galerkin.gains"][:, :, j], basis @ neuron.jacobian @ basis.T, "gains")
        close(found["galerkin.coefficients"][:, j], basis @ neuron.s, "coefficients")
        close(found["galerkin.traces"][:, j], basis @ neuron.response[-1], "traces")
        close(found["galerkin.factor"][j], np.array(neuron.leak * neuron.after[-1]), "factor")
