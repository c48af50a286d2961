"""Hypothesis strategies that draw live examples: neurons, layers, networks of every kind in this package.

    seeds, dtypes, shapes               the small parts
    surrogates, spiking_neurons         every psi; every reset, comparison and detachment
    currents                            at a wanted firing rate, with a margin to the threshold
    layers                              one layer with its currents, and the awkward cases by name
    spiking_networks                    dense graphs with loops, or without
    recurrent_networks                  tanh, LSTM, GRU, a spiking layer
    adaptive_networks                   adaptive thresholds, refractory periods, delays
    attentive_networks                  that read their own past
    convergent_networks                 that settle
    graph_networks                      spikes on a graph, points on a manifold

Each draws a seed, shapes and options, and makes the arrays from the seed: random floats make dead networks.
What was drawn is counted with `hypothesis.event` (``pytest --hypothesis-show-statistics``), and what failed
is printed as a call that makes it again.  Needs hypothesis: ``pip install refsnn[testing]``.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError(
        "refsnn.testing.strategies: expected the package hypothesis, found none; pip install refsnn[testing]"
    ) from error

from refsnn.testing.strategies.layers import AWKWARD, LayerCase, layer_case, layers
from refsnn.testing.strategies.networks import (
    adaptive_networks,
    attentive_networks,
    convergent_networks,
    graph_networks,
    recurrent_networks,
    spiking_networks,
)
from refsnn.testing.strategies.parts import currents, dtypes, seeds, shapes, spiking_neurons, surrogates

__all__ = [
    "AWKWARD",
    "LayerCase",
    "adaptive_networks",
    "attentive_networks",
    "convergent_networks",
    "currents",
    "dtypes",
    "graph_networks",
    "layer_case",
    "layers",
    "recurrent_networks",
    "seeds",
    "shapes",
    "spiking_networks",
    "spiking_neurons",
    "surrogates",
]
