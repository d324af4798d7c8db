"""Short named scripts of calls to a session over one case. Besides the adapters, only these call user code."""
