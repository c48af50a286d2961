"""Links as the published code decodes them: from the logarithms h = P_o Log_o(z^L), taken as plain vectors.

hyperboloid    score h_i.h_j / (|h_i| |h_j|), the cosine, as the logit of a link: no geodesic distance
sphere         p = 1 / (exp((d - r) / t) + 1) with d = arccos(h_i.h_j), though h is no unit vector
flat           the same with d = |h_i - h_j|

Probabilities are clipped to [0.01, 0.99], the sphere's cosine to what arccos can take, and where a clip is at
work no gradient passes.  Pairs are ranked by something else again: the cosine of the summed drives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters
from refsnn.models.manifold.graph import indices
from refsnn.models.manifold.heads import HeadGradient, embedding
from refsnn.models.manifold.maps import Maps
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.official import LEAST_RADIUS, MARGIN
from refsnn.models.manifold.run import ManifoldRun

LEAST_PROBABILITY, LARGEST_PROBABILITY = 0.01, 0.99


@dataclass(frozen=True)
class OfficialLinks:
    """Binary cross-entropy of the published decoder: mean over links plus mean over pairs that are none.

    Parameters
    ----------
    links, absent : array_like of int, (2, E), (2, E')
        Ends of pairs that are linked, and of pairs that are not.
    radius, temperature : float
        r and t; the hyperboloid has none.

    Examples
    --------
    >>> OfficialLinks([[0], [1]], [[0], [2]]).temperature
    1.0
    """

    links: Any
    absent: Any
    radius: float = 2.0
    temperature: float = 1.0

    def check(self, network: ManifoldSpikingNetwork, nodes: int) -> OfficialLinks:
        """See `refsnn.models.manifold.heads.Head.check`.

        Parameters
        ----------
        network : ManifoldSpikingNetwork
            The model.
        nodes : int
            N.

        Returns
        -------
        OfficialLinks
            With arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        if len(network.manifold.factors) != 1:
            raise ValueError(
                f"network: expected one factor, got {network.manifold}: the published decoder says "
                f"nothing of products; use Links"
            )
        checks.number("radius", self.radius)
        checks.number("temperature", self.temperature, 0, low_open=True)
        found = {name: pairs_of(name, getattr(self, name), nodes) for name in ("links", "absent")}
        return replace(self, links=found["links"], absent=found["absent"])

    def loss(
        self,
        network: ManifoldSpikingNetwork,
        parameters: Parameters,
        run: ManifoldRun,
        maps: Maps,
        backend: str,
    ) -> HeadGradient:
        """See `refsnn.models.manifold.heads.Head.loss`."""
        h = embedding(network, run, maps)
        total, by_read, scores = 0.0, np.zeros_like(h), []
        for pairs, linked in ((self.links, True), (self.absent, False)):
            a, b = h[pairs[0]], h[pairs[1]]
            read, losses, by_a, by_b = self._of_pairs(network.manifold.factors[0].curvature, a, b, linked)
            scores.append(read)
            count = h.dtype.type(pairs.shape[1])
            total += float(losses.mean())
            np.add.at(by_read, pairs[0], by_a / count)
            np.add.at(by_read, pairs[1], by_b / count)
        by_point = maps.origin_logarithm_backward(run.points[-1], by_read)
        scaling = np.array([(by_read * h).sum()])
        return HeadGradient(total, by_point, None, None, scaling, np.concatenate(scores))

    def _of_pairs(
        self, curvature: float, a: np.ndarray, b: np.ndarray, linked: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Score or length of each pair, its loss, and the loss's gradients by both ends."""
        if curvature < 0:
            scores, by_a, by_b = _cosine_and_slopes(a, b)
            signed = -scores if linked else scores
            by_score = (-1 if linked else 1) / (1 + np.exp(-signed))
            return scores, np.logaddexp(0, signed), by_score[:, None] * by_a, by_score[:, None] * by_b
        lengths, by_a, by_b = _arc(a, b) if curvature > 0 else _chord(a, b)
        number = a.dtype.type
        p = np.exp(-np.logaddexp(0, (lengths - number(self.radius)) / number(self.temperature)))
        least, largest = number(LEAST_PROBABILITY), number(LARGEST_PROBABILITY)
        clipped = np.clip(p, least, largest)
        # dp/dd = -p (1 - p) / t; of -log p and -log (1 - p) remains one factor, where p is not clipped
        by_length = (1 - p if linked else -p) / number(self.temperature)
        by_length = np.where((p >= least) & (p <= largest), by_length, 0)[:, None]
        losses = -np.log(clipped if linked else 1 - clipped)
        return lengths, losses, by_length * by_a, by_length * by_b


def pairs_of(name: str, value: Any, nodes: int) -> np.ndarray:
    """Pairs of nodes, or say why they are none.

    Parameters
    ----------
    name : str
        Of the argument.
    value : array_like of int, (2, E)
        Ends.
    nodes : int
        N.

    Returns
    -------
    ndarray of int64, (2, E)

    Raises
    ------
    TypeError, ValueError
        For other shapes, numbers that are no integers, and what is no node.
    """
    given = checks.as_numpy(name, value)
    if given.ndim != 2 or given.shape[0] != 2 or not given.shape[1]:
        raise ValueError(f"{name}: expected shape (2, E) with E >= 1, got {given.shape}")
    return np.stack([indices(name, end, nodes) for end in given])


def ranking_scores(network: ManifoldSpikingNetwork, run: ManifoldRun, pairs: Any) -> np.ndarray:
    """By what the published code ranks pairs (AUC, AP): the cosine of P_o (u^0 + .. + u^L), on any manifold.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model.
    run : ManifoldRun
        Its forward pass.
    pairs : array_like of int, (2, E)
        Ends.

    Returns
    -------
    ndarray, (E,)

    Raises
    ------
    TypeError, ValueError
        For pairs that are none.
    """
    summed = run.summed_drive * network.manifold.tangent_mask(run.points[-1].dtype)
    ends = pairs_of("pairs", pairs, len(summed))
    scores, _, _ = _cosine_and_slopes(summed[ends[0]], summed[ends[1]])
    return scores


def _cosine_and_slopes(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a.b / (|a| |b|), lengths at least 1e-8, and its gradients; a floored length is a constant."""
    least = a.dtype.type(LEAST_RADIUS)
    lengths = [np.sqrt((one * one).sum(axis=1)) for one in (a, b)]
    floored = [np.maximum(length, least) for length in lengths]
    scores = (a * b).sum(axis=1) / (floored[0] * floored[1])
    slopes = []
    for own, other, length, floor, far in zip((a, b), (b, a), lengths, floored, floored[::-1], strict=True):
        along = np.where(length >= least, scores / (floor * floor), 0)
        slopes.append(other / (floor * far)[:, None] - along[:, None] * own)
    return scores, slopes[0], slopes[1]


def _arc(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """arccos(a.b), clipped, and its gradients."""
    one, along = a.dtype.type(1), (a * b).sum(axis=1)
    edge = one - a.dtype.type(MARGIN[a.dtype])
    bounded = np.clip(along, -edge, edge)
    slope = np.where(np.abs(along) <= edge, -1 / np.sqrt(one - bounded * bounded), 0)[:, None]
    return np.arccos(bounded), slope * b, slope * a


def _chord(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|a - b| and its gradients; 0 where both are the same."""
    lengths = np.sqrt(((a - b) * (a - b)).sum(axis=1))
    safe = np.where(lengths > 0, lengths, 1)[:, None]
    return lengths, (a - b) / safe, (b - a) / safe
