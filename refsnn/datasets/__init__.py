"""Data for experiments and tests: readers of the original formats, checked at the door.

Nothing is downloaded.  Files are looked for under an explicit path or under ``$REFSNN_DATA``; what is
missing is named, with the place where it can be had.
"""

from refsnn.datasets.aedat import read_aedat2, read_aedat3
from refsnn.datasets.augmentation import random_crop, random_flip
from refsnn.datasets.characters import Vocabulary, character_sequences, load_penn_treebank
from refsnn.datasets.cifar10 import channel_statistics, load_cifar10, standardise
from refsnn.datasets.delayed_xor import DelayedXor, delayed_xor
from refsnn.datasets.digits import load_digits
from refsnn.datasets.encoding import analog_pixels, bernoulli_spikes, population_code, threshold_crossing
from refsnn.datasets.events import Events, between, sort_events
from refsnn.datasets.frames import to_frames
from refsnn.datasets.gesture import read_gestures, read_intervals
from refsnn.datasets.graph_examples import karate_club, stochastic_blocks
from refsnn.datasets.graph_splits import LinkSplit, NodeSplit, absent_pairs, split_links, split_nodes
from refsnn.datasets.graphs import GRAPHS, LabelledGraph, load_graph, read_graph
from refsnn.datasets.idx import read_idx
from refsnn.datasets.labelled import LabelledImages, one_hot
from refsnn.datasets.learning_to_learn import (
    Baselines,
    Episodes,
    Family,
    Sines,
    TwoLayerNetworks,
    baselines,
    draw_episodes,
)
from refsnn.datasets.long_memory import adding_task, copying_task
from refsnn.datasets.mnist import load_mnist
from refsnn.datasets.navigation import Navigation, navigation_rates
from refsnn.datasets.nmnist import EventFiles, load_nmnist, read_nmnist
from refsnn.datasets.pixels import mean_pooled, pixel_sequences
from refsnn.datasets.shd import SpikeTrains, load_shd
from refsnn.datasets.store_recall import (
    RECALL,
    STORE,
    StoreRecall,
    encode_store_recall,
    recall_targets,
    store_recall,
    store_recall_characters,
)
from refsnn.datasets.tasks import order_task, random_templates, spike_templates, two_cue_xor

__all__ = [
    "GRAPHS",
    "RECALL",
    "STORE",
    "Baselines",
    "DelayedXor",
    "Episodes",
    "EventFiles",
    "Events",
    "Family",
    "LabelledGraph",
    "LabelledImages",
    "LinkSplit",
    "Navigation",
    "NodeSplit",
    "Sines",
    "SpikeTrains",
    "StoreRecall",
    "TwoLayerNetworks",
    "Vocabulary",
    "absent_pairs",
    "adding_task",
    "analog_pixels",
    "baselines",
    "bernoulli_spikes",
    "between",
    "channel_statistics",
    "character_sequences",
    "copying_task",
    "delayed_xor",
    "draw_episodes",
    "encode_store_recall",
    "karate_club",
    "load_cifar10",
    "load_digits",
    "load_graph",
    "load_mnist",
    "load_nmnist",
    "load_penn_treebank",
    "load_shd",
    "mean_pooled",
    "navigation_rates",
    "one_hot",
    "order_task",
    "pixel_sequences",
    "population_code",
    "random_crop",
    "random_flip",
    "random_templates",
    "read_aedat2",
    "read_aedat3",
    "read_gestures",
    "read_graph",
    "read_idx",
    "read_intervals",
    "read_nmnist",
    "recall_targets",
    "sort_events",
    "spike_templates",
    "split_links",
    "split_nodes",
    "standardise",
    "stochastic_blocks",
    "store_recall",
    "store_recall_characters",
    "threshold_crossing",
    "to_frames",
    "two_cue_xor",
]
