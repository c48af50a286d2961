"""How many single faults, planted in the mathematics, do the ledger and the property tests notice?"""
