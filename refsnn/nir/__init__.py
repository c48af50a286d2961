"""NIR, the interchange format of the field: read, write and run graphs, and grade traces of platforms.

NIR (Pedersen and others 2024) says what a network is as differential equations and leaves open what a step of
time makes of them.  Here that choice has a name, and every result states it.

    read_graph, write_graph      HDF5 files of graphs
    read_data, write_data        HDF5 files of recorded data
    run_graph                    T steps of a graph under a discretisation
    exact_solution               one LIF in closed form
    read_trace, grade_trace      which discretisation made a recorded trace
    to_nir, from_nir             spiking networks of refsnn
"""

from refsnn.nir.data_files import Events, Gridded, data_of, read_data, write_data
from refsnn.nir.discretisation import ARITHMETICS, DISCRETISATIONS, Arithmetic, Discretisation
from refsnn.nir.exact import ExactSolution, exact_solution
from refsnn.nir.files import read_graph, write_graph
from refsnn.nir.grading import Distance, Grade, grade_trace
from refsnn.nir.graph import NirGraph
from refsnn.nir.nodes import KINDS, Node
from refsnn.nir.run import GraphRun, run_graph
from refsnn.nir.spiking_graphs import from_nir, to_nir
from refsnn.nir.traces import Trace, read_trace

__all__ = [
    "ARITHMETICS",
    "DISCRETISATIONS",
    "KINDS",
    "Arithmetic",
    "Discretisation",
    "Distance",
    "Events",
    "ExactSolution",
    "Grade",
    "GraphRun",
    "Gridded",
    "NirGraph",
    "Node",
    "Trace",
    "data_of",
    "exact_solution",
    "from_nir",
    "grade_trace",
    "read_data",
    "read_graph",
    "read_trace",
    "run_graph",
    "to_nir",
    "write_data",
    "write_graph",
]
