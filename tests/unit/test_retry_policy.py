from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_async_task.domain.failure import Failure
from grid_async_task.domain.outcome import Failed, RetryLater, after_failure
from grid_async_task.domain.retry import RetryPolicy, RetryStrategy

policies = st.builds(
    RetryPolicy,
    strategy=st.sampled_from(RetryStrategy),
    delay_s=st.floats(0, 1e6),
    max_delay_s=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)


@given(policies, st.integers(1, 1_000_000), st.integers())
def test_delays_stay_inside_the_bounds(policy: RetryPolicy, retry: int, seed: int) -> None:
    delay = policy.delay_before(retry, random.Random(seed))
    assert 0 <= delay <= policy.max_delay_s
    if not policy.jitter and policy.strategy is RetryStrategy.FIXED:
        assert delay == min(policy.delay_s, policy.max_delay_s)


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [
        (RetryStrategy.FIXED, [10, 10, 10, 10]),
        (RetryStrategy.LINEAR, [10, 20, 30, 35]),
        (RetryStrategy.EXPONENTIAL, [10, 20, 35, 35]),
    ],
)
def test_strategies_grow_up_to_the_cap(strategy: RetryStrategy, delays: list[float]) -> None:
    policy = RetryPolicy(strategy, delay_s=10, max_delay_s=35)
    assert [policy.delay_before(retry, random.Random(0)) for retry in (1, 2, 3, 4)] == delays


def test_jitter_spreads_and_the_same_randomness_gives_the_same_delay() -> None:
    policy = RetryPolicy(delay_s=100, jitter=0.2)
    rng = random.Random(1)
    delays = {policy.delay_before(1, rng) for _ in range(50)}
    assert len(delays) > 40
    assert all(80 <= delay <= 120 for delay in delays)
    assert policy.delay_before(1, random.Random(5)) == policy.delay_before(1, random.Random(5))


@pytest.mark.parametrize("wrong", [{"delay_s": -1}, {"max_delay_s": -1}, {"jitter": 1.1}])
def test_impossible_policies_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


@given(st.integers(0, 50), st.booleans(), policies)
def test_retries_never_exceed_the_limit(allowed: int, retryable: bool, policy: RetryPolicy) -> None:
    used = 0
    failure = Failure("OSError", "no", retryable=retryable)
    while True:
        outcome = after_failure(
            failure, retries_used=used, retries_allowed=allowed, policy=policy, randomness=random.Random(0)
        )
        if isinstance(outcome, Failed):
            break
        used += 1
    assert used == (allowed if retryable else 0)
    if retryable and allowed:
        assert (outcome.failure.error_type, outcome.failure.cause) == ("RetryExhausted", "OSError")
    else:
        assert (outcome.failure.error_type, outcome.failure.cause) == ("OSError", None)


def test_a_delay_of_the_handlers_own_beats_the_policy() -> None:
    outcome = after_failure(
        Failure("Retry", "later"),
        retries_used=0,
        retries_allowed=1,
        policy=RetryPolicy(),
        randomness=random.Random(0),
        own_delay_s=7,
    )
    assert outcome == RetryLater(Failure("Retry", "later"), 7)
