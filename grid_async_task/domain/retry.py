"""How long to wait before the next attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Randomness(Protocol):
    """Where jitter comes from: `random.Random` fulfils it."""

    def uniform(self, a: float, b: float) -> float: ...


class RetryStrategy(str, Enum):
    """How the delay grows with the number of the retry (1, 2, ...)."""

    #: always `delay_s`
    FIXED = "fixed"
    #: `delay_s`, 2 x `delay_s`, 3 x `delay_s` ...
    LINEAR = "linear"
    #: `delay_s`, 2 x `delay_s`, 4 x `delay_s`, 8 x `delay_s` ...
    EXPONENTIAL = "exponential"


@dataclass(frozen=True)
class RetryPolicy:
    """The delay before each retry. Pure: the same retry and the same randomness give the same delay."""

    strategy: RetryStrategy = RetryStrategy.FIXED
    #: seconds before the first retry
    delay_s: float = 60.0
    #: no delay is longer than this many seconds, jitter included
    max_delay_s: float = 3600.0
    #: 0.2 spreads each delay evenly over 80 % to 120 % of itself
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.max_delay_s < 0:
            raise ValueError("retry delays are seconds, 0 or more")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter is a fraction between 0 and 1")

    def delay_before(self, retry: int, randomness: Randomness) -> float:
        """Seconds to wait before retry number `retry`, which counts from 1."""
        if retry < 1:
            raise ValueError("the first retry is number 1")
        delay = min(self._grown(retry), self.max_delay_s)
        if self.jitter:
            delay *= randomness.uniform(1 - self.jitter, 1 + self.jitter)
        return min(delay, self.max_delay_s)

    def _grown(self, retry: int) -> float:
        match self.strategy:
            case RetryStrategy.FIXED:
                return self.delay_s
            case RetryStrategy.LINEAR:
                return self.delay_s * retry
            case RetryStrategy.EXPONENTIAL:
                # 2 ** 1000 still is a float; a million retries would not be
                return self.delay_s * 2.0 ** min(retry - 1, 1000)
