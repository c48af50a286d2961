"""Networks of the papers as spiking graphs, each in any size, and how their parameters begin."""
