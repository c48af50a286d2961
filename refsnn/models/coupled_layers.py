"""What energy-based and prototypical networks have in common: parameters, states, loss, and the door."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.activations import ACTIVATIONS, Activation
from refsnn.equations.relaxation import nudge_force
from refsnn.models.contract import Parameters, State, StaticInput
from refsnn.models.couplings import Arrays, Wiring, checked_couplings


def layer_name(layer: int) -> str:
    """Name of a layer's entry in the state.

    Examples
    --------
    >>> layer_name(0)
    'layer.0'
    """
    return f"layer.{layer}"


@dataclass(frozen=True)
class CoupledLayers(ABC):
    """Base of the convergent networks: wiring, parameters, loss, Hebbian products.

    Parameters
    ----------
    widths : sequence of int
        (d_0, ..., d_{N-1}, d_N): output first, input last.
    couplings : sequence of (post, pre), optional
        Pairs with post < pre <= N; by default the chain (0, 1), (1, 2), ..., (N-1, N).
    activation : {"tanh", "sigm", "hardsigm", "identity"}
        rho or sigma of the papers.
    step_size : float in (0, 1]
        epsilon of the leaky step.
    tied : bool
        Whether feedback is W^T (True) or a matrix of its own (False).
    edge : {"open", "closed"}
        Derivative of the hard sigmoid on its kinks, where backpropagation takes it: 0 or 1.

    Raises
    ------
    TypeError, ValueError
        For widths, couplings, activations or step sizes that describe no network.
    """

    widths: tuple[int, ...]
    couplings: tuple[tuple[int, int], ...] = ()
    activation: str = "tanh"
    step_size: float = 1.0
    tied: bool = True
    edge: str = "open"

    def __post_init__(self) -> None:
        widths = checks.widths("widths", self.widths)
        chain = tuple((layer, layer + 1) for layer in range(len(widths) - 1))
        couplings = checked_couplings(self.couplings, len(widths) - 1) or chain
        checks.choice("activation", self.activation, ACTIVATIONS)
        checks.choice("edge", self.edge, ("open", "closed"))
        checks.instance("tied", self.tied, bool, "True")
        step_size = checks.number("step_size", self.step_size, 0, 1, low_open=True)
        # plain Python numbers: they never promote float32
        for name, value in (("widths", widths), ("couplings", couplings), ("step_size", step_size)):
            object.__setattr__(self, name, value)

    @property
    def depth(self) -> int:
        """N, the number of layers that move."""
        return len(self.widths) - 1

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the state entries, output first."""
        return tuple(layer_name(layer) for layer in range(self.depth))

    @cached_property
    def wiring(self) -> Wiring:
        """The couplings and their linear maps."""
        return Wiring(self.couplings, self.depth, self.tied)

    @property
    def functions(self) -> Activation:
        """The activation and its derivatives."""
        return ACTIVATIONS[self.activation]

    @property
    def holomorphic(self) -> bool:
        """Whether the step is analytic, so that states, parameters and the nudge may be complex."""
        return self.functions.holomorphic

    @property
    def accumulators(self) -> frozenset[str]:
        """None: every state entry is a unit that relaxes."""
        return frozenset()

    # ---------------------------------------------------------------- parameters and states

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter: weight, bias and (untied) feedback of each coupling."""
        return self.wiring.shapes(self.widths)

    def initialise(self, rng: np.random.Generator, dtype: Any = np.float64, scale: float = 1.0) -> Parameters:
        """Draw every entry from U(-c / sqrt(fan-in), c / sqrt(fan-in)), with c = `scale`.

        Fan-in is the width of the layer that the coupling reads: d_pre for weight and bias, d_post for
        feedback.  c = 1 is PyTorch's default and the papers'.

        Raises
        ------
        TypeError, ValueError
            If `rng` is no Generator, `dtype` neither float32 nor float64, or `scale` not positive.
        """
        checks.generator("rng", rng)
        checks.choice("dtype", np.dtype(dtype).name, ("float32", "float64"))
        scale = checks.number("scale", scale, 0, low_open=True)
        parameters = {}
        for name, shape in self.parameter_shapes().items():
            fan_in = shape[1] if len(shape) == 2 else self.widths[int(name.split(".")[2])]
            bound = scale / np.sqrt(fan_in)
            parameters[name] = rng.uniform(-bound, bound, shape).astype(dtype)
        return parameters

    def initial_state(self, parameters: Parameters, batch: int) -> State:
        """Zeros (B, d_n) for every layer, in the dtype of the parameters."""
        dtype = np.result_type(*parameters.values())
        return {name: np.zeros((batch, self.widths[n]), dtype) for n, name in enumerate(self.layers)}

    # ---------------------------------------------------------------- the door

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Any, Any]:
        """The door of the sequence algorithms: `inputs` are T steps, usually a `StaticInput`.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : StaticInput of (B, d_N), or array_like (T, B, d_N)
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
            steps = checks.count("inputs.steps", inputs.steps)
            parameters, value, targets = self.check_static(parameters, inputs.value, targets)
            return parameters, StaticInput(value, steps), targets
        shape = ("T", "B", self.widths[-1])
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
        inputs = checks.float_array("inputs", inputs, ("B", self.widths[-1]), dtype, is_complex)
        _check_precision("inputs", inputs, dtype)
        shape = (len(inputs), self.widths[0])
        if targets is not None:
            targets = checks.float_array("targets", targets, shape, dtype, is_complex)
            _check_precision("targets", targets, dtype)
        elif need_targets:
            raise TypeError(
                f"targets: expected an array of shape {shape}, got None; there is no loss without"
            )
        return parameters, inputs, targets

    def check_state(self, state: Any, batch: int, dtype: Any) -> State:
        """Check a state that the caller brought: names, shapes (B, d_n), finite numbers, dtype.

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
            label, shape = f"state[{name!r}]", (batch, self.widths[n])
            checked[name] = checks.float_array(label, state[name], shape, real, allow)
            _check_precision(label, checked[name], real)
        return checked

    def require_holomorphic(self, what: str) -> None:
        """Refuse complex numbers where the step compares.

        Raises
        ------
        ValueError
            If the activation is the hard sigmoid, or states are clamped.
        """
        if not self.holomorphic:
            raise ValueError(
                f"{what}: expected a holomorphic network (tanh, sigm or identity, no clamp), "
                f"got activation {self.activation!r}; use real numbers here"
            )

    # ---------------------------------------------------------------- the step, left to the two families

    @abstractmethod
    def rates(self, state: State, inputs: np.ndarray | None = None) -> Arrays:
        """h_n(s^n) for every layer, and h_N(x) under key N if `inputs` are given."""

    @abstractmethod
    def step(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        targets: np.ndarray | None = None,
        nudge: complex = 0.0,
        drive: Arrays | None = None,
    ) -> State:
        """F: one synchronous step of all layers."""

    @abstractmethod
    def step_vjp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        cotangent: State,
        drive: Arrays | None = None,
    ) -> tuple[State, Parameters]:
        """Pull dL/ds_{t+1} back through one free step."""

    @abstractmethod
    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Push tangents through one free step."""

    def static_drive(self, parameters: Parameters, inputs: np.ndarray) -> Arrays:
        """All that arrives at the layers but does not change during a relaxation.

        Biases, and W h_N(x) of the couplings that read the input: computed once a mini-batch.
        """
        return self.wiring.static_drive(parameters, self.input_rate(inputs))

    def input_rate(self, inputs: np.ndarray) -> np.ndarray:
        """h_N(x), what the couplings read of the input."""
        return inputs

    # ---------------------------------------------------------------- what is measured on a state

    def primitive_function(self, parameters: Parameters, state: State, inputs: np.ndarray) -> Any:
        """(E11): Phi = sum over couplings of h_post . (W h_pre + b), summed over the batch.

        Raises
        ------
        ValueError
            For untied networks: a vector field has no primitive function.
        """
        self._require_tied()
        return self.wiring.primitive_function(parameters, self.rates(state, inputs))

    def primitive_gradient(self, parameters: Parameters, state: State, inputs: np.ndarray) -> Parameters:
        """dPhi/dtheta summed over the batch: the Hebbian products h_post h_pre^T, and h_post for biases.

        Raises
        ------
        ValueError
            For untied networks: a vector field has no primitive function.
        """
        self._require_tied()
        return self.wiring.hebbian_products(self.rates(state, inputs))

    def _require_tied(self) -> None:
        if not self.tied:
            raise ValueError(
                "tied: expected a network with tied=True, got an untied one; "
                "a vector field has no primitive function and no Hebbian contrast"
            )

    def residual(self, parameters: Parameters, state: State, inputs: np.ndarray) -> float:
        """max |F(s) - s|: how far one more free step would move any unit."""
        return largest_difference(self.step(parameters, state, inputs), state)

    def outputs(self, state: State, steps: int = 1) -> np.ndarray:
        """s^0 (B, d_0)."""
        return state[self.layers[0]]

    def loss(self, state: State, targets: np.ndarray, steps: int = 1) -> Any:
        """L = 1/B sum_b 1/2 |s^0 - y|^2; complex for complex states."""
        error = self.outputs(state) - targets
        return ((error * error).sum() / (2 * len(targets))).item()

    def loss_gradient(self, state: State, targets: np.ndarray, steps: int = 1) -> State:
        """dL/ds: (s^0 - y) / B on the output layer, 0 elsewhere."""
        gradient = {name: np.zeros_like(array) for name, array in state.items()}
        gradient[self.layers[0]] = (self.outputs(state) - targets) / len(targets)
        return gradient

    def force(self, layer: int, state: np.ndarray, targets: np.ndarray | None, nudge: complex) -> Any:
        """The nudge that `layer` feels, or None: only the output layer of a nudged phase feels one."""
        if layer > 0 or targets is None:
            return None
        # a plain Python number: it never promotes float32
        amount = complex(nudge) if np.iscomplexobj(nudge) else float(nudge.real)
        return nudge_force(state, targets, amount)

    def derivative(self, functions: Activation, z: np.ndarray) -> Any:
        """The slope that backpropagation takes of an activation: `edge` decides on the kinks."""
        slope = functions.slope if self.edge == "closed" else functions.slope_open
        return slope(z, working_one(z))


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
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)
