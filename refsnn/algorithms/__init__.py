"""Floor 4: how a gradient is obtained; one file an algorithm, named after it.

Every algorithm answers one question: how do you get the gradient of a loss at the end of a long
computation without paying for all of backpropagation through time?  Each is a function over the model
contract that returns loss, gradients and diagnostics.
"""
