"""A recurrent network that is reminded: sparse attention over its own past states (Ke 2018).

One step, in this order; a memory slot holds a past h, written every k_att steps (`store_every`):

    S1  (h, c) of the step before; the gradient does not pass if t mod k_trunc = 0 (`truncate_every`)
    S2  c_t, hhat_t = LSTM(x_t, h, c)
    S3  a_tj = w3 . tanh(W1 m_j + W2 hhat_t)                 for the slots written before t
    S4  w_t = sparsifier(a_t): the k_top largest, shifted by the next one and normalised (`top`)
    S5  s_t = sum_j w_tj m_j,    h_t = hhat_t + s_t
    S6  y_t = V1 h_t + V2 s_t + b
    S7  if t mod k_att = 0, h_t becomes a slot, seen from t + 1 on
    S8  the next step receives (h_t, c_t)

Steps are counted from 1.  Slot 0 is h_0, unless the memory starts empty.  With at most k_top slots the rule
of S4 is undefined; `small_memory` says what stands there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.attention import CODES, Sparsifier
from refsnn.models.contract import Parameters, StaticInput
from refsnn.models.losses import LOSSES
from refsnn.models.recurrent.targets import check_step_targets
from refsnn.models.sequences import StepTargets

CELLS = {"lstm": 4, "tanh": 1}
# of whole numbers that kernels take
MOST = 2**31 - 1
SCORES = "mlp", "mlp_tanh_in", "separable"
SPARSIFIERS = "paper", "release", "dev"
SMALL_MEMORIES = "raw", "min", "softmax", "zero"
MENTAL_UPDATES = {"full": (), "no_score": ("query", "key"), "none": ("query", "key", "value")}
READOUTS = "all", "last"


class ReminderWarning(UserWarning):
    """A configuration under which reminding cannot do what one would expect of it."""


@dataclass(frozen=True)
class AttentiveNetwork:
    """A recurrent layer with a memory of its own states, and a linear read-out.

    Parameters
    ----------
    widths : tuple of int
        Inputs I, units H, outputs O.
    top : int
        k_top: how many memories are retrieved; 0 or less keeps all, with raw scores.
    store_every : int or None
        k_att: a state is stored every so many steps; None never stores one.
    truncate_every : int or None
        k_trunc: the recurrent gradient is cut before the steps t with t mod k_trunc = 0; None never cuts.
    cell : {"lstm", "tanh"}
        The recurrence.
    score : {"mlp", "mlp_tanh_in", "separable"}
        S3; tanh of memories and query first; or a sum of two numbers (the release), blind to the query.
    score_width : int, optional
        A; H by default.
    sparsifier : {"paper", "release", "dev"}
        Which score is the threshold: the (k_top + 1)-th; the k_top-th, raised; the (k_top + 1)-th, lowered.
    small_memory : {"raw", "min", "softmax", "zero"}
        Weights while there are at most k_top slots.
    detached : tuple of str
        Where no gradient goes: "query" and "key" of the scores, "value" of the sum.  `mental_updates` has
        presets.
    empty_memory : bool
        Whether there is no slot 0.
    norm_shift, threshold_shift : float
        eps_norm, added to the normaliser, and eps_thr of the sparsifiers that raise or lower the threshold.
    mix_batch : bool
        Reproduce the release, which mixes thresholds over the batch; for comparison only.
    augmented : bool
        Whether h_t contains s_t; False is the self-attention baseline, whose recurrence is not reminded.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out.
    readout : {"all", "last"}
        The loss is a mean over all steps, or that of the last one.

    Raises
    ------
    TypeError, ValueError
        For values out of range.

    Warns
    -----
    ReminderWarning
        Where attention cannot learn or credit cannot travel: see `lint`.

    Examples
    --------
    >>> network = AttentiveNetwork((3, 8, 4), top=2, store_every=2, truncate_every=5)
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> parameters["attention.score_weight"].shape
    (8,)
    """

    widths: tuple[int, ...]
    top: int = 5
    store_every: int | None = 1
    truncate_every: int | None = None
    cell: str = "lstm"
    score: str = "mlp"
    score_width: int | None = None
    sparsifier: str = "paper"
    small_memory: str = "raw"
    detached: tuple[str, ...] = ()
    empty_memory: bool = False
    norm_shift: float = 1e-7
    threshold_shift: float = 1e-7
    mix_batch: bool = False
    augmented: bool = True
    loss_function: str = "cross_entropy"
    readout: str = "all"

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", checks.widths("widths", self.widths, minimum=3))
        if len(self.widths) != 3:
            raise ValueError(f"widths: expected three (inputs, units, outputs), got {self.widths!r}")
        if isinstance(self.top, bool) or not isinstance(self.top, (int, np.integer)):
            raise TypeError(f"top: expected a whole number, 0 for all memories, got {self.top!r}")
        if abs(self.top) > MOST:
            raise ValueError(f"top: expected at most {MOST}, got a number of {len(str(self.top))} digits")
        for name in ("store_every", "truncate_every"):
            value = getattr(self, name)
            if value is not None and checks.count(name, value) > MOST:
                raise ValueError(f"{name}: expected at most {MOST}, got {value}; take None for never")
        for name, known in (
            ("cell", CELLS), ("score", SCORES), ("sparsifier", SPARSIFIERS), ("readout", READOUTS),
            ("small_memory", SMALL_MEMORIES), ("loss_function", LOSSES),
        ):  # fmt: skip
            checks.choice(name, getattr(self, name), known)
        if self.score_width is not None:
            checks.count("score_width", self.score_width)
        if not isinstance(self.detached, (tuple, list)):
            raise TypeError(
                f"detached: expected a tuple of names such as ('query', 'key'), got {self.detached!r}"
            )
        for name in self.detached:
            checks.choice("detached", name, MENTAL_UPDATES["none"])
        object.__setattr__(self, "detached", tuple(self.detached))
        for name in ("norm_shift", "threshold_shift"):
            checks.number(name, getattr(self, name), 0)
        for name in ("empty_memory", "mix_batch", "augmented"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        for line in self.lint():
            warnings.warn(line, ReminderWarning, stacklevel=3)

    # -- sizes ----------------------------------------------------------------------------------------

    @property
    def attention_width(self) -> int:
        """A; 1 for the separable score."""
        return 1 if self.score == "separable" else self.score_width or self.widths[1]

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of cell, attention and read-out, weights (post, pre)."""
        inputs, units, outputs = self.widths
        rows, width = CELLS[self.cell] * units, self.attention_width
        shapes: dict[str, tuple[int, ...]] = {
            "cell.input_weight": (rows, inputs),
            "cell.recurrent_weight": (rows, units),
            "cell.input_bias": (rows,),
            "cell.recurrent_bias": (rows,),
            "attention.memory_weight": (width, units),
            "attention.query_weight": (width, units),
        }
        if self.score != "separable":
            shapes["attention.score_weight"] = (width,)
        return shapes | {
            "readout.weight": (outputs, units),
            "readout.summary_weight": (outputs, units),
            "readout.bias": (outputs,),
        }

    def slots_before(self, step: int) -> int:
        """M_t: slots that step t sees."""
        stored = 0 if self.store_every is None else (step - 1) // self.store_every
        return stored + (not self.empty_memory)

    def slot_of(self, step: int) -> int | None:
        """Which slot h_t becomes, if it is stored."""
        if self.store_every is None or step % self.store_every:
            return None
        return step // self.store_every - self.empty_memory

    def cut_before(self, step: int) -> bool:
        """Whether the recurrent gradient is cut between steps t - 1 and t."""
        return self.truncate_every is not None and step % self.truncate_every == 0

    def places(self, slots: int) -> int:
        """K: how many slots can survive at one step."""
        if self.top <= 0 or self.sparsifier == "dev" or self.mix_batch:
            return max(slots, 1)  # with equal scores all may
        return min(self.top, max(slots, 1))

    def rule(self, filled: int, dtype: np.dtype) -> Sparsifier:
        """S4 with M filled slots.

        Parameters
        ----------
        filled : int
            M.
        dtype : dtype
            Of the parameters.

        Returns
        -------
        Sparsifier
        """
        number = np.dtype(dtype).type
        name = self.sparsifier
        if self.top <= 0:
            name = "raw"
        elif filled <= self.top:
            name = self.small_memory
        shifts = number(self.norm_shift), number(self.threshold_shift)
        return Sparsifier(CODES[name], self.top, *shifts, self.mix_batch)

    # -- advice ---------------------------------------------------------------------------------------

    def lint(self, steps: int | None = None) -> list[str]:
        """What will not work as one would expect, and why.

        Parameters
        ----------
        steps : int, optional
            T, if it is known.

        Returns
        -------
        list of str
            One sentence each; none for a sound configuration.

        Raises
        ------
        TypeError, ValueError
            If `steps` is no positive integer.

        Examples
        --------
        >>> len(AttentiveNetwork((3, 8, 4), top=2, store_every=2, truncate_every=5).lint(40))
        0
        """
        found = []
        if self.top == {"paper": 1, "release": 2, "dev": 1}[self.sparsifier]:
            weight = (
                "whose weight is 1" if self.sparsifier != "dev" else "with all weight but a share of eps_thr,"
            )
            found.append(
                f"top: with {self.top} and sparsifier {self.sparsifier!r} one memory survives, {weight} "
                "whatever its score: the attention gets no gradient; take one more"
            )
        if self.sparsifier == "release" and self.top == 1:
            found.append("top: with 1 and sparsifier 'release' no memory survives; take 3 or more")
        cut = self.truncate_every
        if cut is not None and cut > 1 and self.store_every is not None and self.store_every % cut == 0:
            found.append(
                f"store_every: {self.store_every} is a multiple of truncate_every={cut}, so that every "
                "stored state is the first of its segment and credit that comes to it travels one step only; "
                "take a number that is none"
            )
        if steps is None:
            return found
        checks.count("steps", steps)
        if cut == steps:
            found.append(
                f"truncate_every: {cut} is the length of the sequence and still cuts before its last step; "
                "take None to never cut"
            )
        if (not self.empty_memory) < self.slots_before(steps) <= self.top and self.small_memory == "raw":
            found.append(
                f"top: {self.top} memories are never exceeded within {steps} steps, so that all weights are "
                "raw scores, neither normalised nor bounded; take fewer, a smaller store_every or "
                "small_memory='softmax'"
            )
        return found

    # -- parameters -----------------------------------------------------------------------------------

    def initialise(
        self,
        rng: np.random.Generator,
        dtype: Any = np.float64,
        *,
        attention: str = "authors",
        forget_bias: float = 0.0,
    ) -> Parameters:
        """Cell uniform in +-1/sqrt(H), read-out in +-1/sqrt(2 H); W1, W2 N(0, 1), w3 N(0, 0.01^2).

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.
        attention : {"authors", "uniform"}
            As above, or all weights of the attention uniform in +-1/sqrt(H), as those of the cell: scores of
            order 1 in the place of 0.01 give the same memories, and gradients a hundred times smaller.
        forget_bias : float
            Added to the input bias of the forget gates, at which 0 forgets half of the cell at each step.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes` says; the separable score has both vectors N(0, 0.01^2), as the release.

        Raises
        ------
        TypeError, ValueError
            For an `rng` that is no Generator, a dtype that is no float, another `attention`, and a bias that
            is no number, or not 0 without gates.
        """
        checks.generator("rng", rng)
        checks.choice("attention", attention, ("authors", "uniform"))
        if checks.number("forget_bias", forget_bias) and self.cell != "lstm":
            raise ValueError(f"forget_bias: expected 0 for the cell {self.cell!r}, got {forget_bias}")
        dtype, units = checks.float_dtype("dtype", dtype), self.widths[1]
        parameters: Parameters = {}
        for name, shape in self.parameter_shapes().items():
            room = name.split(".")[0]
            if room == "attention" and attention == "authors":
                small = name == "attention.score_weight" or self.score == "separable"
                value = (0.01 if small else 1.0) * rng.standard_normal(shape)
            else:
                limit = 1 / np.sqrt(2 * units if room == "readout" else units)
                value = rng.uniform(-limit, limit, shape)
            if name == "cell.input_bias" and forget_bias:
                value[units : 2 * units] += forget_bias
            parameters[name] = value.astype(dtype)
        return parameters

    # -- the door -------------------------------------------------------------------------------------

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, np.ndarray, StepTargets]:
        """Refuse at the door what would be wrong inside.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : array_like, (T, B, I), or StaticInput
            Network input.
        targets : array_like or StepTargets
            With `readout="last"` labels (B,) or real targets (B, O); with "all" those of each step, (T, B) or
            (T, B, O).  Those of the other kind are the same at each step, or the last of them counts.
            `StepTargets` with weights take the place of the read-out's mean.

        Returns
        -------
        tuple
            Parameters, inputs, and targets with weights such that the loss is the mean of the read-out's.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.

        Warns
        -----
        ReminderWarning
            For what `lint` finds at this length.
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        dtype, (steps, batch) = inputs.dtype, inputs.shape[:2]
        if not isinstance(targets, StepTargets):
            weights = np.zeros(steps, dtype)
            weights[-1 if self.readout == "last" else slice(None)] = (
                1 if self.readout == "last" else 1 / steps
            )
            values = checks.as_numpy("targets", targets)
            targets = StepTargets(values, weights)
        elif targets.weights is None and self.readout == "last":
            raise ValueError(
                "targets: expected StepTargets with weights beside readout='last', got none, and every step "
                "would count; pass the labels alone, or weights"
            )
        for name in ("attention.score_weight", "attention.memory_weight"):
            if name in parameters and not parameters[name].any() and self.top > 0:
                follows = (
                    "all memories survive with one weight, and gradients are divided by eps_norm"
                    if self.sparsifier == "dev"
                    else "with more than `top` memories none is above the threshold: attention can never "
                    "start there"
                )
                warnings.warn(
                    f"parameters[{name!r}]: all 0, so that all scores are equal and {follows}; draw it at "
                    "random",
                    ReminderWarning,
                    stacklevel=3,
                )
        known = set(self.lint())
        for line in self.lint(steps):
            if line not in known:
                warnings.warn(line, ReminderWarning, stacklevel=3)
        outputs = self.widths[2]
        return (
            parameters,
            inputs,
            check_step_targets(self.loss_function, targets, steps, batch, outputs, dtype),
        )

    def check_inputs(self, parameters: Any, inputs: Any) -> tuple[Parameters, np.ndarray]:
        """The part of `check` that needs no targets.

        Parameters
        ----------
        parameters, inputs
            As in `check`.

        Returns
        -------
        tuple
            The two, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes())
        dtype = next(iter(parameters.values())).dtype
        if isinstance(inputs, StaticInput):
            inputs = np.repeat(np.asarray(inputs.value)[None], inputs.steps, axis=0)
        array = checks.float_array("inputs", inputs, ("T", "B", self.widths[0]), dtype)
        return parameters, np.ascontiguousarray(array)


def mental_updates(name: str) -> tuple[str, ...]:
    """Which gradients into remembered states are left out.

    Parameters
    ----------
    name : {"full", "no_score", "none"}
        None, those through the scores, all.

    Returns
    -------
    tuple of str
        For `detached`.

    Raises
    ------
    ValueError
        For another name.

    Examples
    --------
    >>> mental_updates("no_score")
    ('query', 'key')
    """
    return MENTAL_UPDATES[checks.choice("name", name, MENTAL_UPDATES)]
