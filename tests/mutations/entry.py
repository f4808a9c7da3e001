"""An entry of the tables of planted bugs."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Mutation"]


class Mutation(NamedTuple):
    """A bug to plant. `meaning`: what the scheduler would do with it, in words."""

    name: str
    file: str
    old: str
    new: str
    meaning: str
