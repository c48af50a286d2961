"""The structure of convergent networks: layers, couplings, parameters, states, and the door."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.activations import ACTIVATIONS, Activation
from refsnn.models.contract import Parameters, State, StaticInput
from refsnn.models.convolution import Convolution
from refsnn.models.coupling_maps import ConvolutionalMap, CouplingMap, DenseMap
from refsnn.models.couplings import Wiring, checked_couplings
from refsnn.models.losses import LOSSES


def layer_name(layer: int) -> str:
    """Name of a layer's entry in the state.

    Examples
    --------
    >>> layer_name(0)
    'layer.0'
    """
    return f"layer.{layer}"


@dataclass(frozen=True)
class CoupledLayers:
    """What all convergent networks are described by; the dynamics come with the families.

    Parameters
    ----------
    widths : sequence of int
        (d_0, ..., d_{N-1}, d_N): output first, input last.  Of a convolutional layer, and of an input that is
        an image, the number of channels.
    couplings : sequence of (post, pre), optional
        Pairs with post < pre <= N; by default the chain (0, 1), (1, 2), ..., (N-1, N).
    activation : str
        rho or sigma of the papers: "tanh", "sigm", "hardsigm", "identity", and "mysig", "hard_sigmoid",
        "my_hard_sig", "ctrd_hard_sig" of later codes.
    step_size : float in (0, 1]
        epsilon of the leaky step.
    tied : bool
        Whether feedback is W^T (True) or a weight of its own (False).
    edge : {"open", "closed"}
        Derivative of the hard sigmoids on their kinks, where backpropagation takes it: closed includes them.
    convolutions : sequence of Convolution
        The couplings next to the input, from the output down; the last of them reads the input.  The other
        couplings are dense, and flatten an image in the order (C, H, W).
    image : (H, W), optional
        Size of the input, for networks with convolutions.
    loss_function : {"mean_squared_error", "cross_entropy"}
        What the nudge descends; cross-entropy is that of the softmax of the outputs.
    readout : int, optional
        Number of classes of a linear read-out z = W_out s^0 + b_out outside the dynamics; the loss is then
        taken of z, and layer 0 is nudged through W_out.

    Raises
    ------
    TypeError, ValueError
        For values that describe no network.
    """

    widths: tuple[int, ...]
    couplings: tuple[tuple[int, int], ...] = ()
    activation: str = "tanh"
    step_size: float = 1.0
    tied: bool = True
    edge: str = "open"
    convolutions: tuple[Convolution, ...] = ()
    image: tuple[int, int] | None = None
    loss_function: str = "mean_squared_error"
    readout: int | None = None

    def __post_init__(self) -> None:
        widths = checks.widths("widths", self.widths)
        chain = tuple((layer, layer + 1) for layer in range(len(widths) - 1))
        couplings = checked_couplings(self.couplings, len(widths) - 1) or chain
        checks.choice("activation", self.activation, ACTIVATIONS)
        checks.choice("edge", self.edge, ("open", "closed"))
        checks.choice("loss_function", self.loss_function, LOSSES)
        checks.instance("tied", self.tied, bool, "True")
        step_size = checks.number("step_size", self.step_size, 0, 1, low_open=True)
        if self.readout is not None:
            checks.count("readout", self.readout)
        # plain Python numbers: they never promote float32
        for name, value in (("widths", widths), ("couplings", couplings), ("step_size", step_size)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "convolutions", checked_convolutions(self.convolutions, couplings == chain))
        object.__setattr__(self, "image", checked_image(self.image, self.convolutions, len(widths) - 1))
        shapes = self.shapes  # refuses kernels and windows that do not fit
        if self.loss_function == "cross_entropy" and self.readout is None and len(shapes[0]) > 1:
            raise ValueError(
                "readout: expected a number of classes, for cross_entropy is not taken of an image "
                f"{shapes[0]}, got None"
            )

    @property
    def depth(self) -> int:
        """N, the number of layers that move."""
        return len(self.widths) - 1

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the state entries, output first."""
        return tuple(layer_name(layer) for layer in range(self.depth))

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each layer without the batch, output first, input last: (d,) or (C, H, W).

        Raises
        ------
        ValueError
            If a kernel or a window does not fit what it reads.
        """
        shapes: list[tuple[int, ...]] = [(width,) for width in self.widths]
        if self.image is not None:
            size = self.image
            shapes[self.depth] = (self.widths[-1], *size)
            for index, convolution in reversed(list(enumerate(self.convolutions))):
                layer = self.depth - len(self.convolutions) + index
                try:
                    size = convolution.output_size(size)
                except ValueError as error:
                    raise ValueError(f"convolutions[{index}].{error}") from None
                shapes[layer] = (self.widths[layer], *size)
        return tuple(shapes)

    @cached_property
    def wiring(self) -> Wiring:
        """The couplings and their linear maps."""
        first = self.depth - len(self.convolutions)
        maps: dict[tuple[int, int], CouplingMap] = {}
        for post, pre in self.couplings:
            shapes = self.shapes[post], self.shapes[pre]
            if post >= first:
                maps[post, pre] = ConvolutionalMap(self.convolutions[post - first], *shapes)
            else:
                maps[post, pre] = DenseMap(*shapes)
        return Wiring(maps, self.depth, self.tied)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one sample's target: that of the outputs."""
        return self.shapes[0] if self.readout is None else (self.readout,)

    @property
    def functions(self) -> Activation:
        """The activation and its derivatives."""
        return ACTIVATIONS[self.activation]

    @property
    def holomorphic(self) -> bool:
        """Whether the step is analytic, so that states, parameters and the nudge may be complex."""
        pools = any(convolution.pooling == "max" for convolution in self.convolutions)
        return self.functions.holomorphic and not pools

    def not_holomorphic(self) -> str:
        """What keeps the step from being analytic, in words."""
        if any(convolution.pooling == "max" for convolution in self.convolutions):
            return "max pooling"
        return f"activation {self.activation!r}"

    @property
    def accumulators(self) -> frozenset[str]:
        """None: every state entry is a unit that relaxes."""
        return frozenset()

    # ---------------------------------------------------------------- parameters and states

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter: weight, bias and (untied) feedback of each coupling, and the read-out."""
        shapes = self.wiring.shapes()
        if self.readout is not None:
            shapes["readout.weight"] = (self.readout, int(np.prod(self.shapes[0])))
            shapes["readout.bias"] = (self.readout,)
        return shapes

    def initialise(self, rng: np.random.Generator, dtype: Any = np.float64, scale: float = 1.0) -> Parameters:
        """Draw every entry from U(-c / sqrt(fan-in), c / sqrt(fan-in)), with c = `scale`.

        Fan-in is the number of terms that the coupling adds up: d_pre for weight and bias, d_post for
        feedback, times the area of a kernel where there is one.  c = 1 is PyTorch's default and the papers'.

        Raises
        ------
        TypeError, ValueError
            If `rng` is no Generator, `dtype` neither float32 nor float64, or `scale` not positive.
        """
        checks.generator("rng", rng)
        checks.choice("dtype", np.dtype(dtype).name, ("float32", "float64"))
        scale = checks.number("scale", scale, 0, low_open=True)
        fan_in: dict[str, int] = {}
        for pair, name in self.wiring.names.items():
            up, down = self.wiring.maps[pair].fan_in()
            fan_in |= {f"{name}.weight": up, f"{name}.bias": up, f"{name}.feedback": down}
        top = int(np.prod(self.shapes[0]))
        fan_in |= {"readout.weight": top, "readout.bias": top}
        parameters = {}
        for name, shape in self.parameter_shapes().items():
            bound = scale / np.sqrt(fan_in[name])
            parameters[name] = rng.uniform(-bound, bound, shape).astype(dtype)
        return parameters

    def initial_state(self, parameters: Parameters, batch: int) -> State:
        """Zeros (B, *shape) for every layer, in the dtype of the parameters."""
        dtype = np.result_type(*parameters.values())
        return {name: np.zeros((batch, *self.shapes[n]), dtype) for n, name in enumerate(self.layers)}

    # ---------------------------------------------------------------- the door

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Any, Any]:
        """The door of the sequence algorithms: `inputs` are T steps, usually a `StaticInput`.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : StaticInput of (B, d_N) or (B, C, H, W), or array_like with T in front
            What each step sees.
        targets : array_like, (B, d_0)
            y.

        Returns
        -------
        tuple
            The three, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        if isinstance(inputs, StaticInput):
            parameters, value, targets = self.check_static(parameters, inputs.value, targets)
            return parameters, StaticInput(value, inputs.steps), targets
        shape: checks.Shape = ("T", "B", *self.shapes[-1])
        sequence = checks.float_array("inputs", inputs, shape, allow_complex=_is_complex(inputs))
        parameters, _, targets = self.check_static(parameters, sequence[0], targets)
        return parameters, sequence, targets

    def check_static(
        self, parameters: Parameters, inputs: Any, targets: Any, need_targets: bool = True
    ) -> tuple[Parameters, np.ndarray, Any]:
        """Check what an algorithm was given, once, before its loops.

        Complex arrays pass for holomorphic networks only, and in the same precision as the real ones.

        Returns
        -------
        parameters, inputs (B, d_N), targets (B, d_0), or None where they are not needed

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        arrays = list(parameters.values()) if isinstance(parameters, dict) else []
        is_complex = any(_is_complex(array) for array in (*arrays, inputs))
        if is_complex:
            self.require_holomorphic("complex parameters or inputs")
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes(), is_complex)
        dtype = next(iter(parameters.values())).real.dtype
        for name, array in parameters.items():
            _check_precision(f"parameters[{name!r}]", array, dtype)
        inputs = checks.float_array("inputs", inputs, ("B", *self.shapes[-1]), dtype, is_complex)
        _check_precision("inputs", inputs, dtype)
        shape = (len(inputs), *self.target_shape)
        if targets is not None:
            targets = checks.float_array("targets", targets, shape, dtype, is_complex)
            _check_precision("targets", targets, dtype)
            self._check_distribution(targets)
        elif need_targets:
            raise TypeError(
                f"targets: expected an array of shape {shape}, got None; there is no loss without"
            )
        return parameters, inputs, targets

    def _check_distribution(self, targets: np.ndarray) -> None:
        """Cross-entropy is taken to distributions: one-hot rows, or softer ones."""
        if self.loss_function != "cross_entropy":
            return
        sums = targets.sum(axis=-1)
        if (targets.real < 0).any():
            raise ValueError(
                f"targets: expected no negative numbers for cross_entropy, got {targets.real.min():g}"
            )
        if (np.abs(sums - 1) > 1e-5).any():
            raise ValueError(
                "targets: expected rows that sum to 1 for cross_entropy, one-hot for example, got sums from "
                f"{sums.real.min():g} to {sums.real.max():g}"
            )

    def check_state(self, state: Any, batch: int, dtype: Any) -> State:
        """Check a state that the caller brought: names, shapes (B, *shape), finite numbers, dtype.

        Raises
        ------
        TypeError, ValueError
            Naming the entry, what was expected and what came.
        """
        if not isinstance(state, dict) or set(state) != set(self.layers):
            came = sorted(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"state: expected a dict with the entries {list(self.layers)}, got {came}")
        is_complex = any(_is_complex(array) for array in state.values())
        if is_complex:
            self.require_holomorphic("a complex state")
        allow = is_complex or np.issubdtype(dtype, np.complexfloating)
        real = np.empty(0, dtype).real.dtype
        checked = {}
        for n, name in enumerate(self.layers):
            label, shape = f"state[{name!r}]", (batch, *self.shapes[n])
            checked[name] = checks.float_array(label, state[name], shape, real, allow)
            _check_precision(label, checked[name], real)
        return checked

    def require_holomorphic(self, what: str) -> None:
        """Refuse complex numbers where the step compares.

        Raises
        ------
        ValueError
            If the activation is a hard sigmoid, states are clamped, or maxima are pooled.
        """
        if not self.holomorphic:
            raise ValueError(
                f"{what}: expected a holomorphic network (tanh, sigm or identity, no clamp, no max pooling), "
                f"got {self.not_holomorphic()}; use real numbers here"
            )


def checked_convolutions(value: Any, is_chain: bool) -> tuple[Convolution, ...]:
    """Return the convolutions, or say what is none of them.

    Raises
    ------
    TypeError, ValueError
        If an entry is no `Convolution`, or the couplings are not the chain of all layers.

    Examples
    --------
    >>> checked_convolutions([Convolution(kernel=3)], is_chain=True)[0].kernel
    3
    """
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"convolutions: expected a sequence of Convolution, got {value!r}")
    for index, entry in enumerate(value):
        checks.instance(f"convolutions[{index}]", entry, Convolution, "Convolution(kernel=5)")
    if value and not is_chain:
        raise ValueError(
            "couplings: expected the chain of all layers (the default) with convolutions, got other pairs"
        )
    return tuple(value)


def checked_image(value: Any, convolutions: tuple[Convolution, ...], depth: int) -> tuple[int, int] | None:
    """Return (H, W), or None for networks without convolutions.

    Raises
    ------
    TypeError, ValueError
        If one is given without the other, or there are more convolutions than couplings.

    Examples
    --------
    >>> checked_image([28, 28], (Convolution(),), depth=2)
    (28, 28)
    """
    if len(convolutions) > depth:
        raise ValueError(f"convolutions: expected at most {depth}, one a coupling, got {len(convolutions)}")
    if not convolutions:
        if value is not None:
            raise ValueError(f"image: expected None without convolutions, got {value!r}")
        return None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"image: expected (height, width) of the input with convolutions, got {value!r}")
    return checks.count("image[0]", value[0]), checks.count("image[1]", value[1])


def working_one(array: np.ndarray) -> Any:
    """The number 1 in the real precision of `array`.

    Examples
    --------
    >>> working_one(np.zeros(2, np.float32)).dtype.name
    'float32'
    """
    return array.real.dtype.type(1)


def _check_precision(name: str, array: np.ndarray, dtype: np.dtype) -> None:
    """Refuse complex64 beside float64, and complex128 beside float32."""
    if array.real.dtype != dtype:
        raise TypeError(
            f"{name}: expected the precision of {dtype} like the other arrays, got {array.dtype}; "
            "convert one of them, nothing is promoted silently"
        )


def _is_complex(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") == "c"


def largest_difference(first: State, second: State) -> float:
    """Largest |difference| of two states over all entries.

    Examples
    --------
    >>> largest_difference({"layer.0": np.array([1.0, 2.0])}, {"layer.0": np.array([1.0, 2.5])})
    0.5
    """
    # np.max, unlike max, lets a NaN of any layer through
    return float(np.max([np.abs(first[name] - second[name]).max() for name in first]))
