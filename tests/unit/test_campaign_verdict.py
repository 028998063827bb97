"""The judge of the campaigns: each broken promise is seen, and a kept one is not taken for broken."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pymysql
import pytest

from grid_async_task.domain.callback import callback_id
from tests.campaign.chores import Diary, Execution
from tests.campaign.journal import CANCEL, OPERATORS_RETRY, Entry, Journal
from tests.campaign.load import Sent
from tests.campaign.observer import Observer, Row
from tests.campaign.receiver import Receipts
from tests.campaign.verdict import Evidence

TASK = "retrying-0"
CALLBACK = callback_id(TASK, 2)
#: fails once, comes again after a second, succeeds, and its callback arrives
FIRST = Execution(TASK, 1, pid=11, began=100.0, ended=101.0, how="NotYet")
SECOND = Execution(TASK, 2, pid=12, began=102.1, ended=103.0, how="returned")
ROW = Row(TASK, "success", 2, json.dumps({"attempt": 2, "pid": 12}), None, 1, 0, "sent", False, "12:00")
TOLD = json.dumps({"task_id": TASK, "status": "success", "result": {"attempt": 2, "pid": 12}}).encode()
KILL = "kill -9 of a worker"


def nobody() -> pymysql.Connection[pymysql.cursors.Cursor]:
    raise AssertionError("the table is not asked")


class Doctored(Evidence):
    """Evidence of a campaign in which all went well, to be made worse."""

    def __init__(self) -> None:
        body = {
            "task_type": "retrying",
            "data": {"kind": "retrying", "number": 1},
            "max_retry_count": 20,
            "callback_url": "http://receiver/",
            "callback_data": {},
        }
        super().__init__(
            sent=Sent(tasks={TASK: body}, bad={b"bad"}),
            diary=Diary({TASK: [FIRST, SECOND]}),
            journal=Journal(),
            observer=Observer(nobody, "tasks"),
            receipts=Receipts(random.Random(0), slow_share=0.0),
            dead=[b"bad", b"bad"],
            left={"work": 0},
            strange_ends=[],
        )
        self.observer.rows[TASK] = ROW
        self.receipts.taken[CALLBACK] = [TOLD, TOLD]

    def runs(self, *executions: Execution) -> None:
        self.diary.executions[TASK] = list(executions)

    def row(self, **changes: object) -> None:
        self.observer.rows[TASK] = replace(ROW, **changes)  # type: ignore[arg-type]

    def done(self, deed: str, at: float, *, pid: int | None = None, task: str | None = None) -> None:
        self.journal._entries.append(Entry(deed, at, at, pid, task))

    def broken(self) -> set[str]:
        return {kind for kind, cases in self.judge().items() if cases}


def test_a_good_campaign_is_good() -> None:
    assert Doctored().broken() == set()


WORSE: dict[str, tuple[str, Callable[[Doctored], object]]] = {
    "no row": ("lost", lambda it: it.observer.rows.clear()),
    "not final": ("lost", lambda it: it.row(status="running")),
    "callback still due": ("lost", lambda it: it.row(is_due=True)),
    "run again, nobody knows why": (
        "rerun without cause",
        lambda it: it.runs(FIRST, replace(SECOND, pid=9), replace(SECOND, attempt=3, began=110.0)),
    ),
    "run again, another worker was killed": (
        "rerun without cause",
        lambda it: (
            it.done(KILL, 105.0, pid=99),
            it.runs(FIRST, replace(SECOND, how=None), replace(SECOND, attempt=3, began=110.0)),
        ),
    ),
    "run again, its worker was killed afterwards": (
        "rerun without cause",
        lambda it: (
            it.done(KILL, 120.0, pid=12),
            it.runs(FIRST, replace(SECOND, how=None), replace(SECOND, attempt=3, began=110.0)),
        ),
    ),
    "one attempt begun twice": (
        "rerun without cause",
        lambda it: it.diary.same_attempt_twice.append("twice"),
    ),
    "result of another attempt": ("overwritten", lambda it: it.row(result=json.dumps({"attempt": 1, "pid": 11}))),
    "result of another process": ("overwritten", lambda it: it.row(result=json.dumps({"attempt": 2, "pid": 11}))),
    "a later attempt than the final one": (
        "overwritten",
        lambda it: it.runs(FIRST, SECOND, replace(SECOND, attempt=3, began=110.0)),
    ),
    "a final row that changed": (
        "overwritten",
        lambda it: it.observer.changes.append((TASK, 200.0, ROW, replace(ROW, completed_at="12:01"))),
    ),
    "a success that was revived": (
        "overwritten",
        lambda it: (
            it.done(OPERATORS_RETRY, 150.0, task=TASK),
            it.observer.changes.append((TASK, 200.0, ROW, replace(ROW, attempt=3, status="pending"))),
        ),
    ),
    "no callback": ("missing callbacks", lambda it: it.receipts.taken.clear()),
    "callback given up": ("missing callbacks", lambda it: it.row(callback_status="exhausted")),
    "callbacks with two bodies": (
        "callbacks that differ",
        lambda it: it.receipts.taken[CALLBACK].append(TOLD + b" "),
    ),
    "callback of another state": (
        "callbacks that differ",
        lambda it: it.receipts.taken.update({CALLBACK: [TOLD.replace(b"success", b"failed")]}),
    ),
    "callback of no state": ("callbacks that differ", lambda it: it.receipts.taken.update({"cb_else": [TOLD]})),
    "failed, and should not have": ("wrong ends", lambda it: it.row(status="failed", error_type="RuntimeError")),
    "cancelled by nobody": ("wrong ends", lambda it: it.row(status="failed", error_type="TaskCancelled")),
    "lost its workers, none was killed": ("wrong ends", lambda it: it.row(status="failed", error_type="WorkerLost")),
    "tried again at once": ("retries too early", lambda it: it.runs(FIRST, replace(SECOND, began=101.2))),
    "a retry that was lost": (
        "retries too many or few",
        lambda it: (it.runs(replace(SECOND, attempt=1)), it.row(attempt=1)),
    ),
    "a crash that never was": ("retries too many or few", lambda it: it.row(crash_count=1)),
    "a bad message that is nowhere": ("dead letters missing or wrong", lambda it: it.dead.clear()),
    "a good message among the dead": ("dead letters missing or wrong", lambda it: it.dead.append(b"good")),
    "a message that nobody took": ("messages left", lambda it: it.left.update(work=1)),
    "a worker that fell over": ("workers that ended by themselves", lambda it: it.strange_ends.append("1")),
}


@pytest.mark.parametrize("how", WORSE)
def test_a_broken_promise_is_seen(how: str) -> None:
    kind, make_worse = WORSE[how]
    evidence = Doctored()
    make_worse(evidence)
    assert kind in evidence.broken()


FORGIVEN: dict[str, Callable[[Doctored], object]] = {
    "its worker was killed": lambda it: (
        it.done(KILL, 105.0, pid=12),
        it.runs(FIRST, replace(SECOND, how=None), replace(SECOND, attempt=3, began=110.0, ended=111.0)),
        it.row(attempt=3, result=json.dumps({"attempt": 3, "pid": 12}), crash_count=1),
    ),
    "a cancel": lambda it: (
        it.done(CANCEL, 102.0, task=TASK),
        it.row(status="failed", error_type="TaskCancelled", result=None),
    ),
}


@pytest.mark.parametrize("how", FORGIVEN)
def test_what_has_a_cause_is_no_broken_promise(how: str) -> None:
    evidence = Doctored()
    FORGIVEN[how](evidence)
    # the callback in the evidence is that of the good end
    assert evidence.broken() <= {"missing callbacks", "callbacks that differ"}
