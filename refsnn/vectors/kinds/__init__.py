"""The kinds of vectors, one file each."""

from refsnn.vectors.case import Kind
from refsnn.vectors.kinds.adaptive_network.kind import ADAPTIVE_NETWORK
from refsnn.vectors.kinds.attentive_network.kind import ATTENTIVE_NETWORK
from refsnn.vectors.kinds.checkpoint_schedules.kind import CHECKPOINT_SCHEDULES
from refsnn.vectors.kinds.deep_rewiring.kind import DEEP_REWIRING
from refsnn.vectors.kinds.equilibrium_network.kind import EQUILIBRIUM_NETWORK
from refsnn.vectors.kinds.manifold_maps.kind import MANIFOLD_MAPS
from refsnn.vectors.kinds.manifold_network.kind import MANIFOLD_NETWORK
from refsnn.vectors.kinds.recurrent_network.kind import RECURRENT_NETWORK
from refsnn.vectors.kinds.spiking_network.kind import SPIKING_NETWORK
from refsnn.vectors.kinds.spiking_neuron.kind import SPIKING_NEURON

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        SPIKING_NEURON,
        SPIKING_NETWORK,
        ADAPTIVE_NETWORK,
        DEEP_REWIRING,
        MANIFOLD_MAPS,
        MANIFOLD_NETWORK,
        RECURRENT_NETWORK,
        CHECKPOINT_SCHEDULES,
        ATTENTIVE_NETWORK,
        EQUILIBRIUM_NETWORK,
    )
}
