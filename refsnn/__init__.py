"""refsnn: the executable specification of temporal credit assignment.

How do you get the gradient of a loss at the end of a long computation without paying for all of
backpropagation through time?  Each algorithm of this package is one published answer, written to be
read beside its paper.  Start with `refsnn.algorithms`.
"""

__version__ = "0.7.0"
