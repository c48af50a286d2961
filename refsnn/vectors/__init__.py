"""Golden vectors: small cases with everything in them, for checking other software; `docs/vectors.md`."""
