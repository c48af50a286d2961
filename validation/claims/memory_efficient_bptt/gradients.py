"""O1: the gradient is that of backpropagation through time, whatever is kept and whatever is run again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import Parameters
from refsnn.models.recurrent import RecurrentSpikingLayer, TanhNetwork
from refsnn.models.sequences import StepTargets
from refsnn.models.working_core import ContractCore
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.policies import HiddenStates
from validation.claims.memory_efficient_bptt.problems import (
    CELLS,
    Problem,
    cell,
    expected,
    networks_of_the_contract,
    recurrent,
    with_dropout,
)
from validation.claims.memory_efficient_bptt.running import (
    cut_in_the_middle,
    differing,
    each_run,
    leaves_in,
    leaves_of,
    run,
    schedules,
    stored,
    summed,
    worst,
)
from validation.ledger import Measured, VacuousError, claim, require

LENGTHS = (1, 2, 3, 5, 13, 24)


@claim(
    "memory_efficient_bptt/O1",
    r"Under every strategy, budget and tie the gradients of parameters, input and start are those of BPTT that keeps every state and tape, bit for bit: "
    r"tanh (also with dropout), LSTM of one and two layers, GRU, LIF with attached and detached reset, $T=1$ to $24$.",
    source="Gruslys 2016, section 3; specification, O1",
    metric="leaves that differ in a bit from BPTT over stored blocks, or from BPTT over the model contract",
    relation="==",
    bound=0,
    control=r"the same shares of the steps, added in the order $1,\dots,T$",
)
def equal_to_bptt(rng: np.random.Generator) -> Measured:
    value = control = runs = 0
    for name in (*CELLS, "tanh, dropout"):
        for steps in LENGTHS:
            if name == "tanh, dropout":
                problem = with_dropout(rng, steps)
            else:
                problem = recurrent(rng, name, steps, batch=int(rng.integers(1, 4)))
            core, shares = stored(problem)
            truth = leaves_in(core)
            control += differing(summed(shares[::-1]), dict(core.gradients))
            plain = replace(problem, options={})
            over_steps = bptt_over_steps(*plain.arguments)
            chosen = schedules(rng, steps, (core.before.nbytes, core.tape.nbytes), few=steps not in (5, 24))
            for index, (_, result) in enumerate(each_run(problem, chosen)):
                value += differing(leaves_of(result), truth)
                if index % 8 == 0:
                    value += differing(run(plain, [*chosen.values()][index]).gradients, over_steps.gradients)
            runs += len(chosen)
    return Measured(value, control, {"runs": runs})


@claim(
    "memory_efficient_bptt/O1.contract",
    r"So does any network that fulfils the model contract: recurrent spiking graphs with delayed edges, energy-based and prototypical networks; "
    r"loss, outputs and $\nabla_{h_0}$ too.  With compiled neurons, whose adjoints round differently, graphs agree with the contract to rounding.",
    source="specification, O1 and section 3.11",
    metric="leaves that differ in a bit from BPTT over the contract (plain neurons), or from BPTT over stored blocks (compiled ones too)",
    relation="==",
    bound=0,
    control=r"the same shares of the steps, added in the order $1,\dots,T$",
)
def equal_over_the_contract(rng: np.random.Generator) -> Measured:
    value = control = runs = 0
    compiled = 0.0
    for steps in (1, 4, 11):
        for name, problem in networks_of_the_contract(rng, steps).items():
            truth = bptt_over_steps(*problem.arguments)
            plain = ContractCore(problem.model, *problem.model.check(*problem.arguments[1:]))
            plain.start(None)
            core, shares = stored(problem, plain)
            kept, own = leaves_in(core), leaves_in(stored(problem)[0])
            value += differing(core.gradients, truth.gradients)
            control += differing(summed(shares[::-1]), truth.gradients)
            if steps > 1:
                dead = [key for key, gradient in truth.gradients.items() if not gradient.any()]
                require(not dead, f"{name}: no gradient of {dead}")
            for schedule in schedules(rng, steps, few=True).values():
                slow, fast = run(problem, schedule, backend="plain"), run(problem, schedule)
                value += differing(leaves_of(slow), kept) + differing(leaves_of(fast), own)
                value += (slow.loss, fast.loss) != (truth.loss, truth.loss)
                for result in (slow, fast):
                    value += not np.array_equal(result.diagnostics.outputs, truth.diagnostics.outputs)
                compiled = max(compiled, worst(fast.gradients, truth.gradients))
                runs += 2
    require(compiled <= 1e-12, f"compiled neurons miss the contract by {compiled:.1e}")
    return Measured(value, control, {"runs": runs, "error with compiled neurons": compiled})


@claim(
    "memory_efficient_bptt/O1.equations",
    r"They are what the adjoint equations of the cells say, written down in NumPy over whole sequences, one product over time for each weight: parameters, "
    r"$\nabla_x$, $\nabla_{h_0}$ at a start that is not zero, with a further adjoint behind the end; and in tanh layers with dropout.",
    source="specification, section 4 and O1",
    metric="largest error of any leaf relative to its largest entry; and of the loss",
    relation="<=",
    bound=1e-10,
    control=r"BPTT cut at $T/2$",
)
def equal_to_equations(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for name in (*CELLS, "tanh, dropout"):
        found = []
        for steps in (1, 7, 30):
            if name == "tanh, dropout":
                problem = with_dropout(rng, steps, batch=3)
            else:
                problem = recurrent(rng, name, steps, batch=3)
            truth = expected(problem)
            schedule = PolicySchedule(HiddenStates(), steps, min(3, steps - 1))
            result = run(problem, schedule)
            require(truth.leaves.keys() == leaves_of(result).keys(), "not the same leaves")
            found += [worst(leaves_of(result), truth.leaves), abs(result.loss / truth.loss - 1)]
        details[name] = max(found)
        values += found
        controls.append(worst(cut_in_the_middle(problem), truth.leaves))
    return Measured(max(values), min(controls), details)


def chaotic(rng: np.random.Generator, steps: int = 60, width: int = 20) -> Problem:
    """tanh at gain 3 with weak inputs, which would hold it; drawn again until small differences grow."""
    model = TanhNetwork((4, width, 3))
    for _ in range(50):
        problem = recurrent(rng, model, steps, gain=3.0, ends=False)
        problem = replace(problem, inputs=0.1 * problem.inputs)
        if 1e3 < spread(problem) < 1e6:  # rounding grows no more than that, either
            return problem
    raise VacuousError("no network of that chaos in 50 tries")


def spread(problem: Problem) -> float:
    """By how much a difference of 1e-9 at the start has grown at the end."""
    model, parameters, inputs, _ = problem.arguments
    hidden = "layer.1.hidden"
    moved = {hidden: np.full((inputs.shape[1], model.widths[1]), 1e-9)}
    last = [
        model.run(parameters, inputs, initial_state=start)[-1]
        for start in ({hidden: np.zeros_like(moved[hidden])}, moved)
    ]
    return float(np.abs(last[1] - last[0]).max()) / 1e-9


@claim(
    "memory_efficient_bptt/O1.chaotic",
    r"In a chaotic network (tanh at gain 3, $n=20$, $T=60$), where rounding is amplified, the gradient stays that of BPTT, and all schedules give the same bits.",
    source="specification, O1 and O2",
    metric="largest error of any leaf relative to its largest entry, against the equations written down in NumPy",
    relation="<=",
    bound=1e-6,
    control=r"BPTT cut at $T/2$",
)
def equal_in_chaos(rng: np.random.Generator) -> Measured:
    problem = chaotic(rng)
    truth = expected(problem).leaves
    runs = [leaves_of(result) for _, result in each_run(problem, schedules(rng, 60))]
    for found in runs[1:]:
        require(differing(found, runs[0]) == 0, "schedules do not agree in all bits")
    return Measured(
        worst(runs[0], truth),
        worst(cut_in_the_middle(problem), truth),
        {"schedules": len(runs), "growth of a small difference": spread(problem)},
    )


# -- degenerate cases -----------------------------------------------------------------------------------


def with_weights(problem: Problem, weights: np.ndarray) -> Problem:
    """Another weight of the loss at each step of each sample, and nothing behind the end."""
    options = {name: value for name, value in problem.options.items() if name != "final_adjoint"}
    return replace(problem, targets=StepTargets(problem.targets.values, weights), options=options)


def without_surrogate(rng: np.random.Generator, steps: int) -> Problem:
    """All neurons fire at every step, far from where the surrogate is not zero."""
    model = cell("LIF, attached")
    neuron = replace(model.neuron, surrogate=Surrogate("triangle", slope=10.0, height=0.3))
    model = RecurrentSpikingLayer(model.widths, neuron=neuron)
    parameters: Parameters = model.initialise(rng, gain=0.1)
    parameters["layer.1.bias"] += 9.0
    values = rng.integers(0, 3, (steps, 2))
    inputs = rng.standard_normal((steps, 2, 4))
    return Problem(model, parameters, inputs, StepTargets(values, np.ones((steps, 2))))


def degenerate(rng: np.random.Generator, name: str) -> dict[str, Problem]:
    """Cases in which little or nothing flows."""
    steps = 9
    one = recurrent(rng, name, steps, batch=1)
    several = recurrent(rng, name, steps, batch=3)
    lengths, last = np.ones((steps, 3)), np.zeros((steps, 3))
    lengths[:, 1], lengths[5:, 2], last[-1] = 0, 0, 1
    silent = replace(several, parameters=dict(several.parameters), options={})
    for key in ("input_weight", "recurrent_weight"):
        for entry in [entry for entry in silent.parameters if entry.endswith(key)]:
            silent.parameters[entry] = np.zeros_like(silent.parameters[entry])
    return {
        "a single step": recurrent(rng, name, 1),
        "a batch of one": one,
        "a sequence of length 0": with_weights(several, lengths),
        "loss at the last step only": with_weights(several, last),
        "no loss at the last step": with_weights(several, 1 - last),
        "no loss at all": with_weights(several, 0 * last),
        "silent": silent,
    }


@claim(
    "memory_efficient_bptt/O1.degenerate",
    r"Nor do degenerate cases differ: $T=1$, one slot, more slots than steps, a batch of one, sequences of length 0, a loss at the last step only, everywhere "
    r"but there, or nowhere, a silent network, and one whose neurons all fire with $\psi=0$.  A sequence of length 0 has exactly zero gradient.",
    source="specification, section 5",
    metric="leaves that differ in a bit from BPTT over stored blocks, and entries that are not exactly zero where they should be",
    relation="==",
    bound=0,
    control="the weights of the loss left out",
)
def degenerate_cases(rng: np.random.Generator) -> Measured:
    value = control = runs = 0
    for name in CELLS:
        cases = degenerate(rng, name)
        if name == "LIF, attached":
            cases["all fire, psi = 0"] = without_surrogate(rng, 9)
        for label, problem in cases.items():
            truth = leaves_in(stored(problem)[0])
            for _, result in each_run(problem, schedules(rng, len(problem.inputs), few=True)):
                runs += 1
                value += differing(leaves_of(result), truth)
                value += not_zero(label, leaves_of(result))
        masked = cases["a sequence of length 0"]
        unmasked = with_weights(masked, np.ones((9, 3)))
        control += not_zero("a sequence of length 0", leaves_of(run(unmasked, strategy="nothing")))
    return Measured(value, control, {"runs": runs})


def not_zero(label: str, leaves: dict[str, np.ndarray]) -> int:
    """How many entries break what the case promises."""
    if label == "no loss at all":
        return sum(np.count_nonzero(leaf) for leaf in leaves.values())
    if label == "a sequence of length 0":  # the second; the third ends after five steps
        starts = [leaf[1] for key, leaf in leaves.items() if key.startswith("start.")]
        silenced = [leaves["inputs"][:, 1], leaves["inputs"][5:, 2], *starts]
        return sum(np.count_nonzero(part) for part in silenced)
    if label == "all fire, psi = 0":
        through = [leaf for key, leaf in leaves.items() if key == "inputs" or key.startswith("layer")]
        require(bool(leaves["readout.weight"].all()), "the read-out has no gradient")
        return sum(np.count_nonzero(leaf) for leaf in through)
    return 0
