"""Floor 3: in which order a long computation is run, kept and run again; whole numbers only.

A schedule is a stream of operations (`operations`).  `binomial` and `mixed` say what is optimal, `policies`
and `baselines` turn that into decisions, `frames` turns decisions into operations, and `simulation` checks
that a stream is legal and counts it.
"""
