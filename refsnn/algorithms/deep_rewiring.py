"""DEEP R: training under a budget of synapses; dead ones are replaced by new ones at random places.

Bellec et al. 2018 (ICLR), in the form in which the LSNN of Bellec et al. 2018 (NeurIPS) was trained.  Every
entry of a matrix has a fixed sign s; its strength theta says whether the synapse is there, w = s theta where
theta > 0 and 0 elsewhere (`fixed_signs`).  With a global budget K = floor(sum_M p_M |M|) over all matrices,
one update is

    g      = s dL/dw                           dense: dormant entries too
    active = theta > 0
    theta  <- optimiser(theta, g)
    theta  <- theta where active, else 0        no optimiser wakes a dormant entry
    theta  <- theta - eta l_1 + sqrt(2 eta T) N(0, 1)   where theta > 0
    K - (number of theta > 0) entries are drawn among those with theta <= 0, and set to 1e-12;
    how many in which matrix is multinomial, with probabilities p_M |M|; where a matrix has fewer, all.

A synapse that dies keeps its theta <= 0 until the next update sets it to 0.  Entries of autapses, which no
model uses, are entries like others: they count, and can be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.algorithms.fixed_signs import SignedState, SignedWeights
from refsnn.algorithms.optimiser_state import Masks
from refsnn.models.contract import Parameters


@dataclass(frozen=True, eq=False)
class DeepRewiring(SignedWeights):
    """DEEP R over several matrices.

    Parameters
    ----------
    signs : dict of str to ndarray, (post, pre)
        +1 or -1 for every entry of the rewired matrices, dormant ones included; parameters that are not named
        (biases) are ordinary parameters of the same optimiser.
    optimiser : Optimiser
        Of all parameters together.
    connectivity : float in (0, 1] or dict of str to float
        p, the share of the entries of a matrix that may be active.
    l1 : float or dict of str to float
        l_1, what each active strength shrinks by in an update, in units of eta.
    temperature : float or dict of str to float
        T, of the noise on active strengths.
    per_matrix : bool
        A budget floor(p_M |M|) for each matrix (the scripts of the ICLR paper) in place of one for all.
    sparse_moments : bool
        False, as its authors have it: gradients of dormant entries feed the moments of the optimiser, and a
        reconnected synapse wakes up with them.  True: moments of dormant entries rest, and are 0 after a
        reconnection.
    reconnection : float
        Strength of a new synapse.

    Raises
    ------
    TypeError, ValueError
        For signs and an optimiser that are none; connectivities outside (0, 1], of unknown matrices or
        without any synapse; negative l_1 and T; a reconnection that is not positive.

    Examples
    --------
    >>> from refsnn.algorithms.optimisers import GradientDescent
    >>> rule = DeepRewiring({"weight": np.array([[1.0, -1.0, -1.0]])}, GradientDescent(1.0), 0.4)
    >>> rule.budget
    1
    >>> state = rule.initial_state({"weight": np.array([[0.5, 0.0, 0.0]])})
    >>> state = rule.update(state, {"weight": np.array([[0.6, 0.0, 0.0]])}, np.random.default_rng(0))
    >>> rule.weights(state)["weight"]
    array([[ 0.e+00, 0.e+00, -1.e-12]])
    """

    connectivity: float | Mapping[str, float]
    l1: float | Mapping[str, float] = 0.01
    temperature: float | Mapping[str, float] = 0.0
    per_matrix: bool = False
    sparse_moments: bool = False
    reconnection: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = per_matrix("connectivity", self.connectivity, self.signs, high=1, low_open=True)
        object.__setattr__(self, "connectivity", shares)
        for name in ("l1", "temperature"):
            object.__setattr__(self, name, per_matrix(name, getattr(self, name), self.signs))
        checks.number("reconnection", self.reconnection, 0, low_open=True)
        for group, budget in self._budgets():
            if budget < 1:
                entries = {name: self.signs[name].size for name in group}
                raise ValueError(
                    f"connectivity: expected room for at least one synapse, got "
                    f"{ {name: shares[name] for name in group} } of {entries} entries; raise it"
                )

    @property
    def budget(self) -> int:
        """K, how many synapses there may be in all."""
        return sum(budget for _, budget in self._budgets())

    def initial_state(self, parameters: Parameters) -> SignedState:
        """The state whose weights are `parameters`, before the first update.

        Parameters
        ----------
        parameters : dict of str to ndarray
            Rewired matrices, 0 where there is no synapse, and ordinary parameters; not changed.

        Returns
        -------
        SignedState

        Raises
        ------
        TypeError, ValueError
            For a matrix that is missing, of another shape or dtype, or against its signs, and for more
            synapses than the budget has.
        """
        state = super().initial_state(parameters)
        self._check_budget("parameters", state.strengths)
        return state

    def update(
        self,
        state: SignedState,
        gradients: Parameters,
        rng: np.random.Generator | None = None,
        reconnect: Masks | None = None,
    ) -> SignedState:
        """One update, with its rewiring.

        Parameters
        ----------
        state : SignedState
            Of the last update, or `initial_state`; not changed.
        gradients : dict of str to ndarray
            dL/dw at `weights(state)`, of all parameters; of rewired matrices dense.
        rng : numpy.random.Generator, optional
            Draws noise and new places; needed unless T = 0 and `reconnect` is given.
        reconnect : dict of str to ndarray of bool, optional
            Entries to reconnect, in place of a draw; none in a matrix that is not named.

        Returns
        -------
        SignedState

        Raises
        ------
        TypeError, ValueError
            For gradients that do not fit or are not finite; a state with more synapses than the budget has;
            entries to reconnect that are active, or more than the budget has room for.
        """
        if reconnect is None or any(self._of("temperature", name) for name in self.signs):
            rng = checks.generator("rng", rng)
        self._check_budget("state", self._strengths(state))
        active = self.active(state)
        strengths, optimiser = self.optimiser.update(
            state.strengths,
            self._slopes(gradients),
            state.optimiser,
            active if self.sparse_moments else None,
        )
        for name, mask in active.items():
            guarded = np.where(mask, strengths[name], strengths[name].dtype.type(0))
            rate = self.optimiser.rate(name, state.optimiser.iteration)
            strengths[name] = self._shrunk(name, guarded, rate, rng)
        chosen = self._draw(strengths, rng) if reconnect is None else self._given(strengths, reconnect)
        for name, mask in chosen.items():
            strengths[name][mask] = self.reconnection
        if self.sparse_moments:
            optimiser = optimiser.forgotten(chosen)
        return SignedState(strengths, optimiser)

    def _shrunk(
        self, name: str, strength: np.ndarray, rate: float, rng: np.random.Generator | None
    ) -> np.ndarray:
        """theta - eta l_1 + sqrt(2 eta T) N(0, 1) where theta > 0."""
        number, temperature = strength.dtype.type, self._of("temperature", name)
        moved = strength - number(rate * self._of("l1", name))
        if temperature:
            assert rng is not None
            noise = rng.standard_normal(strength.shape).astype(strength.dtype)
            moved += number(math.sqrt(2 * rate * temperature)) * noise
        return np.where(strength > 0, moved, strength)

    def _draw(self, strengths: Parameters, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        """Fill the budget: a multinomial number in each matrix, places uniform and without replacement."""
        assert rng is not None
        chosen = {}
        for group, budget in self._budgets():
            missing = budget - sum(int((strengths[name] > 0).sum()) for name in group)
            rooms = np.array([self._of("connectivity", name) * self.signs[name].size for name in group])
            split = rng.multinomial(max(0, missing), rooms / rooms.sum())
            for name, wanted in zip(group, split, strict=True):
                candidates = np.flatnonzero(strengths[name] <= 0)
                places = rng.choice(candidates, min(int(wanted), len(candidates)), replace=False)
                chosen[name] = np.zeros(strengths[name].shape, bool)
                chosen[name].flat[places] = True
        return chosen

    def _given(self, strengths: Parameters, reconnect: Masks) -> dict[str, np.ndarray]:
        """The caller's choice, if it is one that could have been drawn, or less."""
        checks.options("reconnect", reconnect, self.signs)
        chosen = {}
        for name, value in reconnect.items():
            mask = checks.as_numpy(f"reconnect[{name!r}]", value)
            if mask.dtype != np.bool_ or mask.shape != self.signs[name].shape:
                raise ValueError(
                    f"reconnect[{name!r}]: expected booleans of shape {self.signs[name].shape}, got "
                    f"{mask.dtype} of shape {mask.shape}"
                )
            taken = int((mask & (strengths[name] > 0)).sum())
            if taken:
                raise ValueError(
                    f"reconnect[{name!r}]: expected dormant entries, got {taken} whose synapse is there"
                )
            chosen[name] = mask
        after = {name: (strengths[name] > 0) | chosen.get(name, False) for name in self.signs}
        self._check_budget("reconnect", after)
        return chosen

    def _check_budget(self, label: str, strengths: Mapping[str, np.ndarray]) -> None:
        """Refuse more active entries than there may be."""
        for group, budget in self._budgets():
            counts = {name: int((strengths[name] > 0).sum()) for name in group}
            if sum(counts.values()) > budget:
                raise ValueError(
                    f"{label}: expected at most {budget} active synapses, got {sum(counts.values())}, "
                    f"{counts}; set weights to 0 or raise the connectivity"
                )

    def _budgets(self) -> list[tuple[tuple[str, ...], int]]:
        """Which matrices share a budget, and how large it is."""
        rooms = {name: self._of("connectivity", name) * signs.size for name, signs in self.signs.items()}
        if self.per_matrix:
            return [((name,), math.floor(room)) for name, room in rooms.items()]
        return [(tuple(rooms), math.floor(sum(rooms.values())))]

    def _of(self, option: str, name: str) -> float:
        """An option of one matrix; all were made dicts at the door."""
        return getattr(self, option)[name]


def per_matrix(
    option: str,
    value: float | Mapping[str, float],
    names: Iterable[str],
    high: float = math.inf,
    low_open: bool = False,
) -> dict[str, float]:
    """An option as one number for each matrix.

    Parameters
    ----------
    option : str
        Its name, for messages.
    value : float or dict of str to float
        One for all, or one for each.
    names : iterable of str
        Of the matrices.
    high : float
        Largest allowed; the smallest is 0.
    low_open : bool
        Whether 0 itself is refused.

    Returns
    -------
    dict of str to float

    Raises
    ------
    TypeError, ValueError
        For numbers out of range, and a dict of other names.

    Examples
    --------
    >>> per_matrix("l1", 0.5, ["input", "readout"])
    {'input': 0.5, 'readout': 0.5}
    """
    names = list(names)
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, checks.number(option, value, 0, high, low_open))
    if set(value) != set(names):
        raise ValueError(f"{option}: expected one number for each of {sorted(names)}, got {sorted(value)}")
    return {name: checks.number(f"{option}[{name!r}]", value[name], 0, high, low_open) for name in names}
