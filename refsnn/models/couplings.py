"""Couplings: one weight between two layers, felt in both directions.

Layers are numbered from the output: layer 0 is the output, layer N - 1 is next to the input, and
"layer N" is the static input x.  A coupling (post, pre) has a weight W and a bias of the post layer.  Both
layers feel it: post receives W h_pre + b, and pre (unless it is the input) receives the adjoint W^T h_post,
or V h_post with a feedback V of its own in an untied (vector-field) network.  What W h means, a matrix
product or a correlation with pooling, is the business of the coupling's map.

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
from refsnn.models.coupling_maps import CouplingMap, Record

Arrays = dict[int, np.ndarray]  # one array a layer; key N is the input
Records = dict[tuple[int, int], Record]  # one a coupling


@dataclass(frozen=True)
class Wiring:
    """Which layer is coupled to which, and how.

    Parameters
    ----------
    maps : dict of (post, pre) to CouplingMap
        With post < pre <= N.
    depth : int
        N, the number of layers that move.
    tied : bool
        Whether feedback is W^T (True) or a weight of its own (False).

    Examples
    --------
    >>> from refsnn.models.coupling_maps import DenseMap
    >>> Wiring({(0, 1): DenseMap((2,), (3,))}, depth=1, tied=True).names
    {(0, 1): 'coupling.0.1'}
    """

    maps: dict[tuple[int, int], CouplingMap]
    depth: int
    tied: bool

    @cached_property
    def names(self) -> dict[tuple[int, int], str]:
        """(post, pre) to the common beginning of the coupling's parameter names."""
        return {(post, pre): f"coupling.{post}.{pre}" for post, pre in self.maps}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter: weight, bias and (untied) feedback of each coupling."""
        shapes: dict[str, tuple[int, ...]] = {}
        for (post, pre), name in self.names.items():
            coupling = self.maps[post, pre]
            shapes[f"{name}.weight"] = coupling.weight_shape()
            shapes[f"{name}.bias"] = (coupling.bias_width(),)
            if not self.tied and pre < self.depth:
                shapes[f"{name}.feedback"] = coupling.feedback_shape()
        return shapes

    def feedback(self, parameters: Parameters, pair: tuple[int, int]) -> np.ndarray:
        """What pre hears post through, as a weight: W itself where tied."""
        name = self.names[pair]
        if self.tied:
            return parameters[f"{name}.weight"]
        return self.maps[pair].as_weight(parameters[f"{name}.feedback"])

    def records(self, parameters: Parameters, rates: Arrays) -> Records:
        """iota of every coupling whose pre is among `rates`: where the maxima of its pooling stand."""
        return {
            (post, pre): self.maps[post, pre].record(parameters[f"{name}.weight"], rates[pre])
            for (post, pre), name in self.names.items()
            if pre in rates
        }

    def static_drive(self, parameters: Parameters, input_rate: np.ndarray) -> Arrays:
        """Biases, and W h_N(x) of the couplings that read the input."""
        drive: Arrays = {}
        for (post, pre), name in self.names.items():
            coupling, weight = self.maps[post, pre], parameters[f"{name}.weight"]
            share = coupling.spread_bias(parameters[f"{name}.bias"])
            if pre == self.depth:
                share = coupling.up(weight, input_rate, coupling.record(weight, input_rate)) + share
            drive[post] = drive[post] + share if post in drive else share
        return drive

    def potentials(self, parameters: Parameters, rates: Arrays, drive: Arrays, records: Records) -> Arrays:
        """(E12), (E15), (E19): u_n, what arrives at each layer, drive included."""
        potentials = dict(drive)
        for (post, pre), name in self.names.items():
            if pre == self.depth:
                continue
            coupling, record = self.maps[post, pre], records[post, pre]
            weight, feedback = parameters[f"{name}.weight"], self.feedback(parameters, (post, pre))
            potentials[post] = coupling.up(weight, rates[pre], record) + potentials[post]
            potentials[pre] = coupling.down(feedback, rates[post], record) + potentials[pre]
        return potentials

    def pull_back(self, parameters: Parameters, delta: Arrays, records: Records) -> Arrays:
        """What `delta` = dL/du sends back to the rates of each layer: the brackets of (E22), (E23)."""
        back: Arrays = {}
        for (post, pre), name in self.names.items():
            if pre == self.depth:
                continue
            coupling, record = self.maps[post, pre], records[post, pre]
            weight, feedback = parameters[f"{name}.weight"], self.feedback(parameters, (post, pre))
            to_pre = coupling.down(weight, delta[post], record)
            to_post = coupling.up(feedback, delta[pre], record)
            for layer, share in ((pre, to_pre), (post, to_post)):
                back[layer] = back[layer] + share if layer in back else share
        return back

    def parameter_share(self, delta: Arrays, rates: Arrays, records: Records) -> Parameters:
        """This step's dL/dtheta; a tied weight collects twice because it is used twice (E22), (E23)."""
        share: Parameters = {}
        for (post, pre), name in self.names.items():
            coupling, record = self.maps[post, pre], records[post, pre]
            share[f"{name}.weight"] = coupling.products(delta[post], rates[pre], record)
            share[f"{name}.bias"] = coupling.bias_products(delta[post])
            if pre == self.depth:
                continue
            downward = coupling.products(rates[post], delta[pre], record)
            if self.tied:
                share[f"{name}.weight"] += downward
            else:
                share[f"{name}.feedback"] = coupling.as_weight(downward)
        return share

    def potential_tangents(
        self,
        parameters: Parameters,
        rates: Arrays,
        rate_tangents: Arrays,
        parameter_tangents: Parameters | None,
        records: Records,
    ) -> Arrays:
        """du of every layer, for tangents (..., B, *shape) of rates and perhaps of parameters."""
        tangents: Arrays = {}

        def arrive(layer: int, amount: np.ndarray) -> None:
            tangents[layer] = tangents[layer] + amount if layer in tangents else amount

        for (post, pre), name in self.names.items():
            coupling = self.maps[post, pre]
            if pre < self.depth:
                weight, feedback = parameters[f"{name}.weight"], self.feedback(parameters, (post, pre))
                arrive(post, coupling.up(weight, rate_tangents[pre], records[post, pre]))
                arrive(pre, coupling.down(feedback, rate_tangents[post], records[post, pre]))
            if parameter_tangents is None:
                continue
            moved = parameter_tangents[f"{name}.weight"]
            arrive(post, coupling.up(moved, rates[pre], records[post, pre]))
            arrive(post, coupling.spread_bias(parameter_tangents[f"{name}.bias"]))
            if pre < self.depth:
                moved = self.feedback(parameter_tangents, (post, pre))
                arrive(pre, coupling.down(moved, rates[post], records[post, pre]))
        for layer in range(self.depth):
            if layer not in tangents:  # it hears the input alone
                arrive(layer, np.zeros_like(rate_tangents[layer]))
        return tangents

    def primitive_function(self, parameters: Parameters, rates: Arrays, records: Records) -> Any:
        """(E11), (E18): Phi = sum over couplings and batch of <h_post, W h_pre + b>."""
        total: Any = 0
        for (post, pre), name in self.names.items():
            coupling = self.maps[post, pre]
            arriving = coupling.up(parameters[f"{name}.weight"], rates[pre], records[post, pre])
            bias = coupling.spread_bias(parameters[f"{name}.bias"])
            total = total + (rates[post] * (arriving + bias)).sum()
        return total

    def hebbian_products(self, rates: Arrays, records: Records) -> Parameters:
        """dPhi/dtheta summed over the batch: h_post h_pre^T or (E20) for weights, h_post for biases."""
        products: Parameters = {}
        for (post, pre), name in self.names.items():
            coupling = self.maps[post, pre]
            products[f"{name}.weight"] = coupling.products(rates[post], rates[pre], records[post, pre])
            products[f"{name}.bias"] = coupling.bias_products(rates[post])
        return products

    def hebbian_contrast(
        self, after: Arrays, before: Arrays, records: tuple[Records, Records], scale: complex
    ) -> Parameters:
        """scale times the `hebbian_products` of `after` less those of `before`.

        The factor meets the rates, not the far larger products; and where both sides read the same input
        the difference of two products is the product of a difference.
        """
        products: Parameters = {}
        for (post, pre), name in self.names.items():
            coupling, weight = self.maps[post, pre], f"{name}.weight"
            later, earlier = (record[post, pre] for record in records)
            moved = scale * (after[post] - before[post])
            products[f"{name}.bias"] = coupling.bias_products(moved)
            if pre == self.depth:
                products[weight] = coupling.products(moved, after[pre], later)
            else:
                products[weight] = coupling.products(scale * after[post], after[pre], later)
                products[weight] -= coupling.products(scale * before[post], before[pre], earlier)
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
