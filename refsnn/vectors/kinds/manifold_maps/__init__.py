"""Maps of spaces of constant curvature."""
