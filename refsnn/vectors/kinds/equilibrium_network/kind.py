"""Convergent networks with static input, and how they learn from relaxations or by adjoints."""

from __future__ import annotations

from collections.abc import Iterator

from refsnn.vectors.case import Case, Kind, Leaf
from refsnn.vectors.kinds.equilibrium_network.cases import chains
from refsnn.vectors.kinds.equilibrium_network.mistakes import (
    ADJOINT,
    BACK,
    CONTINUAL,
    CONTRAST,
    LOSS,
    MISTAKES,
    NUDGE,
    SETTLED,
    STEP,
)
from refsnn.vectors.kinds.equilibrium_network.rules import by_hand
from refsnn.vectors.kinds.equilibrium_network.solve import solve
from refsnn.vectors.kinds.equilibrium_network.variant_mistakes import VARIANT_MISTAKES
from refsnn.vectors.kinds.equilibrium_network.variants import variants

_RULES = "refsnn/algorithms"
LEAVES = (
    Leaf(
        "states/free/*",
        "(B, d_n) or (B, C, H, W)",
        "s_T, the end of the free phase",
        f"{STEP}, refsnn/equations/relaxation.py",
    ),
    Leaf("states/nudged/*", "(B, d_n) or (B, C, H, W)", "s^beta_K", NUDGE),
    Leaf("states/opposite/*", "(B, d_n) or (B, C, H, W)", "s^{-beta}_K, from the free state too", NUDGE),
    Leaf("steps", "()", "how many free steps a tolerance took, or terms of the adjoint", SETTLED, 0.0),
    Leaf("loss", "()", "of the free state", LOSS),
    Leaf("adjoint/*", "(B, d_n) or (B, C, H, W)", "Lambda_K, the 1/B of the loss in it", ADJOINT),
    Leaf(
        "updates/*",
        "(K, ...)",
        "Delta(t): the motion of states over eps beta B; of parameters what each step says",
        f"(E6) {CONTRAST}, {_RULES}/processes.py",
    ),
    Leaf(
        "back/*",
        "(K, ...)",
        "nabla(t): dL/ds_{T-t}, and what step T - t alone adds to dL/dparameter",
        f"{BACK}, {_RULES}/processes.py",
    ),
    Leaf("learned/*", "as the parameter", "theta_K, after the nudged phase", CONTINUAL),
    Leaf(
        "gradients/*",
        "as the parameter",
        "the rule's estimate of dL/dparameter; of rules that state updates, minus their sum",
        f"{CONTRAST}, {_RULES}",
    ),
)
INPUTS = {
    "algorithm": "'contrast' (one-sided or symmetric equilibrium propagation), 'holomorphic', 'continual', "
    "'vector-field', 'non-conservative', 'bptt' of the free phase, 'recurrent-backpropagation'; "
    "'step-by-step' (updates of each step), the same of the corrected phase "
    "('non-conservative-step-by-step') and back ('bptt-step-by-step'). Of untied networks 'continual' and "
    "'step-by-step' multiply the motion of each step with what is read at s_t (E21). A read-out takes "
    "dl/dparameter, a mean over the nudged ends; of rules with steps minus its change in a step, in the "
    "first step minus all of it, without 1/beta",
    "family": "'energy': s <- (1 - eps) s + eps (h'(s) u + force); 'prototypical': with sigma(u)",
    "widths": "(d_0, ..., d_N), output first, input last; each layer is coupled with the next; of images the "
    "numbers of channels",
    "activation": "'tanh'; 'sigm': 1 / (1 + exp(-4 (z - 1/2))); 'hardsigm': z clipped to [0, 1]; "
    "'my_hard_sig': z / 2 clipped to [0, 1]; 'ctrd_hard_sig': z clipped to [-1/2, 1/2]; 'identity'",
    "step_size": "eps; all layers step at once",
    "tied": "whether layer n + 1 hears layer n through W_n^T, else through its feedback weight V_n",
    "gated": "of the energy family: whether u is multiplied with h'(s), which is not 0 at the edges of a "
    "hard sigmoid",
    "output": "of the energy family: 'rho': h_0 = rho; 'linear': h_0 is the identity and its gate 1; "
    "'official': h_0 = rho and its gate 1; of the other 'linear': layer 0 has no sigma",
    "clamp": "of the energy family: whether states are clipped to [0, 1] after each step",
    "edge": "where BPTT derives a clip at its very edge: 'open': 0; 'closed': as between the edges; 'open' "
    "if it is not given",
    "couplings": "'n.m': layer n reads layer m and is heard by it; biases add; if it is not given, each "
    "layer and the next",
    "image": "(H, W) of the input, whose images have d_N channels",
    "kernels": "F of the couplings next to the input, from the output down; the last reads the input: u_n = "
    "P(w * h) + b of each channel, and layer n + 1 hears w ~* P^-1(h_n), the transpose. Weights above read "
    "images flattened in the order (C, H, W)",
    "paddings": "rows and columns of zeros on each side, one number a kernel",
    "poolings": "'max' (the first of equals, rows first), 'average', 'none', one a kernel",
    "windows": "side of the windows that are pooled, one number a kernel; they do not overlap",
    "crop": "whether last rows and columns of a map that fill no window are left out",
    "nudge_placement": "of the other: 'outside': eps (sigma(u) + force); 'inside': eps sigma(u + force)",
    "loss_function": "'mean_squared_error': |z - y|^2 / 2; 'cross_entropy': of the softmax of z; mean over B",
    "readout": "number of outputs z = W_out s^0 + b_out outside of the dynamics; 0: z = s^0",
    "free_steps": "T, from the state 0",
    "tolerance": "the free phase ends with the first step that moves no unit by more, T at most; the adjoint "
    "of 'recurrent-backpropagation' instead when the next term would move it by no more than this times "
    "max |dl/ds|, K at most",
    "nudged_steps": "K; of 'bptt' how many of the last free steps the gradient goes back, of "
    "'recurrent-backpropagation' the terms of the adjoint",
    "nudge": "beta; the force on layer 0 is -beta dl/ds^0 of each sample, without 1/B",
    "imaginary": "whether the nudge is i beta, and the real part of the result is taken: the limit of small "
    "nudges",
    "symmetric": "whether +beta is contrasted with -beta over 2 beta, else with the free state over beta",
    "stale_index": "of 'contrast': whether the maxima in the products are those of the state one step before "
    "the end of each phase",
    "points": "N, of 'holomorphic'",
    "warm_start": "of 'holomorphic': whether each point starts where the one before ended",
    "learning_rate": "eta of all parameters, of 'continual'",
    "updates": "of 'continual': whether the updates of each step are asked for",
    "inputs/input": "(B, d_N) or (B, C, H, W): x; the energy family reads rho(x), the other x",
    "inputs/targets": "as layer 0, or (B, readout): y; distributions for a cross-entropy",
    "inputs/start*": "where the free phase starts, in the place of 0",
    "inputs/learning_rates*": "eta of each parameter, of 'continual', in the place of `learning_rate`",
    "inputs/parameters/coupling*": "of coupling.0.1, coupling.1.2, ...: weight W (d_n, d_{n+1}) and bias b "
    "(d_n,) of layer n from layer n + 1, feedback V (d_{n+1}, d_n) unless tied or n + 1 is the input; of "
    "kernels weight and feedback (C_n, C_{n+1}, F, F) and bias (C_n,)",
    "inputs/parameters/readout*": "weight W_out (readout, d_0), bias b_out (readout,)",
}


def cases(large: bool) -> Iterator[Case]:
    """Chains of dense layers under all rules, then what the models and the rules can do beyond that.

    Parameters
    ----------
    large : bool
        Wider and deeper ones in addition.

    Yields
    ------
    Case
    """
    yield from chains(large)
    yield from variants()


EQUILIBRIUM_NETWORK = Kind(
    name="equilibrium_network",
    summary="Convergent networks: equilibrium propagation in its variants, BPTT and the steady adjoint.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="a transcription with dense Jacobians, and products as derivatives of Phi by complex step",
    cases=cases,
    mistakes=(*MISTAKES, *VARIANT_MISTAKES),
    wrongly=by_hand,
    agreement=1e-9,
)
