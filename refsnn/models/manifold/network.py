"""A spiking network on a graph that carries a point of a manifold beside its spikes (Sun 2024).

Block 0 is the encoder.  Its current is the same at every step; with s^l the spikes of block l,

    x^0[t] = Ahat X W^0^T,   x^l[t] = Ahat s^{l-1}[t] W^l^T                                      (4), (9)
    s^l = Neuron(x^l)                                                                     (1) to (3), (6)
    u^l = eps mean_t x^l[t] = eps Ahat r^{l-1} W^l^T,   r the firing rates                            (7)
    z^l = Exp_{z^{l-1}}(v^l),   v^l the tangent vector of the drive u^l, z^{-1} = o             (8), (10)

`tangent` says which tangent vector: u brought from the origin to z ("transport"), projected ("project"), or
taken as it is ("ambient", as the published code does: then z leaves the manifold).  The spikes of the last
block are not used by anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels.manifold import CODES
from refsnn.models.contract import Parameters
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import Factor, Manifold

COMPATIBLE = "exact", "official"


def integrate_and_fire() -> SpikingNeuron:
    """No leak, fires above its threshold, which is then subtracted.

    Returns
    -------
    SpikingNeuron
    """
    return SpikingNeuron(leak=1.0, threshold=1.0, fires=">")


@dataclass(frozen=True)
class ManifoldSpikingNetwork:
    """Blocks of graph convolution, spiking neurons and a step on a manifold.

    Parameters
    ----------
    features : int
        F.
    manifold : Manifold
        Where z lives; its stored width D is the number of neurons of each block.
    classes : int
        C of the classifier; 0 for none (link prediction).
    layers : int
        L: blocks after the encoder.
    steps : int
        T: length of the spike trains.
    step_size : float
        eps.
    neuron : SpikingNeuron
        IF without leak by default; one with leak scales its input by `gain`.
    gain : float
        What the current is multiplied with on its way into the neuron: 1 of IF; 1 - leak in the authors' LIF.
    tangent : {"transport", "project", "ambient"}
        How a drive becomes a tangent vector.
    learn_curvature : bool
        Whether "curvature" is a parameter, one number a factor (0 for flat ones, which stay flat).
    compat : {"exact", "official"}
        The maps of geometry as they are, or with the clamps of the published code (curvature +-1 and
        "ambient" only; see `refsnn.models.manifold.official`).

    Raises
    ------
    TypeError, ValueError
        For values out of range, and options that do not go together.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> network = ManifoldSpikingNetwork(16, hyperbolic(4), classes=3)
    >>> network.parameter_shapes()
    {'layer.0.weight': (5, 16), 'layer.1.weight': (5, 5), 'readout.weight': (3, 5)}
    """

    features: int
    manifold: Manifold
    classes: int = 0
    layers: int = 1
    steps: int = 5
    step_size: float = 0.1
    neuron: SpikingNeuron = field(default_factory=integrate_and_fire)
    gain: float = 1.0
    tangent: str = "transport"
    learn_curvature: bool = False
    compat: str = "exact"

    def __post_init__(self) -> None:
        checks.count("features", self.features)
        checks.instance("manifold", self.manifold, Manifold, "hyperbolic(32)")
        checks.count("classes", self.classes, 0)
        checks.count("layers", self.layers, 0)
        checks.count("steps", self.steps)
        checks.number("step_size", self.step_size, 0, low_open=True)
        checks.instance("neuron", self.neuron, SpikingNeuron, "SpikingNeuron(leak=1.0, fires='>')")
        checks.number("gain", self.gain, 0, low_open=True)
        checks.choice("tangent", self.tangent, CODES)
        checks.choice("compat", self.compat, COMPATIBLE)
        if not isinstance(self.learn_curvature, bool):
            raise TypeError(f"learn_curvature: expected True or False, got {self.learn_curvature!r}")
        if self.learn_curvature and not any(factor.curved for factor in self.manifold.factors):
            raise ValueError(f"learn_curvature: expected a curved factor, got {self.manifold}; it stays flat")
        if self.compat == "official":
            self._check_official()

    def _check_official(self) -> None:
        if self.tangent != "ambient":
            raise ValueError(
                f"compat: 'official' takes the drive itself: expected tangent='ambient', got {self.tangent!r}"
            )
        if self.learn_curvature:
            raise ValueError("compat: 'official' has curvatures of -1, 0 and 1 alone; leave learn_curvature")
        for factor in self.manifold.factors:
            if factor.curvature not in (-1.0, 0.0, 1.0):
                raise ValueError(
                    f"compat: 'official' has curvatures of -1, 0 and 1 alone, got {factor.curvature}"
                )

    # -- parameters -----------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """D."""
        return self.manifold.width

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights, (post, pre)."""
        shapes: dict[str, tuple[int, ...]] = {"layer.0.weight": (self.width, self.features)}
        for layer in range(1, self.layers + 1):
            shapes[f"layer.{layer}.weight"] = (self.width, self.width)
        if self.classes:
            shapes["readout.weight"] = (self.classes, self.width)
        if self.learn_curvature:
            shapes["curvature"] = (len(self.manifold.factors),)
        return shapes

    def initialise(self, rng: np.random.Generator, dtype: Any = np.float64) -> Parameters:
        """Weights Glorot-uniform, the classifier uniform in +-1/sqrt(D), curvatures as the manifold has them.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes` says.

        Raises
        ------
        TypeError
            For an `rng` that is no Generator, and a dtype that is no float.
        """
        checks.generator("rng", rng)
        dtype = checks.float_dtype("dtype", dtype)
        parameters: Parameters = {}
        for name, shape in self.parameter_shapes().items():
            if name == "curvature":
                value = np.array([factor.curvature for factor in self.manifold.factors])
            else:
                limit = 1 / np.sqrt(self.width) if name == "readout.weight" else np.sqrt(6 / sum(shape))
                value = rng.uniform(-limit, limit, shape)
            parameters[name] = value.astype(dtype)
        return parameters

    def at(self, parameters: Parameters) -> Manifold:
        """The manifold with the curvatures of the parameters.

        Parameters
        ----------
        parameters : dict of str to ndarray
            As `check` returned them.

        Returns
        -------
        Manifold

        Raises
        ------
        ValueError
            If a curvature has changed its sign: another space, which a gradient does not lead to.
        """
        if not self.learn_curvature:
            return self.manifold
        factors = []
        for factor, value in zip(self.manifold.factors, parameters["curvature"].tolist(), strict=True):
            if np.sign(value) != np.sign(factor.curvature):
                raise ValueError(
                    f"parameters['curvature']: expected the signs of {self.manifold}, got {value} for a "
                    f"factor of curvature {factor.curvature}; take a smaller learning rate"
                )
            factors.append(replace(factor, curvature=value))
        return Manifold(tuple(factors))

    # -- the door -------------------------------------------------------------------------------------

    def check(self, parameters: Any, inputs: Any) -> tuple[Parameters, GraphInputs]:
        """Refuse at the door what would be wrong inside.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : GraphInputs
            In that dtype.

        Returns
        -------
        tuple
            Parameters as arrays, and the inputs.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes())
        checks.instance("inputs", inputs, GraphInputs, "GraphInputs.of(graph, features, layers=1)")
        if inputs.gathered.shape[1] != self.features:
            raise ValueError(
                f"inputs: expected {self.features} features a node, got {inputs.gathered.shape[1]}"
            )
        if len(inputs.adjacencies) != self.layers:
            raise ValueError(
                f"inputs: expected adjacencies of {self.layers} blocks, got {len(inputs.adjacencies)}; "
                f"use GraphInputs.of(..., layers={self.layers})"
            )
        nodes, dtype = inputs.nodes, next(iter(parameters.values())).dtype
        if inputs.dtype != dtype:
            raise TypeError(
                f"inputs: expected dtype {dtype} like the parameters, got {inputs.dtype}; "
                f"use GraphInputs.of(..., dtype=np.{dtype})"
            )
        for matrix in inputs.adjacencies:
            if (matrix.rows, matrix.columns, matrix.values.dtype) != (nodes, nodes, dtype):
                raise ValueError(
                    f"inputs: expected adjacencies of {nodes} nodes in {dtype}, got one of "
                    f"{matrix.rows} x {matrix.columns} in {matrix.values.dtype}"
                )
        if len(inputs.masks) != self.layers + 1:
            raise ValueError(f"inputs: expected {self.layers + 1} masks or None, got {len(inputs.masks)}")
        for block, mask in enumerate(inputs.masks):
            fits = (None, (nodes, self.width)) + (((self.steps, nodes, self.width),) if block else ())
            if mask is not None and mask.shape not in fits:
                raise ValueError(f"inputs: expected a mask of shape {fits[-1]}, got {mask.shape}")
            if mask is not None and mask.dtype != dtype:
                raise TypeError(f"inputs: expected masks of dtype {dtype}, got {mask.dtype}; convert them")
        self.at(parameters)
        return parameters, inputs


def product_of(*factors: tuple[float, int]) -> Manifold:
    """A product from pairs of curvature and dimension.

    Parameters
    ----------
    *factors : tuple of float and int
        kappa and d of each.

    Returns
    -------
    Manifold

    Examples
    --------
    >>> str(product_of((-1.0, 16), (1.0, 16)))
    'H16 x S16'
    """
    return Manifold(tuple(Factor(curvature, dimension) for curvature, dimension in factors))
