"""How many examples the readers are tried with is set here, and nowhere else.

A test says how many times as many it takes (``spoiling.times``): what is quick to read is tried more often.
"""

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings

# In CI the same examples every time. A reader that takes seconds for a small file is a fault; a machine that is slow at
# making examples is none.
settings.register_profile(
    "short",
    max_examples=75,
    derandomize=True,
    database=None,
    deadline=timedelta(seconds=10),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    settings.get_profile("default"),
    max_examples=100 * settings.get_profile("short").max_examples,
    derandomize=False,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("long" if os.environ.get("BNCHECK_FUZZ") == "long" else "short")
