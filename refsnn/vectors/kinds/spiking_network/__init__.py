"""Networks of spiking neurons under every algorithm that trains them."""
