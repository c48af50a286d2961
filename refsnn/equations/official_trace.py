"""The trace factor of the official code of rate-based backpropagation, where it is not dh_{t+1}/dh_t.

    soft reset, live     leak (1 - psi)              the threshold is missing
    hard reset           leak ((1 - s) - h psi)      whatever is detached, and without the reset value

The code crashes on the way there (its configurations detach a soft reset, where both are right); these are
the factors that it would have used.  For comparisons with it only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba.extending import register_jitable

from refsnn.equations.elementary import Value
from refsnn.equations.spiking import SpikingNeuron, StepConstants, StepEquations


@register_jitable
def official_soft_reset_slope(
    charged: Value, spike: Value, spike_slope: Value, threshold: Value, reset_value: Value, one: Value
) -> Value:
    """1 - kappa.

    Examples
    --------
    >>> official_soft_reset_slope(1.5, 1.0, 0.25, 2.0, 0.0, 1.0)
    0.75
    """
    return one - spike_slope


@register_jitable
def official_hard_reset_slope(
    charged: Value, spike: Value, spike_slope: Value, threshold: Value, reset_value: Value, one: Value
) -> Value:
    """(1 - s) - h psi.

    Examples
    --------
    >>> official_hard_reset_slope(1.5, 1.0, 0.5, 1.0, 0.25, 1.0)
    -0.75
    """
    return (one - spike) - charged * spike_slope


@dataclass(frozen=True)
class OfficialTraceNeuron(SpikingNeuron):
    """A neuron that runs as any other, with the official code's reset slope.

    Parameters
    ----------
    As `SpikingNeuron`.

    Examples
    --------
    >>> slope = OfficialTraceNeuron(threshold=2.0, detach_reset=False).equations.reset_slope
    >>> slope(1.5, 1.0, 0.25, 2.0, 0.0, 1.0)
    0.75
    """

    @property
    def equations(self) -> StepEquations:
        """Those of the neuron, but for the reset slope."""
        slope = official_hard_reset_slope if self.reset == "hard" else official_soft_reset_slope
        return super().equations._replace(reset_slope=slope)

    def constants(self, dtype: np.dtype | type) -> StepConstants:
        """Those of the neuron; a hard reset is never detached."""
        found = super().constants(dtype)
        return found._replace(attached=found.one) if self.reset == "hard" else found
