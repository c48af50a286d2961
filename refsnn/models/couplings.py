"""Couplings: one matrix between two layers, felt in both directions.

Layers are numbered from the output: layer 0 is the output, layer N - 1 is next to the input, and
"layer N" is the static input x.  A coupling (post, pre) has a weight W (d_post, d_pre) and a bias of the
post layer.  Both layers feel it: post receives W h_pre + b, and pre (unless it is the input) receives
W^T h_post, or V h_post with a feedback matrix V of its own in an untied (vector-field) network.
States are rows, so W acts as ``h_pre @ W.T`` on the way up and ``h_post @ W`` on the way down.

`Wiring` has the linear maps that a network is made of: what arrives at each layer, its tangent and its
adjoint, and the Hebbian products.  It knows nothing of activations and steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters

Arrays = dict[int, np.ndarray]  # one array a layer; key N is the input


@dataclass(frozen=True)
class Wiring:
    """Which layer is coupled to which.

    Parameters
    ----------
    couplings : tuple of (post, pre)
        With post < pre <= N.
    depth : int
        N, the number of layers that move.
    tied : bool
        Whether feedback is W^T (True) or a matrix of its own (False).

    Examples
    --------
    >>> Wiring(((0, 1),), depth=1, tied=True).names
    {(0, 1): 'coupling.0.1'}
    """

    couplings: tuple[tuple[int, int], ...]
    depth: int
    tied: bool

    @cached_property
    def names(self) -> dict[tuple[int, int], str]:
        """(post, pre) to the common beginning of the coupling's parameter names."""
        return {(post, pre): f"coupling.{post}.{pre}" for post, pre in self.couplings}

    def shapes(self, widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter: weight, bias and (untied) feedback of each coupling."""
        shapes: dict[str, tuple[int, ...]] = {}
        for (post, pre), name in self.names.items():
            shapes[f"{name}.weight"] = (widths[post], widths[pre])
            shapes[f"{name}.bias"] = (widths[post],)
            if not self.tied and pre < self.depth:
                shapes[f"{name}.feedback"] = (widths[pre], widths[post])
        return shapes

    def static_drive(self, parameters: Parameters, input_rate: np.ndarray) -> Arrays:
        """Biases, and W h_N(x) of the couplings that read the input."""
        drive: Arrays = {}
        for (post, pre), name in self.names.items():
            share = parameters[f"{name}.bias"]
            if pre == self.depth:
                share = input_rate @ parameters[f"{name}.weight"].T + share
            drive[post] = drive[post] + share if post in drive else share
        return drive

    def potentials(self, parameters: Parameters, rates: Arrays, drive: Arrays) -> Arrays:
        """(E12), (E15): u_n, what arrives at each layer, drive included."""
        potentials = dict(drive)
        for (post, pre), name in self.names.items():
            if pre == self.depth:
                continue
            weight = parameters[f"{name}.weight"]
            feedback = weight if self.tied else parameters[f"{name}.feedback"].T
            potentials[post] = rates[pre] @ weight.T + potentials[post]
            potentials[pre] = rates[post] @ feedback + potentials[pre]
        return potentials

    def pull_back(self, parameters: Parameters, delta: Arrays) -> Arrays:
        """What `delta` = dL/du sends back to the rates of each layer: the brackets of (E22), (E23)."""
        back: Arrays = {}
        for (post, pre), name in self.names.items():
            if pre == self.depth:
                continue
            weight = parameters[f"{name}.weight"]
            feedback = weight.T if self.tied else parameters[f"{name}.feedback"]
            for layer, share in ((pre, delta[post] @ weight), (post, delta[pre] @ feedback)):
                back[layer] = back[layer] + share if layer in back else share
        return back

    def parameter_share(self, delta: Arrays, rates: Arrays) -> Parameters:
        """This step's dL/dtheta; a tied weight collects twice because it is used twice (E22), (E23)."""
        share: Parameters = {}
        for (post, pre), name in self.names.items():
            share[f"{name}.weight"] = delta[post].T @ rates[pre]
            share[f"{name}.bias"] = delta[post].sum(axis=0)
            if pre == self.depth:
                continue
            if self.tied:
                share[f"{name}.weight"] += rates[post].T @ delta[pre]
            else:
                share[f"{name}.feedback"] = delta[pre].T @ rates[post]
        return share

    def potential_tangents(
        self,
        parameters: Parameters,
        rates: Arrays,
        rate_tangents: Arrays,
        parameter_tangents: Parameters,
    ) -> Arrays:
        """du of every layer for tangents of rates (..., B, d) and of parameters (..., shape)."""

        def transposed(array: np.ndarray) -> np.ndarray:
            return np.swapaxes(array, -1, -2)

        tangents: Arrays = {}

        def arrive(layer: int, amount: np.ndarray) -> None:
            tangents[layer] = tangents[layer] + amount if layer in tangents else amount

        for (post, pre), name in self.names.items():
            weight_tangent = parameter_tangents[f"{name}.weight"]
            arrive(post, rates[pre] @ transposed(weight_tangent))
            arrive(post, parameter_tangents[f"{name}.bias"][..., None, :])
            if pre == self.depth:
                continue
            weight = parameters[f"{name}.weight"]
            arrive(post, rate_tangents[pre] @ weight.T)
            if self.tied:
                arrive(pre, rates[post] @ weight_tangent + rate_tangents[post] @ weight)
            else:
                feedback, feedback_tangent = (
                    parameters[f"{name}.feedback"],
                    parameter_tangents[f"{name}.feedback"],
                )
                arrive(pre, rates[post] @ transposed(feedback_tangent) + rate_tangents[post] @ feedback.T)
        return tangents

    def primitive_function(self, parameters: Parameters, rates: Arrays) -> Any:
        """(E11); section 2.4 where h = s: Phi = sum of h_post . (W h_pre + b) over couplings and batch."""
        return sum(
            (rates[post] * (rates[pre] @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"])).sum()
            for (post, pre), name in self.names.items()
        )

    def hebbian_products(self, rates: Arrays) -> Parameters:
        """dPhi/dtheta summed over the batch: h_post h_pre^T for weights, h_post for biases."""
        products: Parameters = {}
        for (post, pre), name in self.names.items():
            products[f"{name}.weight"] = rates[post].T @ rates[pre]
            products[f"{name}.bias"] = rates[post].sum(axis=0)
        return products


def checked_couplings(value: Any, depth: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs (post, pre), or say which of them describes no coupling; none at all are fine.

    Raises
    ------
    TypeError, ValueError
        If an entry is no pair, does not point downwards, comes twice, or a layer has no coupling.

    Examples
    --------
    >>> checked_couplings([[0, 1], [1, 2]], depth=2)
    ((0, 1), (1, 2))
    """
    if not isinstance(value, (tuple, list)):
        raise TypeError(
            "couplings: expected a sequence of pairs (post, pre), or () for the chain of all layers, "
            f"got {value!r}"
        )
    couplings = []
    for index, pair in enumerate(value):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"couplings[{index}]: expected a pair (post, pre), got {pair!r}")
        post, pre = (checks.count(f"couplings[{index}]", layer, minimum=0) for layer in pair)
        if not post < pre <= depth:
            raise ValueError(f"couplings[{index}]: expected post < pre <= {depth}, got {(post, pre)}")
        couplings.append((post, pre))
    if len(set(couplings)) != len(couplings):
        raise ValueError(f"couplings: expected each pair once, got {couplings}")
    missing = sorted(set(range(depth)) - {post for post, _ in couplings})
    if couplings and missing:
        raise ValueError(
            f"couplings: expected every layer below {depth} as post of some pair, missing {missing}"
        )
    return tuple(couplings)
