"""Networks of adaptive spiking neurons: BPTT and e-prop."""
