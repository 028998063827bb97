from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_async_task.adapters.rabbitmq.delay_ladder import (
    MAX_DELAY_S,
    RUNGS,
    bit_binding,
    due_binding,
    entry_exchange,
    queue_hash,
    routing_key,
    rung_name,
    whole_seconds,
)

delays = st.floats(min_value=0.001, max_value=MAX_DELAY_S * 3, allow_nan=False)
names = st.text(min_size=1, max_size=80)


def matches(pattern: str, key: str) -> bool:
    """A topic exchange's rule, as the AMQP specification has it."""

    def match(wanted: list[str], words: list[str]) -> bool:
        if not wanted:
            return not words
        if wanted[0] == "#":
            return any(match(wanted[1:], words[skip:]) for skip in range(len(words) + 1))
        return bool(words) and wanted[0] in ("*", words[0]) and match(wanted[1:], words[1:])

    return match(pattern.split("."), key.split("."))


def climb_down(delay_s: float, queue: str) -> int:
    """The seconds that a message spends in the rungs' queues, by the bindings alone."""
    key = routing_key(delay_s, queue)
    rung = [rung_name(n) for n in range(RUNGS)].index(entry_exchange(delay_s))
    waited_s = 0
    while rung >= 0:
        waits, passes = matches(bit_binding(rung, 1), key), matches(bit_binding(rung, 0), key)
        assert waits != passes, "each exchange sends a message one way and no other"
        waited_s += 2**rung * waits
        rung -= 1
    assert matches(due_binding(queue), key)
    return waited_s


@given(delays, names)
def test_a_message_waits_its_delay_in_whole_seconds(delay_s: float, queue: str) -> None:
    waited_s = climb_down(delay_s, queue)
    assert waited_s == whole_seconds(delay_s)
    assert waited_s >= min(delay_s, MAX_DELAY_S)
    assert waited_s - delay_s < 1


@given(delays, names)
def test_a_message_enters_at_a_rung_that_holds_it(delay_s: float, queue: str) -> None:
    rung = [rung_name(n) for n in range(RUNGS)].index(entry_exchange(delay_s))
    assert matches(bit_binding(rung, 1), routing_key(delay_s, queue))


@given(names, names)
def test_only_its_own_queue_matches(queue: str, other: str) -> None:
    assert matches(due_binding(other), routing_key(5, queue)) == (queue == other)


@given(names)
def test_a_queue_is_one_word_of_a_routing_key(queue: str) -> None:
    assert queue_hash(queue).isalnum()
    assert len(routing_key(MAX_DELAY_S, queue)) < 255


@pytest.mark.parametrize(
    ("delay_s", "seconds"),
    [
        (0.001, 1),
        (1, 1),
        (1.001, 2),
        (60, 60),
        (MAX_DELAY_S, MAX_DELAY_S),
        (MAX_DELAY_S + 1, MAX_DELAY_S),
        (1e12, 131071),
    ],
)
def test_delays_are_rounded_up_and_cut_to_the_longest(delay_s: float, seconds: int) -> None:
    assert whole_seconds(delay_s) == seconds


def test_names_and_keys_are_fixed_since_the_broker_keeps_them() -> None:
    # a change here strands what waits in the ladders of brokers that are in use
    assert rung_name(16) == "grid_async_task.delay.16"
    assert entry_exchange(60) == "grid_async_task.delay.5"
    assert routing_key(5, "task_queue") == "0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.1." + queue_hash("task_queue")
    assert queue_hash("task_queue") == "cb9d971bb9feba58b6c4b76780a7fefa"
    assert bit_binding(16, 1) == "1.#"
    assert bit_binding(0, 0) == "*." * 16 + "0.#"
