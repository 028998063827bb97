"""What a rule says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One mistake. Holds no secret."""

    #: the rule's name
    rule: str
    #: file, kind and name
    where: str
    #: what is the case, and what will happen
    text: str
    #: what to write instead
    advice: str
