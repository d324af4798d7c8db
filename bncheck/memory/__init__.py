"""From what a layer remembered to the names of its bugs: running statistics, eval mode, leftovers of earlier steps."""
