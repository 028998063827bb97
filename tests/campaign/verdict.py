"""Whether the promises were kept, judged from outside: by the diary, the journal, the table and the receivers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grid_async_task.domain.callback import callback_id
from tests.campaign.chores import ERROR_TYPES, MAY_COME_AGAIN, PAUSE_S, Diary, Execution
from tests.campaign.journal import CANCEL, OPERATORS_RETRY, Journal
from tests.campaign.load import Sent
from tests.campaign.observer import Observer, Row
from tests.campaign.receiver import Receipts

#: seconds by which a clock that is read a little late may be wrong
TOLERANCE_S = 0.05
#: `MAX_CRASH_COUNT` of the workers, its default
MAX_CRASHES = 3


@dataclass
class Evidence:
    sent: Sent
    diary: Diary
    journal: Journal
    observer: Observer
    receipts: Receipts
    #: bodies on the dead letter queue
    dead: list[bytes]
    #: messages that are left, by queue
    left: dict[str, int]
    strange_ends: list[str]

    def judge(self) -> dict[str, list[str]]:
        """What went wrong, by kind; the promises are kept where all lists are empty."""
        return {
            "lost": list(self._lost()),
            "rerun without cause": [*self.diary.same_attempt_twice, *self._reruns()],
            "overwritten": list(self._overwritten()),
            "missing callbacks": list(self._missing_callbacks()),
            "callbacks that differ": list(self._wrong_callbacks()),
            "wrong ends": list(self._wrong_ends()),
            "retries too early": list(self._too_early()),
            "retries too many or few": list(self._wrong_counts()),
            "dead letters missing or wrong": sorted(map(repr, self.sent.bad ^ set(self.dead))),
            "messages left": [f"{count} on {queue}" for queue, count in self.left.items() if count],
            "workers that ended by themselves": self.strange_ends,
        }

    def executions(self, task: str) -> list[Execution]:
        return self.diary.executions.get(task, [])

    def _row(self, task: str) -> Row | None:
        return self.observer.rows.get(task)

    def _lost(self) -> Iterator[str]:
        for task in (*self.sent.tasks, *self.sent.invalid):
            row = self._row(task)
            if row is None or not row.is_final or row.is_due:
                yield f"{task}: {row}"

    def _reruns(self) -> Iterator[str]:
        for executions in self.diary.executions.values():
            for before, after in itertools.pairwise(executions):
                if not self._may_follow(before, after):
                    yield f"{after} after {before}"

    def _may_follow(self, before: Execution, after: Execution) -> bool:
        return (
            before.how in MAY_COME_AGAIN
            or bool(self.journal.causes(before.pid, before.began, after.began))
            or any(
                before.began < entry.ended and entry.began < after.began
                for entry in self.journal.done_to(before.task, OPERATORS_RETRY)
            )
        )

    def _overwritten(self) -> Iterator[str]:
        for task, seen_at, before, after in self.observer.changes:
            revived = [entry for entry in self.journal.done_to(task, OPERATORS_RETRY) if entry.began < seen_at]
            if not revived or before.status != "failed" or after.attempt <= before.attempt:
                yield f"{before} became {after}"
        for task, executions in self.diary.executions.items():
            row = self._row(task)
            newest = max(execution.attempt for execution in executions)
            if row is None or row.attempt < newest:
                yield f"attempt {newest} of {task} was begun; its row is {row}"
            elif row.status == "success" and not self._is_by(row, executions):
                yield f"{row} is the result of none of {executions}"

    def _is_by(self, row: Row, executions: list[Execution]) -> bool:
        result = json.loads(row.result or "{}")
        return result["attempt"] == row.attempt and any(
            (execution.attempt, execution.pid, execution.how) == (row.attempt, result["pid"], "returned")
            for execution in executions
        )

    def _owed(self) -> Iterator[tuple[Row, str]]:
        """The final states that were to be told, with the ids of their callbacks."""
        asking = [task for task, body in self.sent.tasks.items() if "callback_data" in body]
        for task in (*asking, *self.sent.invalid):
            row = self._row(task)
            if row is not None and row.is_final:
                yield row, callback_id(task, row.attempt)

    def _missing_callbacks(self) -> Iterator[str]:
        for row, its_id in self._owed():
            if its_id not in self.receipts.taken or row.callback_status != "sent":
                yield f"{its_id} of {row}"

    def _wrong_callbacks(self) -> Iterator[str]:
        owed = {its_id: row for row, its_id in self._owed()}
        for its_id, bodies in self.receipts.taken.items():
            if len(set(bodies)) > 1:
                yield f"{its_id} came with different bodies: {set(bodies)}"
            told = json.loads(bodies[0])
            if its_id in owed:
                if not _tells(told, owed[its_id]):
                    yield f"{told} was told of {owed[its_id]}"
            elif not self.journal.done_to(told["task_id"], OPERATORS_RETRY):
                yield f"{told} was told of a state that never was: {self._row(told['task_id'])}"

    def _wrong_ends(self) -> Iterator[str]:
        for task in self.sent.invalid:
            row = self._row(task)
            if row is not None and row.error_type != "ValidationError":
                yield str(row)
        for task, body in self.sent.tasks.items():
            row = self._row(task)
            if row is not None and row.error_type not in self._possible_errors(task, body["task_type"]):
                yield f"{row} after {self.executions(task)}"

    def _possible_errors(self, task: str, kind: str) -> set[str | None]:
        possible = {ERROR_TYPES.get(kind)}
        if self.journal.done_to(task, CANCEL):
            possible.add("TaskCancelled")
        if self._disturbances(task) > MAX_CRASHES:
            possible.add("WorkerLost")
        return possible

    def _too_early(self) -> Iterator[str]:
        for task, executions in self.diary.executions.items():
            for before, after in itertools.pairwise(executions):
                # a worker that is paused before it has said how it ended may be taken over
                harmed = self.journal.causes(before.pid, before.began, after.began)
                if before.how in MAY_COME_AGAIN and not harmed and not self.journal.done_to(task, OPERATORS_RETRY):
                    waited_s = after.began - (before.ended or 0.0)
                    if waited_s < PAUSE_S - TOLERANCE_S:
                        yield f"{waited_s:.3f} s between {before} and {after}"

    def _wrong_counts(self) -> Iterator[str]:
        for task, body in self.sent.tasks.items():
            row = self._row(task)
            if row is None or self.journal.done_to(task, OPERATORS_RETRY):
                continue
            disturbances = self._disturbances(task)
            if row.crash_count > disturbances or row.retry_count > body["max_retry_count"]:
                yield f"{row} with {disturbances} disturbances"
            if disturbances or self.journal.done_to(task, CANCEL):
                continue
            runs = len(self.executions(task))
            if runs != _undisturbed_runs(body):
                yield f"{runs} runs of {task}, not {_undisturbed_runs(body)}, though nobody disturbed it: {row}"

    def _disturbances(self, task: str) -> int:
        """Executions whose worker somebody harmed, and attempts that were ended before their handler began."""
        executions = self.executions(task)
        row = self._row(task)
        unseen = row.attempt - len(executions) if row is not None else 0
        harmed = 0
        for execution, following in zip(executions, [*executions[1:], None], strict=False):
            until = following.began if following is not None else float("inf")
            harmed += bool(self.journal.causes(execution.pid, execution.began, until))
        return unseen + harmed


def _tells(told: dict[str, Any], row: Row) -> bool:
    if (told["task_id"], told["status"]) != (row.id, row.status):
        return False
    if row.status == "success":
        return bool(told["result"] == json.loads(row.result or "{}"))
    return bool(told["result"]["error_type"] == row.error_type)


def _undisturbed_runs(body: dict[str, Any]) -> int:
    match body["task_type"]:
        case "retrying" | "asking" | "snoozing":
            return int(body["data"]["number"]) + 1
        case "failing":
            return 1 + int(body["max_retry_count"])
        case _:
            return 1
