"""Pages for whoever meets Batch Normalization for the first time: what is asked most, and what is got wrong most."""
