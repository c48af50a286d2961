"""Tanh, LSTM and GRU layers under BPTT."""
