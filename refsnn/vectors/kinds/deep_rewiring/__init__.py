"""Updates of sparse weights with signs."""
