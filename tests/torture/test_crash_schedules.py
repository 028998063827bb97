"""The long version of tests/fault/test_schedules.py: all pairs of two crashes, and many pairs of any two faults."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator

import pytest

from tests.schedules.campaign import CRASHES, BrokenPromise, Schedule, checked, sample, schedules_of, without_logs
from tests.schedules.scenarios import SCENARIOS

PROCESSES = 2
#: pairs of any two faults for each scenario: so many first ones, and so many second ones after each
FIRSTS, EACH = 100, 20


def all_pairs_of_crashes(scenario: str) -> Iterator[Schedule]:
    return schedules_of(scenario, CRASHES, CRASHES)


def pairs_of_any_faults(scenario: str) -> Iterator[Schedule]:
    return sample(scenario, FIRSTS, EACH)


def run_all(part: tuple[Callable[[str], Iterator[Schedule]], str]) -> tuple[int, list[str]]:
    """How many schedules there were, and what was broken."""
    schedules, scenario = part
    count, broken = 0, []
    with without_logs():
        for schedule in schedules(scenario):
            count += 1
            try:
                checked(schedule)
            except BrokenPromise as error:
                broken.append(str(error))
    return count, broken


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("schedules", [all_pairs_of_crashes, pairs_of_any_faults])
def test_schedules(schedules: Callable[[str], Iterator[Schedule]]) -> None:
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        parts = pool.map(run_all, [(schedules, scenario) for scenario in SCENARIOS], chunksize=1)
    count = sum(number for number, _ in parts)
    broken = [text for _, texts in parts for text in texts]
    print(f"\n{schedules.__name__}: {count} schedules in {time.monotonic() - began:.0f} s, {len(broken)} broken")
    assert not broken, "\n\n".join(broken[:10])
