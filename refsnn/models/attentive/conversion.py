"""Parameters from and to the layouts of the authors' codes (PyTorch, Ke 2018).

    here                        release                  development code
    cell.input_weight           lstm1.weight_ih          lstm1.weight_ih          gates i, f, g, o
    cell.recurrent_weight       lstm1.weight_hh          lstm1.weight_hh
    cell.input_bias             lstm1.bias_ih            lstm1.bias_ih
    cell.recurrent_bias         lstm1.bias_hh            lstm1.bias_hh
    attention.query_weight      w_t[:H].T                w_t[:H].T                (2 H, A), query first
    attention.memory_weight     w_t[H:].T                w_t[H:].T
    attention.score_weight                               w_t_2[:, 0]              (A, 1)
    readout.weight              fc.weight[:, :H]         fc.weight[:, :H]
    readout.summary_weight      fc.weight[:, H:]         fc.weight[:, H:]
    readout.bias                fc.bias                  fc.bias

The release has the separable score, A = 1; the adding model of the development code calls its first matrix
w_t_1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.contract import Parameters

CELL = {
    "cell.input_weight": "lstm1.weight_ih",
    "cell.recurrent_weight": "lstm1.weight_hh",
    "cell.input_bias": "lstm1.bias_ih",
    "cell.recurrent_bias": "lstm1.bias_hh",
}
FIRST_NAMES = "w_t", "w_t_1"


def from_author_layout(network: AttentiveNetwork, arrays: Mapping[str, Any]) -> Parameters:
    """Parameters of a network from those of the release or of the development code.

    Parameters
    ----------
    network : AttentiveNetwork
        With an LSTM; the separable score for the release, another for the development code.
    arrays : mapping of str to array_like
        As in the table above: a state dict, on the CPU.

    Returns
    -------
    dict of str to ndarray
        As `network.parameter_shapes()` says.

    Raises
    ------
    TypeError, ValueError
        For missing or unknown names, and shapes that do not fit.

    Examples
    --------
    >>> network = AttentiveNetwork((3, 8, 4), top=2, store_every=2, score="separable")
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> sorted(to_author_layout(network, parameters))[:3]
    ['fc.bias', 'fc.weight', 'lstm1.bias_hh']
    >>> again = from_author_layout(network, to_author_layout(network, parameters))
    >>> all(np.array_equal(again[name], value) for name, value in parameters.items())
    True
    """
    _only_lstm(network)
    if not isinstance(arrays, Mapping):
        raise TypeError(f"arrays: expected a dict of arrays, got {type(arrays).__name__}")
    units, width = network.widths[1], network.attention_width
    first = next((name for name in FIRST_NAMES if name in arrays), FIRST_NAMES[0])
    shapes = {theirs: network.parameter_shapes()[ours] for ours, theirs in CELL.items()}
    shapes |= {first: (2 * units, width), "fc.weight": (network.widths[2], 2 * units)}
    shapes |= {"fc.bias": (network.widths[2],)}
    if network.score != "separable":
        shapes["w_t_2"] = (width, 1)
    given = checks.parameters("arrays", arrays, shapes)
    found = {ours: given[theirs] for ours, theirs in CELL.items()}
    found["attention.query_weight"] = given[first][:units].T
    found["attention.memory_weight"] = given[first][units:].T
    if network.score != "separable":
        found["attention.score_weight"] = given["w_t_2"][:, 0]
    found["readout.weight"] = given["fc.weight"][:, :units]
    found["readout.summary_weight"] = given["fc.weight"][:, units:]
    found["readout.bias"] = given["fc.bias"]
    return {name: np.array(found[name], order="C") for name in network.parameter_shapes()}


def to_author_layout(network: AttentiveNetwork, parameters: Parameters) -> dict[str, np.ndarray]:
    """The other way; the attention's first matrix is called w_t.

    Parameters
    ----------
    network : AttentiveNetwork
        With an LSTM.
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.

    Returns
    -------
    dict of str to ndarray
        As in the table above.

    Raises
    ------
    TypeError, ValueError
        For parameters that do not fit the network.
    """
    _only_lstm(network)
    own = checks.parameters("parameters", parameters, network.parameter_shapes())
    found = {theirs: own[ours].copy() for ours, theirs in CELL.items()}
    found["w_t"] = np.concatenate([own["attention.query_weight"].T, own["attention.memory_weight"].T])
    if network.score != "separable":
        found["w_t_2"] = own["attention.score_weight"][:, None].copy()
    found["fc.weight"] = np.concatenate([own["readout.weight"], own["readout.summary_weight"]], axis=1)
    return found | {"fc.bias": own["readout.bias"].copy()}


def _only_lstm(network: Any) -> None:
    checks.instance(
        "network", network, AttentiveNetwork, "AttentiveNetwork((3, 32, 4), top=5, store_every=2)"
    )
    if network.cell != "lstm":
        raise ValueError(f"network: expected cell='lstm', as the authors' codes have, got {network.cell!r}")
