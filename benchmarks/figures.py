"""A figure, its goal, and what a group of measurements gives."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """`at least` or `at most` so much."""

    limit: float
    at_most: bool = False

    def is_met_by(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:,g}"


def at_least(limit: float) -> Goal:
    return Goal(limit)


def at_most(limit: float) -> Goal:
    return Goal(limit, at_most=True)


@dataclass(frozen=True)
class Figure:
    """One value a round. Its median is what counts, lowest and highest say how far to trust it."""

    name: str
    unit: str
    values: Sequence[float]
    goal: Goal | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        """None where no goal was set."""
        return None if self.goal is None else self.goal.is_met_by(self.median)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": float(f"{self.median:.4g}"),
            "lowest": float(f"{min(self.values):.4g}"),
            "highest": float(f"{max(self.values):.4g}"),
            "rounds": len(self.values),
            "goal": None if self.goal is None else str(self.goal),
            "met": self.is_met,
        }


@dataclass(frozen=True)
class Table:
    """What is no figure: which index a statement uses, for instance."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_json(self) -> dict[str, Any]:
        return {"title": self.title, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True)
class Result:
    figures: Sequence[Figure]
    tables: Sequence[Table] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "figures": [figure.to_json() for figure in self.figures],
            "tables": [table.to_json() for table in self.tables],
        }


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]
