"""Pure judgements of evidence: one decorated function per promise that a Batch Normalization makes."""
