"""The papers: reference, and what each one states, in one sentence of mathematics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """One paper whose claims are measured.

    Attributes
    ----------
    key : str
        First part of its claims' ids.
    name : str
        The algorithm's short name.
    title, authors, reference, link : str
        The publication.
    gives_up : str
        What the algorithm gives up to avoid the cost of full backpropagation through time.
    statement : str
        What the paper states, text with LaTeX between dollar signs.
    display : tuple of tuples of str
        The same in formulas, LaTeX; formulas of one tuple stand side by side where there is room.
    where : str
        The symbols of the formulas, text with LaTeX between dollar signs.
    exact : str
        What holds exactly where the paper says approximately, or says less; empty if there is nothing to add.
    exact_display : tuple of tuples of str
        The same in formulas.
    headline : tuple of str
        Ids of the claims that measure `exact`.
    """

    key: str
    name: str
    title: str
    authors: str
    reference: str
    link: str
    gives_up: str
    statement: str
    display: tuple[tuple[str, ...], ...]
    where: str
    exact: str = ""
    exact_display: tuple[tuple[str, ...], ...] = ()
    headline: tuple[str, ...] = ()


_ALL = (
    Paper(
        key="rate_backpropagation",
        name="Rate-based backpropagation",
        title=(
            "Advancing Training Efficiency of Deep Spiking Neural Networks through Rate-based Backpropagation"
        ),
        authors="Chengting Yu, Lei Liu, Gaoang Wang, Erping Li, Aili Wang",
        reference="NeurIPS 2024, arXiv 2410.11488",
        link="https://arxiv.org/abs/2410.11488",
        gives_up="time resolution of the error",
        statement=(
            "One backward pass over firing rates, each neuron represented by the mean slope $g^l$ with which "
            "its rate answers a current that is shifted equally at all $T$ steps, gives $1/T$ of the "
            "gradient of backpropagation through time, up to what the two factors of each product share "
            "in time."
        ),
        display=(
            (
                r"T\,\nabla_{W^l}^{\mathrm{rate}} = \frac{\partial \ell}{\partial c^l}\,{(r^{l-1})}^{\top}"
                r"\;\approx\;\nabla_{W^l}^{\mathrm{BPTT}}",
                r"\frac{\partial \ell}{\partial c^l} = \mathrm{diag}(g^l)\,{(W^{l+1})}^{\top}"
                r"\frac{\partial \ell}{\partial c^{l+1}}",
            ),
            (
                r"g^l = \frac1T\sum_{t=1}^{T}\sigma'_t\,\rho_t",
                r"\rho_1 = 1,\quad \rho_{t+1} = 1 + \frac{d u_{t+1}}{d u_t}\,\rho_t",
            ),
        ),
        where=(
            "$r^l$ firing rates, $c^l = W^l r^{l-1} + b^l$ mean currents, $u_t$ potentials before the reset, "
            "$\\sigma'_t$ pseudo-derivatives, $\\rho_t$ traces, $\\ell$ the loss of the mean readout."
        ),
    ),
    Paper(
        key="ottt",
        name="Online training through time",
        title="Online Training Through Time for Spiking Neural Networks",
        authors="Mingqing Xiao, Qingyan Meng, Zongpeng Zhang, Di He, Zhouchen Lin",
        reference="NeurIPS 2022, arXiv 2210.04195",
        link="https://arxiv.org/abs/2210.04195",
        gives_up="edges of the unrolled graph",
        statement=(
            "Of all paths through time keep the leak of the neurons that a weight feeds: the error of each "
            "step, sent down at that step alone, times a trace of the presynaptic spikes. The memory does "
            "not grow with $T$, and where weighted firing rates converge the gradient has a positive inner "
            "product with that of the network of the rates."
        ),
        display=(
            (
                r"\nabla_{W^l} L = \sum_{t=1}^{T} g_{u^{l+1}}[t]\,{\hat{a}^l[t]}^{\top}",
                r"\hat{a}^l[t] = \lambda\,\hat{a}^l[t-1] + s^l[t]",
            ),
            (
                r"g_{u^l}[t] = \psi(u^l[t] - V_{th}) \odot {(W^l)}^{\top} g_{u^{l+1}}[t]",
                r"\langle \nabla_{W^l} L,\, (\nabla_{W^l} L_{sr})_{sr} \rangle > 0",
            ),
        ),
        where=(
            "$s^l$ spikes, $u^l$ potentials before the reset, $\\psi$ surrogate slope, $\\lambda$ leak, "
            "$a[t]=\\hat{a}[t]/Z_t$ weighted firing rates with $Z_t=\\sum_{j<t}\\lambda^j$, and $L_{sr}$ the "
            "loss of the rates, that of a network of clamps."
        ),
        exact=(
            "With a leak the rate is not the current, however long the run: the potential that is left over "
            "counts, up to $1/Z_T\\to1-\\lambda$. The untraced bias gradient is that of the rates with the "
            "factor 1, where the paper prints $1/Z_T$. In a recurrent layer with slopes "
            "$D=\\mathrm{diag}(d)$ of the clamps, $c$ the error at the rates and $v=(I-DW)^{-\\top}c$, the "
            "inner product is positive whenever $\\|DWD\\|_2<1$, saturated neurons or not."
        ),
        exact_display=(
            (
                r"a[T] = \frac{\bar{x}[T]}{V_{th}} - \frac{v[T]}{V_{th} Z_T}",
                r"\langle D c\,a^{\top},\, D v\,a^{\top} \rangle"
                r" \ge \|a\|^2 (1 - \|DWD\|_2) \|D v\|^2",
            ),
        ),
        headline=("ottt/O8", "ottt/O9.biases", "ottt/O10.sign"),
    ),
    Paper(
        key="equilibrium_propagation",
        name="Equilibrium propagation",
        title=(
            "Updates of Equilibrium Prop Match Gradients of Backprop Through Time in an RNN with Static Input"
        ),
        authors="Maxence Ernoult, Julie Grollier, Damien Querlioz, Yoshua Bengio, Benjamin Scellier",
        reference="NeurIPS 2019, arXiv 1905.13633",
        link="https://arxiv.org/abs/1905.13633",
        gives_up="the infinitesimal",
        statement=(
            "Let the map of a network with static input be the gradient of a scalar $\\Phi$, and let the "
            "network rest at its fixed point: then the steps that it takes under a weak nudge $\\beta$ "
            "towards the target are, one by one, minus the gradients that backpropagation through time finds "
            "going back."
        ),
        display=(
            (
                r"s_{t+1} = \frac{\partial \Phi}{\partial s}(x, s_t, \theta)"
                r" - \beta\,\frac{\partial \ell}{\partial s}(s_t, y)",
                r"\underset{\beta \to 0}{\text{lim}}\,\Delta_s(\beta, t)"
                r" = -\frac{\partial L}{\partial s_{T-t}}",
                r"\underset{\beta \to 0}{\text{lim}}\,\Delta_\theta(\beta, t)"
                r" = -\frac{\partial L}{\partial \theta_{T-t}}",
            ),
            (
                r"\Delta_s = \frac{s^\beta_{t+1} - s^\beta_t}{\beta}",
                r"\Delta_\theta = \frac1\beta\left("
                r"\frac{\partial \Phi}{\partial \theta}(x, s^\beta_{t+1}, \theta)"
                r" - \frac{\partial \Phi}{\partial \theta}(x, s^\beta_t, \theta)\right)",
            ),
        ),
        where=(
            "for the first $K$ steps $t = 0, \\dots, K-1$ of the nudged phase, when the free phase has "
            "rested for $K$ steps; $\\theta_t$ is the copy of the parameters used at step $t$, and "
            "$L = \\ell(s_T, y)$."
        ),
        exact=(
            "The usual networks $s \\leftarrow \\sigma(\\mathcal{W}s + \\dots)$, dense or convolutional, are "
            "no such gradients, and the paper finds its equality approximately respected. With "
            "$D = \\mathrm{diag}\\,\\sigma'(u_*)$ it is exact: the weight updates of a nudge inside the "
            "activation are the gradients, step by step, and those of a nudge outside are the gradients of "
            "a loss whose output error is divided by $\\sigma'(u^0_*)$."
        ),
        exact_display=(
            (
                r"\underset{\beta \to 0}{\text{lim}}\,\Delta_\theta(\beta, t)"
                r" = -\frac{\partial L}{\partial \theta_{T-t}}",
                r"\underset{\beta \to 0}{\text{lim}}\,\Delta_s(\beta, t)"
                r" = -D\,\frac{\partial L}{\partial s_{T-t}}",
                r"\text{outside:}\quad\frac{\partial L}{\partial s^0_T}"
                r" \;\to\; D_0^{-1}\,\frac{\partial L}{\partial s^0_T}",
            ),
        ),
        headline=("equilibrium_propagation/O11", "equilibrium_propagation/O12"),
    ),
    Paper(
        key="memory_efficient_bptt",
        name="Memory-efficient BPTT",
        title="Memory-Efficient Backpropagation Through Time",
        authors="Audrūnas Gruslys, Rémi Munos, Ivo Danihelka, Marc Lanctot, Alex Graves",
        reference="NeurIPS 2016, arXiv 1606.03401",
        link="https://arxiv.org/abs/1606.03401",
        gives_up="nothing: time, for storage",
        statement=(
            "Keep what the given memory holds, run the rest again when its turn comes, and choose what to "
            "keep so that the number $C(t, m)$ of steps run forward is the least: the gradient is that of "
            "backpropagation through time."
        ),
        display=(
            (
                r"C_{HSM}(t,m) = \underset{1 \le y < t}{\text{min}}\; y + C(t-y, m-1) + C(y, m)",
                r"C_{ISM}(t,m) = \underset{1 \le y \le t}{\text{min}}\; y + C(t-y, m-1) + C(y-1, m)",
            ),
            (
                r"C_{MSM}(t,m) = \underset{y}{\text{min}}\,\left\{ y + C(t-y, m-1) + C(y, m),\;"
                r" y + C(t-y, m-\alpha) + C(y-1, m) \right\}",
            ),
        ),
        where=(
            "$t$ steps; $m$ slots for hidden states with that of the start (HSM), for tapes with the working "
            "core (ISM), or for both, where a tape takes the place of $\\alpha$ states (MSM); $y$ is the "
            "step at which something is kept first."
        ),
        exact=(
            "Both pure strategies have closed forms, and the second is the first for one step more. The "
            "mixed recursion as printed is not the best that a machine can do: where the input state of a "
            "tape is held anyway, the tape takes $\\beta = \\alpha - 1$, and is needed at the first step of "
            "a part only. The length need not be known: two sweeps over the slots are optimal for every "
            "$T \\le \\frac12(m+1)(m+2)+1$."
        ),
        exact_display=(
            (
                r"C_{HSM}(t,m) = (r+1)\,t - \binom{m+r}{r-1},\quad \binom{m+r-1}{r-1} < t \le \binom{m+r}{r}",
                r"C_{ISM}(t,m) = C_{HSM}(t+1,m) - (t+1)",
            ),
        ),
        headline=(
            "memory_efficient_bptt/O3",
            "memory_efficient_bptt/O4",
            "memory_efficient_bptt/O6.plain",
            "memory_efficient_bptt/O15",
        ),
    ),
    Paper(
        key="lsnn",
        name="LSNN",
        title="Long short-term memory and learning-to-learn in networks of spiking neurons",
        authors="Guillaume Bellec, Darjan Salaj, Anand Subramoney, Robert Legenstein, Wolfgang Maass",
        reference="NeurIPS 2018, arXiv 1803.09574",
        link="https://arxiv.org/abs/1803.09574",
        gives_up="nothing in time: the height of the pseudo-derivative",
        statement=(
            "Neurons whose threshold rises with each of their spikes and falls slowly give a recurrent "
            "spiking network a memory of seconds. A pseudo-derivative of height $\\gamma < 1$ keeps the "
            "gradient of backpropagation through time from exploding on its way from spike to spike; the way "
            "through the threshold is not dampened."
        ),
        display=(
            (
                r"b_{k+1} = \rho\,b_k + (1-\rho)\,z_k,\quad \mathcal{B}_{k+1} = b^0 + \beta\,b_{k+1}",
                r"v_{k+1} = \alpha\,v_k + (1-\alpha)\,I_k - \delta\,z_k\,\mathcal{B}_{k+1}",
            ),
            (
                r"u_{k+1} = \frac{v_k - \mathcal{B}_{k+1}}{\mathcal{B}_{k+1}},\quad"
                r" z_{k+1} = \frac{1-m_{k+1}}{\delta}\,H(u_{k+1})",
                r"\frac{\partial H}{\partial u} := \gamma\,\text{max}(0,\, 1-|u|)",
            ),
        ),
        where=(
            "$z$ spikes, $v$ potentials, $b$ adaptation, $\\mathcal{B}$ thresholds, $u$ scaled distances, "
            "$m$ refractory masks, $I$ currents that arrive through delays, $\\delta$ the time step, "
            "$\\alpha$ and $\\rho$ decays of potential and adaptation, $H$ the step function."
        ),
        exact=(
            "With $H$ replaced by the integral of the pseudo-derivative the adjoint is a true gradient, with "
            "$\\gamma=0$ that of the spiking network at a fixed spike pattern, and with the recurrent "
            "transmission stopped it is a recursion forward in time, local to each synapse."
        ),
        exact_display=(
            (
                r"\epsilon^b_{k+1} = \rho\,\epsilon^b_k + (1-\rho)\,\epsilon^z_k",
                r"\epsilon^z_{k+1} = \frac{1-m_{k+1}}{\delta}\,\psi(u_{k+1})"
                r"\left(\frac{\epsilon^v_k}{\mathcal{B}_{k+1}}"
                r" - \frac{v_k\,\beta\,\epsilon^b_{k+1}}{\mathcal{B}_{k+1}^2}\right)",
            ),
            (
                r"\epsilon^v_{k+1} = \alpha\,\epsilon^v_k + (1-\alpha)\,s_k"
                r" - \delta\,(\mathcal{B}_{k+1}\,\epsilon^z_k + z_k\,\beta\,\epsilon^b_{k+1})",
            ),
        ),
        headline=("lsnn/O1", "lsnn/O3", "lsnn/O9.growth", "lsnn/O9.memory", "lsnn/O11"),
    ),
    Paper(
        key="sparse_attentive_backtracking",
        name="Sparse attentive backtracking",
        title="Sparse Attentive Backtracking: Temporal Credit Assignment Through Reminding",
        authors=(
            "Nan Rosemary Ke, Anirudh Goyal, Olexa Bilaniuk, Jonathan Binas, Michael C. Mozer, Chris Pal, "
            "Yoshua Bengio"
        ),
        reference="NeurIPS 2018, arXiv 1809.03702",
        link="https://arxiv.org/abs/1809.03702",
        gives_up="most edges through time, for a few that remind",
        statement=(
            "Cut the recurrent edges every $k_{trunc}$ steps, and let each step retrieve the $k_{top}$ "
            "states of its past that score best: credit jumps to them and goes back from there within their "
            "segment, without a replay of all that lies between."
        ),
        display=(
            (
                r"a_{t,j} = w_3^{\top}\tanh(W_1 m_j + W_2 \hat{h}_t)",
                r"w_{t,j} = \frac{\text{max}(0,\, a_{t,j}-\delta_t)}{U_t}",
                r"s_t = \sum_j w_{t,j}\, m_j,\quad h_t = \hat{h}_t + s_t",
            ),
        ),
        where=(
            "$\\hat{h}_t$ is what the cell gives, $m_j$ one of the past $h$, stored every $k_{att}$ steps, "
            "$\\delta_t$ the $(k_{top}+1)$-th largest score and $U_t$ the sum of what is above it."
        ),
        exact=(
            "What the sweep computes is the derivative of one function: that in which $h$ and $c$ at the "
            "cuts are constants of the run itself. The threshold's memory gets credit too, though its weight "
            "is 0; one memory alone has weight 1 whatever its score, and teaches the attention nothing. "
            "Where $k_{att}$ is a multiple of $k_{trunc}$, credit that has jumped goes back one step only."
        ),
        exact_display=(
            (
                r"\bar{u}_j = \frac{\bar{w}_j - \sum_l \bar{w}_l w_l}{U}",
                r"\bar{a}_j = \bar{u}_j,\quad \bar{a}_\theta = -\sum_j \bar{u}_j",
            ),
        ),
        headline=(
            "sparse_attentive_backtracking/O1",
            "sparse_attentive_backtracking/O3",
            "sparse_attentive_backtracking/O9",
            "sparse_attentive_backtracking/O13",
            "sparse_attentive_backtracking/O19",
        ),
    ),
    Paper(
        key="manifold_spiking_gnn",
        name="Manifold spiking graph network",
        title="Spiking Graph Neural Network on Riemannian Manifolds",
        authors="Li Sun, Zhenhao Huang, Qiqi Wan, Hao Peng, Philip S. Yu",
        reference="NeurIPS 2024, arXiv 2410.17941",
        link="https://arxiv.org/abs/2410.17941",
        gives_up="the gradient through spikes",
        statement=(
            "Beside its spikes each node of a graph carries a point of a manifold, which every layer pushes "
            "along a geodesic by the mean of the spikes' currents. Differentiate the path of the points, and "
            "neither time nor the graph appears in the backward pass."
        ),
        display=(
            (
                r"x^l[t] = \hat{A}\,s^{l-1}[t]\,W^l,\quad s^l = \mathrm{Neuron}(x^l)",
                r"z^l = \mathrm{Exp}_{z^{l-1}}(v^l),\quad"
                r" v^l \;\text{from}\; u^l = \frac{\varepsilon}{T}\sum_{t=1}^{T} x^l[t]",
            ),
            (
                r"\nabla_{W^l} L = \left[\frac{\partial v^l}{\partial W^l}\right]^*"
                r" [D_v\varphi]^*\,\nabla_{z^l} L",
                r"\nabla_{z^{l-1}} L = [D_z\psi]^*\,\nabla_{z^l} L",
            ),
        ),
        where=(
            "$s^l$ spikes, $z^l$ points, $\\hat{A}$ the normalised adjacency, $\\varepsilon$ the step size; "
            "$\\varphi$ and $\\psi$ are the exponential map as a function of vector and point."
        ),
        exact=(
            "The true derivative of a spike is 0 almost everywhere, so that this is the gradient of the "
            "computed loss, exactly, wherever there is one; what it does not see are jumps. The printed "
            "$D_z\\psi=c_0 I$ holds $v$ fixed, and is exact only for a step that leaves the manifold: with "
            "$v$ transported from the origin, $v = w - \\frac{a}{b}(o+z)$, three terms more make it exact "
            "for every curvature $\\kappa$, which can then be learned."
        ),
        exact_display=(
            (
                r"\bar{z} = c_0 g - \frac{a}{b} c_1 g - \frac{\kappa}{b}\,\sigma J w"
                r" + \frac{a\kappa}{b^2}\,\sigma J o,\quad \sigma = c_1\,(o+z)^{\top} g",
                r"a = \kappa\langle z, w\rangle,\quad b = 1 + \kappa\langle o, z\rangle",
            ),
        ),
        headline=(
            "manifold_spiking_gnn/5.2.differences",
            "manifold_spiking_gnn/5.2.complex_step",
            "manifold_spiking_gnn/5.4.below",
            "manifold_spiking_gnn/5.6.ambient",
            "manifold_spiking_gnn/X1.complex_step",
        ),
    ),
)

PAPERS: dict[str, Paper] = {entry.key: entry for entry in _ALL}


def paper(key: str) -> Paper:
    """The paper of that key; one that is not described here yet still gets a section under its key."""
    name = key.replace("_", " ").capitalize()
    return PAPERS.get(key) or Paper(key, name, name, "", "", "", "", "", (), "")
