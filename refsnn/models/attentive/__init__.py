"""A recurrent network with sparse attention over its own past (Ke 2018)."""
