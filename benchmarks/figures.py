"""What was measured, round by round, with the promise that it is held to."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Figure:
    """One thing that was measured, once in each round."""

    part: str
    name: str
    unit: str = ""
    values: list[float] = field(default_factory=list)
    least: float | None = None
    """What the median may not be below."""
    greatest: float | None = None
    """What the median may not be above."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def holds(self) -> bool:
        too_low = self.least is not None and self.median < self.least
        return not too_low and not (self.greatest is not None and self.median > self.greatest)

    @property
    def target(self) -> str:
        """The promise in words; empty where there is none."""
        if self.least is not None and self.greatest is not None:
            return f"{self.least:g} to {self.greatest:g}"
        if self.least is not None:
            return f"at least {self.least:g}"
        return f"at most {self.greatest:g}" if self.greatest is not None else ""

    @property
    def label(self) -> str:
        return f"{self.part}, {self.name}" + (f" ({self.unit})" if self.unit else "")

    def shown(self, value: float) -> str:
        """Three digits are as much as a measurement here can tell."""
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def as_json(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "least": min(self.values),
            "greatest": max(self.values),
            "target": self.target,
            "values": self.values,
        }


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
