"""The kinds of vectors, one file each."""

from refsnn.vectors.case import Kind
from refsnn.vectors.kinds.spiking_neuron import SPIKING_NEURON

KINDS: dict[str, Kind] = {kind.name: kind for kind in (SPIKING_NEURON,)}
