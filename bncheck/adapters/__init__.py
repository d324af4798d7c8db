"""Foreign code becomes a Target here: load it, find what may be a Batch Normalization, try how it wants to be called.

Each adapter is one file that registers itself in :data:`bncheck.adapters.protocol.ADAPTERS`; layout and eps are found
out by trying, the same way for all of them. The entrance is :mod:`bncheck.adapters.resolve`.
"""
