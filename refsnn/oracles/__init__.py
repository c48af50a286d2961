"""Floor 4: independent truth.

An oracle shares with what it checks only the forward equation.  Each has tests of its own, on functions
whose derivatives are known, right and wrong ones.
"""
