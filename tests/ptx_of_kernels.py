"""Every CUDA kernel as PTX; `test_cuda_ptx` runs this file without the simulator and reads what it prints.

A JSON object: `ptx`, texts by "module.kernel/variant/dtype" and, for single equations, "function/dtype";
`kernels`, the names of all kernels that the modules hold, compiled or not; or `unavailable`, why there is no
compiler.  Numba is only imported when it runs: with the simulator its kernels are of another kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# A kernel's name and variant, the function, and the types of its arguments.
Compilation = tuple[str, Callable, tuple[Any, ...]]


def module(name: str) -> Any:
    """One of those with kernels."""
    return import_module(f"refsnn.kernels.cuda.{name}")


def kernel_name(attribute: str) -> str:
    """_lstm_gates and _forward_kernel without what makes them private, or factories."""
    return attribute.removeprefix("_").removesuffix("_kernel")


def all_kernels() -> list[str]:
    """Those of all modules: dispatchers, and the cached functions that make them."""
    kind = import_module("numba.cuda.dispatcher").CUDADispatcher
    folder = Path(import_module("refsnn.kernels.cuda").__file__).parent
    return [
        f"{path.stem}.{kernel_name(attribute)}"
        for path in sorted(folder.glob("[!_]*.py"))
        for attribute, value in vars(module(path.stem)).items()
        if isinstance(value, kind) or (attribute.endswith("_kernel") and hasattr(value, "cache_info"))
    ]


def named(module_name: str, signatures: dict[str, tuple[Any, ...]], dtype: Any) -> Iterator[Compilation]:
    """Kernels that are attributes of a module."""
    for name, signature in signatures.items():
        function = getattr(module(module_name), f"_{name}").py_func
        yield f"{module_name}.{name}//{dtype}", function, signature


def spiking(types: Any, real: Any) -> Iterator[Compilation]:
    """Both resets and comparisons, and all surrogates of the backward kernel."""
    from refsnn.equations.spiking import SpikingNeuron
    from refsnn.equations.surrogates import SURROGATES, Surrogate

    kernels = module("spiking")
    row, plane, cube = real[::1], real[:, ::1], real[:, :, ::1]
    constants = (real,) * 7

    def backward(neuron: SpikingNeuron) -> tuple[Callable, tuple[Any, ...]]:
        _, fire, _, reset_slope, surrogate = neuron.equations
        signature = (plane, plane, row, plane, types.int64, *constants)
        return kernels._backward_kernel(fire, reset_slope, surrogate).py_func, signature

    for reset, fires in (("soft", ">="), ("hard", ">")):
        neuron = SpikingNeuron(reset=reset, fires=fires)
        charge, fire, reset_to, _, _ = neuron.equations
        variant = f"{reset}/{real}"
        forward = kernels._forward_kernel(charge, fire, reset_to).py_func
        yield f"spiking.forward/{variant}", forward, (plane, row, plane, plane, real, real, real, real)
        yield f"spiking.backward/{variant}", *backward(neuron)
        rate = kernels._rate_kernel(neuron.equations).py_func
        yield f"spiking.rate/{variant}", rate, (plane, row, row, row, row, row, plane, *constants)
        count = kernels._count_kernel(charge, fire, reset_to).py_func
        yield f"spiking.count/{variant}", count, (row, types.int64, row, row, row, real, real, real, real)
        galerkin = kernels._galerkin_kernel(neuron.equations).py_func
        state = row, plane, row, cube, plane, row
        yield f"spiking.galerkin/{variant}", galerkin, (plane, plane, *state, plane, *constants)
    for shape in SURROGATES:
        neuron = SpikingNeuron(surrogate=Surrogate(shape))
        yield f"spiking.backward/{shape}/{real}", *backward(neuron)


def recurrent(types: Any, real: Any) -> Iterator[Compilation]:
    """Cells and losses."""
    row, plane, labels = real[::1], real[:, ::1], types.int64[::1]
    signatures = {
        "tanh_forward": (plane, plane, row, plane),
        "tanh_backward": (plane, plane, plane, real),
        "lstm_gates": (plane, plane, row, plane, plane, plane, real),
        "lstm_hidden": (plane, plane, plane),
        "lstm_backward": (plane, plane, plane, plane, plane, plane, real),
        "gru_gates": (plane, plane, row, row, plane, real),
        "gru_hidden": (plane, plane, plane, real),
        "gru_backward": (plane, plane, plane, plane, plane, real),
        "squared_error": (plane, plane, row, plane, row, real, real),
        "cross_entropy": (plane, labels, row, plane, row, real, real),
    }
    yield from named("recurrent", signatures, real)


def recurrent_spiking(types: Any, real: Any) -> Iterator[Compilation]:
    """Both comparisons."""
    from refsnn.equations.spiking import SpikingNeuron

    kernels = module("recurrent_spiking")
    row, plane, cube = real[::1], real[:, ::1], real[:, :, ::1]
    for comparison, fires in (("at or above", ">="), ("above", ">")):
        equations = SpikingNeuron(fires=fires).equations
        weights = plane, plane, row, plane, row, real
        forward = (cube, types.int64, *weights, plane, plane, plane, real, real, real)
        name = f"recurrent_spiking.forward/{comparison}/{real}"
        yield name, kernels._forward_kernel(equations.fire).py_func, forward
        backward = (*(plane,) * 6, real, *(plane,) * 7, *(real,) * 6)
        kernel = kernels._backward_kernel(equations.fire, equations.surrogate)
        yield f"recurrent_spiking.backward/{comparison}/{real}", kernel.py_func, backward
    yield from named("recurrent_spiking", {"outer": (plane, plane, plane, real)}, real)


def adaptive(types: Any, real: Any) -> Iterator[Compilation]:
    """A step and a smooth spike, the latter with its surrogate, and what else the module holds."""
    from refsnn.models.adaptive.neuron import AdaptiveNeuron

    kernels = module("adaptive")
    row, plane, cube = real[::1], real[:, ::1], real[:, :, ::1]
    whole, places, masks = types.int64[::1], types.int32[:, ::1], types.boolean[:, :, ::1]
    events = whole, types.int32[::1], row
    constants = *(real,) * 6, types.int64, *(real,) * 5
    dense = plane, places, plane, places
    sparse = (whole, types.int32[::1], row, places) * 2
    states = *(plane,) * 3, types.int16[:, ::1], *(cube,) * 3, types.int16[:, :, ::1]
    averaging = real, row, row, whole
    for kind, options in (("step", {}), ("smooth", {"smooth": True, "refractory": 0})):
        equations = AdaptiveNeuron(**options).equations
        forward = (
            *constants, *(row,) * 4, *events, cube, masks, *dense, *states, cube, cube, *averaging,
            plane, plane, cube, real, plane, plane,
        )  # fmt: skip
        yield f"adaptive.forward/{kind}/{real}", kernels._forward_kernel(equations.fire).py_func, forward
    adjoints = plane, plane, plane, cube, plane, plane
    backward = (
        *constants, *(row,) * 4, *events, masks, *sparse, *states, cube, *averaging, *(cube,) * 4, row,
        *adjoints, *(cube,) * 4, plane,
    )  # fmt: skip
    kernel = kernels._backward_kernel(equations.surrogate).py_func
    yield f"adaptive.backward/{equations.surrogate.__name__}/{real}", kernel, backward
    others = {"add_samples": (cube, plane), "transmit": (*events, *dense, cube, cube, plane, real)}
    yield from named("adaptive", others, real)


def attention(types: Any, real: Any) -> Iterator[Compilation]:
    """Slots and counts are 32-bit numbers, rules and places Python's."""
    count, yes, slots, places = types.int64, types.boolean, types.int32[::1], types.int32[:, ::1]
    row, plane, cube = real[::1], real[:, ::1], real[:, :, ::1]
    reading = places, slots, plane, row
    signatures = {
        "score": (cube, plane, row, yes, plane, real),
        "ranked": (plane, count, count, count, yes, real, slots, row),
        "weigh": (count, yes, plane, slots, real, real, *reading, real),
        "summarise": (cube, slots, plane, plane, real),
        "through_sums": (count, cube, slots, plane, row, plane, yes, cube, plane, plane, real),
        "through_thresholds": (yes, count, places, slots, slots, plane, plane, real),
        "through_scores": (cube, plane, row, yes, slots, plane, cube, plane, plane, real),
        "add_samples": (plane, row),
    }
    yield from named("attention", signatures, real)


def manifold(types: Any, real: Any) -> Iterator[Compilation]:
    """All curvatures and modes are one kernel."""
    count, whole, row, plane = types.int64, types.int64[::1], real[::1], real[:, ::1]
    factor = count, count, real, real, real
    signatures = {
        "step": (*factor, count, plane, plane, plane),
        "step_backward": (*factor, count, types.boolean, plane, plane, plane, plane, plane),
        "origin_logarithm": (*factor, plane, plane),
        "origin_logarithm_backward": (*factor, plane, plane, plane),
        "squared_distances": (*factor, plane, whole, whole, row, row),
        "squared_distances_backward": (*factor, plane, whole, whole, whole, whole, row, plane),
    }
    yield from named("manifold", signatures, real)
    yield from named("graph", {"propagate": (whole, whole, row, plane, plane, real)}, real)


def windows(types: Any, real: Any) -> Iterator[Compilation]:
    """Patches and pooling; places and records are whole numbers."""
    columns, images, record = real[:, :, ::1], real[:, :, :, ::1], types.int32[:, :, :, ::1]
    place = (types.int64,) * 3
    signatures = {
        "gather": (images, *place, types.int64, real, columns),
        "scatter": (columns, *place, types.int64, types.int64, real, images),
        "max_pool": (images, *place, real, images, record),
        "max_pool_adjoint": (images, record, real, images),
        "average_pool": (images, *place, real, real, images),
        "average_pool_adjoint": (images, *place, real, real, images),
    }
    yield from named("windows", signatures, real)


def relaxation(types: Any) -> Iterator[Compilation]:
    """Both families, both places of the states, all dtypes: not all of them with all others."""
    from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork

    units = {
        "clamped": EnergyBasedNetwork((1, 1, 1), activation="hardsigm", clamp=True, output="linear"),
        "tanh": PrototypicalNetwork((1, 1, 1), nudge_placement="inside"),
    }
    for family, place, dtype in (
        ("clamped", "shared", "float32"), ("tanh", "global", "float32"), ("tanh", "shared", "float64"),
        ("tanh", "shared", "complex64"), ("tanh", "global", "complex128"),
    ):  # fmt: skip
        network = units[family]
        kinds = tuple(dict.fromkeys(network.unit(layer) for layer in range(network.depth)))
        assert len(kinds) == (2 if family == "clamped" else 1)
        kernel = module("relaxation")._kernel(kinds, dtype, place == "shared")
        number, count, real = getattr(types, dtype), types.int64, types.float64
        if dtype in ("float32", "complex64"):
            real = types.float32
        row, plane, cube = number[::1], number[:, ::1], number[:, :, ::1]
        tables = count[::1], count[::1], count[:, ::1], count[:, ::1], real[::1], row
        samples = plane, plane, cube, cube, types.uint8[:, ::1]
        force = row, plane, count, plane, row
        memory = plane, types.int32[:, ::1], count
        signature = (*tables, *samples, *force, count, count, count, real, real, real, *memory)
        yield f"relaxation.{kernel_name('_kernel')}/{family} {place}/{dtype}", kernel.py_func, signature


def contracted(potential, current, leak, reset_value, one):
    """What a charge must not become."""
    return leak * potential + current


def main() -> None:
    """Compile everything and print it."""
    from numba import cuda, types

    # only the number is needed, for libraries of device functions
    dispatcher = import_module("numba.cuda.dispatcher")
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(8, 0))

    def ptx(function: Callable, signature: tuple[Any, ...], device: bool = False) -> str:
        return cuda.compile_ptx(function, signature, device=device, cc=(8, 0))[0]

    try:
        ptx(lambda array: None, (types.float64[::1],))
    except Exception as error:
        print(json.dumps({"unavailable": f"{type(error).__name__}: {error}".splitlines()[0]}))
        return
    from refsnn.equations.adaptive import leaky_mean, raised_threshold
    from refsnn.equations.spiking import charge, charge_towards_rest

    found = {name: ptx(kernel, signature) for name, kernel, signature in relaxation(types)}
    for real in (types.float32, types.float64):
        for room in (spiking, recurrent, recurrent_spiking, adaptive, attention, manifold, windows):
            found |= {name: ptx(kernel, signature) for name, kernel, signature in room(types, real)}
        for function in (charge, charge_towards_rest, contracted):
            found[f"{function.__name__}/{real}"] = ptx(function, (real,) * 5, device=True)
        for function, numbers in ((leaky_mean, 4), (raised_threshold, 3)):
            found[f"{function.__name__}/{real}"] = ptx(function, (real,) * numbers, device=True)
    print(json.dumps({"ptx": found, "kernels": all_kernels()}))


if __name__ == "__main__":
    main()
