"""Theorem 2: bounds on the error, sample by sample, without the paper's assumptions.

With E^l = D^l - mean_t delta^I_t the error of the rate pass at layer l and eta^l = -cov_t(kappa^l, delta^{s,l}) what
it adds there, the exact recursion (R2) gives by the triangle inequality

    |E^l| <= |diag(g^l) W^{l+1 T}|_2 |E^{l+1}| + |eta^l|,

and where every such operator norm is at most 1, |E^l| is at most the sum of |eta| from l up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation, simulate
from refsnn.models.losses import LOSSES
from validation.claims.rate_backpropagation.equalities import EXACT, SMOOTH, random_neuron
from validation.claims.rate_backpropagation.reference import adjoints, record_run
from validation.ledger import Measured, VacuousError, claim, require
from validation.nets import LIVE, RESETS, Case, live_case

HIDDEN, BATCH = (24, 24, 24, 24), 4


@dataclass(frozen=True)
class Level:
    """One layer and one sample: norms of E, D and eta, and the operator norm of the way down to it."""

    error: float
    size: float
    covariance: float
    passing: float


def slopes_of(case: Case) -> dict[str, np.ndarray]:
    """g of each layer, (B, n), as the package simulates it."""
    return simulate(case.model, case.parameters, case.inputs, backend="cpu").slopes


def way_down(slope: np.ndarray, weight: np.ndarray) -> float:
    """Spectral norm of diag(g^l) W^{l+1 T}, g of one sample."""
    return float(np.linalg.norm(slope[:, None] * weight.T, 2))


def one_sample(case: Case, sample: int) -> Case:
    """The same network on one sample of the batch; its bias gradients are the errors themselves."""
    return replace(case, inputs=case.inputs[:, [sample]].copy(), targets=case.targets[[sample]])


def levels(case: Case) -> list[Level]:
    """From the last hidden layer down, of a case of one sample."""
    steps = len(case.inputs)
    averaged = rate_backpropagation(*case.arguments, scale="paper").gradients
    through_time = bptt(*case.arguments)
    readout_adjoint = (
        LOSSES[case.model.loss_function][1](through_time.diagnostics.outputs, case.targets) / steps
    )
    records, slopes = record_run(case), slopes_of(case)
    series, found, above = adjoints(case, records, readout_adjoint), [], "readout"
    for name in reversed(records):
        rate_error = averaged[f"{name}.bias"]
        kappa = records[name].spike_slope * records[name].traces()
        spike_adjoint = series[name][0]
        covariance = (kappa * spike_adjoint).mean(axis=0) - kappa.mean(axis=0) * spike_adjoint.mean(axis=0)
        found.append(
            Level(
                error=float(np.linalg.norm(rate_error - through_time.gradients[f"{name}.bias"] / steps)),
                size=float(np.linalg.norm(rate_error)),
                covariance=float(np.linalg.norm(covariance)),
                passing=way_down(slopes[name][0], case.parameters[f"{above}.weight"]),
            )
        )
        above = name
    return found


def excess(found: list[Level], with_covariance: bool = True) -> float:
    """By how much the worst layer breaks the bound of one step, in units of its |D|; below 0 if none does."""
    worst, above = -np.inf, 0.0
    for level in found:
        bound = level.passing * above + with_covariance * level.covariance
        worst, above = max(worst, (level.error - bound) / level.size), level.error
    return worst


def summed_excess(found: list[Level], with_covariance: bool = True) -> float:
    """The same for the sum of all that was added from the top down; for non-expansive networks."""
    worst, total = -np.inf, 0.0
    for level in found:
        require(level.passing <= 1 + 1e-12, f"the way down has norm {level.passing}, above 1")
        total += with_covariance * level.covariance
        worst = max(worst, (level.error - total) / level.size)
    return worst


def without_expansion(case: Case) -> Case:
    """Weights above the first layer shrunk until no sample's way down expands.

    From the bottom up, for each shrinking changes the run of all layers above it.
    """
    parameters = dict(case.parameters)
    names = [f"layer.{index}" for index in case.model.hidden]
    for below, name in zip(names, [*names[1:], "readout"], strict=True):
        slope = slopes_of(replace(case, parameters=parameters))[below]
        largest = max(way_down(one, parameters[f"{name}.weight"]) for one in slope)
        parameters[f"{name}.weight"] = parameters[f"{name}.weight"] / max(1.0, largest)
    return replace(case, parameters=parameters)


def live_without_expansion(rng: np.random.Generator, case: Case) -> Case:
    """Such a network in which every layer fires, its biases raised for what the weights have lost."""
    for _ in range(100):
        raised = dict(case.parameters)
        for index in case.model.hidden:
            raised[f"layer.{index}.bias"] = raised[f"layer.{index}.bias"] + rng.uniform(
                0, case.model.neuron.threshold
            )
        found = without_expansion(replace(case, parameters=raised))
        fired = bptt(*found.arguments).diagnostics.spike_rates.values()
        if all(LIVE[0] < rate < LIVE[1] for rate in fired):
            return found
    raise VacuousError(f"no live network without expansion in 100 tries, neuron {case.model.neuron}")


@claim(
    "rate_backpropagation/Theorem2",
    r"Sample by sample $\|E^l\|\le\|\mathrm{diag}(g^l)W^{l+1\top}\|_2\,\|E^{l+1}\|+\|\eta^l\|$ with "
    r"$\eta^l=-\mathrm{cov}_t(\kappa^l,\delta^{s,l})$, in any network. With weights rescaled until each of these norms is at most "
    r"1, $\|E^{L-k}\|\le\sum_{j\le k}\|\eta^{L-j}\|$. That they may be taken so without loss of generality, as the paper has "
    r"it, is a restriction: the random networks expand.",
    source="Yu 2024, Theorem 2, without its assumptions; the exact relation (R2)",
    metric=r"largest excess of $\|E^l\|$ over either bound, in units of $\|D^l\|$, four resets, each layer and sample",
    relation="<=",
    bound=EXACT,
    control=r"the bounds without $\|\eta^l\|$, as if Theorem 1's assumptions held",
)
def bounded_error(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {"largest operator norm": 0.0, "largest error over |D|": 0.0}
    for neuron in RESETS:
        case = live_case(rng, HIDDEN, random_neuron(rng, neuron, SMOOTH), static=False, batch=BATCH)
        shrunk = live_without_expansion(rng, case)
        single, rescaled = (
            [levels(one_sample(each, sample)) for sample in range(BATCH)] for each in (case, shrunk)
        )
        for found in (*single, *rescaled):
            require(min(level.size for level in found) > 1e-9, "nothing reaches a layer")
            values.append(excess(found))
        values += [summed_excess(found) for found in rescaled]
        controls += [max(excess(found, with_covariance=False) for found in single)]
        controls += [max(summed_excess(found, with_covariance=False) for found in rescaled)]
        details["largest operator norm"] = max(
            details["largest operator norm"], *(level.passing for found in single for level in found[1:])
        )
        details["largest error over |D|"] = max(
            details["largest error over |D|"], *(v.error / v.size for found in single for v in found)
        )
    require(details["largest operator norm"] > 1, "no network expands")
    return Measured(max(values), min(controls), details)
