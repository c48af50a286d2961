"""Spiking networks on graphs whose nodes move on a manifold."""
