"""The frozen set of faults by which the naming of bugs is judged; README.md tells how it was made and used."""

from .frozen import Record, materialise, records

__all__ = ["Record", "materialise", "records"]
