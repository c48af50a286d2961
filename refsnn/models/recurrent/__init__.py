"""Recurrent networks of the field's standard cells, with a loss that is a sum over steps.

`TanhNetwork`, `LongShortTermMemory` and `GatedRecurrentUnit` are stacks of layers with a linear read-out;
`RecurrentSpikingLayer` is one layer of LIF neurons with a leaky one.  Each is a model of the contract and
brings a working core that allocates nothing per step; the contract's step is one step of that core.
"""

from __future__ import annotations

from refsnn.models.recurrent.gru import GatedRecurrentUnit
from refsnn.models.recurrent.lstm import LongShortTermMemory
from refsnn.models.recurrent.spiking import RecurrentSpikingLayer
from refsnn.models.recurrent.tanh_network import TanhNetwork

__all__ = ["GatedRecurrentUnit", "LongShortTermMemory", "RecurrentSpikingLayer", "TanhNetwork"]
