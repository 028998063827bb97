"""Runs one schedule and shows it: every step, the faults, and the promises that were broken."""

from __future__ import annotations

import argparse
import sys

import pytest

from tests.schedules.campaign import Schedule, without_logs
from tests.schedules.wrong import WRONG


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    arguments.add_argument("schedule", help="such as 'retry: crash-after@5, pause@17'")
    arguments.add_argument("--wrong", choices=WRONG, help="with a worker that has one rule left out")
    arguments.add_argument("--logs", action="store_true", help="what the workers logged, too")
    given = arguments.parse_args()
    schedule = Schedule.parse(given.schedule)
    with pytest.MonkeyPatch.context() as patch:
        if given.wrong:
            WRONG[given.wrong].leave_out(patch)
        if given.logs:
            history = schedule.run()
        else:
            with without_logs():
                history = schedule.run()
    at_steps = dict(schedule.at_steps)
    for number, step in enumerate(history.steps):
        print(f"{number:4} {step:50} {at_steps.get(number, '')}".rstrip())
    for step, fault in schedule.at_steps:
        if step >= len(history.steps):
            print(f"there was no step {step} for {fault}")
    for broken in history.promises.broken:
        print("BROKEN:", broken)
    return 1 if history.promises.broken else 0


if __name__ == "__main__":
    sys.exit(main())
