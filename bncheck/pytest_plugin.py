"""The pytest plugin. It has nothing to do yet: collection of targets comes with a later version."""
