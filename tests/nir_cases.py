"""NIR graphs for tests: one of every kind of node, a neuron alone, and where the real files are."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from refsnn.datasets.files import data_folder
from refsnn.nir import NirGraph, Node

WHERE = "get them from the repository of the NIR paper (neuromorphs/NIR, folder paper)"


def real_folder(name: str) -> Path:
    """A folder of the real data, or the test is skipped with the message that a user gets."""
    if not os.environ.get("REFSNN_DATA"):
        with pytest.raises(FileNotFoundError) as missing:
            data_folder(None, "nir", "NIR graphs and traces", WHERE)
        pytest.skip(str(missing.value))
    return data_folder(None, "nir", "NIR graphs and traces", WHERE) / name


def neuron(kind: str, rng: np.random.Generator | None = None, shape=(1,), **changed) -> Node:
    """A neuron of that kind; its arrays are drawn around sensible values with a generator."""

    def about(value: float) -> np.ndarray:
        spread = np.ones(shape) if rng is None else rng.uniform(0.8, 1.25, shape)
        return value * spread

    values = {
        "tau": about(5e-3),
        "tau_mem": about(5e-3),
        "tau_syn": about(2e-3),
        "r": about(1.2),
        "v_leak": about(0.05),
        "v_threshold": about(0.4),
        "v_reset": about(-0.1),
        "w_in": about(0.9),
    }
    wanted = {
        "I": ("r",),
        "LI": ("tau", "r", "v_leak"),
        "IF": ("r", "v_threshold", "v_reset"),
        "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
        "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    }[kind]
    return Node(kind, {name: values[name] for name in wanted} | changed)


def chain(*nodes: Node, shape=(1,), out=None) -> NirGraph:
    """Input, the nodes as n0, n1, ..., Output."""
    names = ["in", *(f"n{index}" for index in range(len(nodes))), "out"]
    found = {"in": Node("Input", {"shape": list(shape)})}
    found |= dict(zip(names[1:-1], nodes, strict=True))
    found["out"] = Node("Output", {"shape": list(out or shape)})
    return NirGraph(found, list(pairwise(names)))


def paper_neuron() -> NirGraph:
    """The graph of lif_norse.nir."""
    f = np.float32
    affine = Node("Affine", {"weight": np.ones((1, 1), f), "bias": np.zeros(1, f)})
    lif = Node(
        "LIF",
        {
            "tau": np.array([0.0025], f),
            "r": np.array([1.0], f),
            "v_leak": np.array([0.0], f),
            "v_threshold": np.array([0.1], f),
        },
    )
    return chain(affine, lif)


def every_kind(rng: np.random.Generator, dtype=np.float64) -> NirGraph:
    """One node of each kind, with a circle, a sum and a delay."""

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    def same(kind, shape=(6,)):
        values = {
            name: value.astype(dtype) if value.dtype.kind == "f" else value
            for name, value in neuron(kind, rng, shape).values.items()
        }
        return Node(kind, values, {"made by": "a test", "seed": 3})

    convolution = {
        "weight": draw(4, 1, 3, 2),
        "bias": draw(4),
        "stride": np.array([2, 1]),
        "padding": np.array([1, 0]),
        "dilation": np.array([1, 2]),
        "groups": np.array(2),
        "input_shape": np.array([9, 8]),
    }
    pool = {"kernel_size": np.array([2, 2]), "stride": np.array([1, 2]), "padding": np.array([0, 1])}
    nodes = {
        "in": Node("Input", {"shape": np.array([2, 9, 8])}),
        "conv2d": Node("Conv2d", convolution),
        "sum": Node("SumPool2d", pool),
        "mean": Node("AvgPool2d", pool),
        "flat": Node("Flatten", {"start_dim": np.array(1), "end_dim": np.array(-1)}),
        "conv1d": Node(
            "Conv1d",
            {
                "weight": draw(2, 4, 3),
                "bias": draw(2),
                "stride": np.array(2),
                "padding": "valid",
                "dilation": np.array(1),
                "groups": np.array(1),
            },
        ),
        "flatter": Node("Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)}),
        "w": Node("Linear", {"weight": draw(6, 8)}),
        "lif": same("LIF"),
        "loop": Node("Affine", {"weight": draw(6, 6), "bias": draw(6)}),
        "cuba": same("CubaLIF"),
        "if": same("IF"),
        "wait": Node("Delay", {"delay": np.full(6, 2e-3, dtype)}),
        "scale": Node("Scale", {"scale": draw(6)}),
        "li": same("LI"),
        "i": same("I"),
        "cubali": same("CubaLI"),
        "over": Node("Threshold", {"threshold": draw(6)}),
        "out": Node("Output", {"shape": np.array([6])}),
        "potential": Node("Output", {"shape": np.array([6])}),
    }
    names = ["in", "conv2d", "sum", "mean", "flat", "conv1d", "flatter", "w", "lif", "cuba", "if", "wait"]
    names += ["scale", "li", "i", "cubali", "over", "out"]
    edges = [*pairwise(names), ("lif", "loop"), ("loop", "lif"), ("scale", "cubali")]
    return NirGraph(nodes, [*edges, ("cubali", "potential")], {"about": "every kind"})
