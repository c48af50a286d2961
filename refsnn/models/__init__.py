"""Floor 3: what a network computes: hyper-parameters, one step and its derivatives, readout and loss."""
