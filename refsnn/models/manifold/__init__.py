"""Spiking graph networks on spaces of constant curvature (Sun 2024)."""
