"""Wrong versions of the reference: the registry of bug signatures."""
