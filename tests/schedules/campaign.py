"""Which schedules are run, and what is said of one that breaks a promise."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from tests.schedules.faults import FAULTS
from tests.schedules.history import History
from tests.schedules.scenarios import SCENARIOS

CRASHES = ("crash-before", "crash-after")


@dataclass(frozen=True)
class Schedule:
    """Faults at steps of one scenario. Its text says it all: `retry: crash-after@5, pause@17`."""

    scenario: str
    at_steps: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.scenario}: " + ", ".join(f"{fault}@{step}" for step, fault in self.at_steps)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        scenario, _, listed = text.rpartition(":")
        faults = [each.strip().split("@") for each in listed.split(",") if each.strip()]
        return cls(scenario.strip(), tuple((int(step), fault) for fault, step in faults))

    def and_then(self, step: int, fault: str) -> Schedule:
        return Schedule(self.scenario, (*self.at_steps, (step, fault)))

    def run(self) -> History:
        return History(SCENARIOS[self.scenario], dict(self.at_steps)).run()


class BrokenPromise(AssertionError):
    def __init__(self, schedule: Schedule, history: History) -> None:
        broken = "\n  ".join(history.promises.broken[:5])
        super().__init__(f'{schedule}\n  {broken}\nto see it: python -m tests.schedules "{schedule}"')


def checked(schedule: Schedule) -> History:
    history = schedule.run()
    if history.promises.broken:
        raise BrokenPromise(schedule, history)
    return history


def after(
    schedule: Schedule, history: History, faults: Collection[str] = tuple(FAULTS), at: str = ""
) -> Iterator[Schedule]:
    """The schedule with one fault more, at every later step of its history."""
    last = schedule.at_steps[-1][0] if schedule.at_steps else -1
    for step in range(last + 1, len(history.steps)):
        name = history.steps[step].split()[1]
        for fault in faults:
            if (
                name.startswith(at)
                and name.startswith(FAULTS[fault].at)
                and SCENARIOS[schedule.scenario].can_meet(fault)
            ):
                yield schedule.and_then(step, fault)


def schedules_of(
    scenario: str, first: Collection[str] = (), second: Collection[str] = (), at: str = ""
) -> Iterator[Schedule]:
    """No fault; one of `first` at every step (or at such calls only); after each, one of `second` at every step"""
    quiet = Schedule(scenario)
    yield quiet
    for one in after(quiet, quiet.run(), first, at):
        yield one
        if second:
            yield from after(one, one.run(), second)


def sample(scenario: str, firsts: int, each: int) -> Iterator[Schedule]:
    """Some pairs of any two faults, always the same: `each` second ones after each of `firsts` first ones."""
    choice = random.Random(scenario)
    quiet = Schedule(scenario)
    ones = list(after(quiet, quiet.run()))
    for one in choice.sample(ones, min(firsts, len(ones))):
        twos = list(after(one, one.run()))
        yield from choice.sample(twos, min(each, len(twos)))


@contextmanager
def without_logs() -> Iterator[None]:
    """Tens of thousands of workers have much to say."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)
