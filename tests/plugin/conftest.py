"""What pytester imports it forgets again: what registers itself is loaded before, so that it does so once."""

from bncheck.adapters.frameworks import FRAMEWORKS
from bncheck.adapters.protocol import ADAPTERS

ADAPTERS.names(), FRAMEWORKS.names()
