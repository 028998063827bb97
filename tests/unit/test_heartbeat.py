"""When the heartbeat writes: driven by hand, by a fake clock."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from grid_async_task.adapters.memory import FakeClock, MemoryTaskRepository
from grid_async_task.application.group_leases import GroupLeases
from grid_async_task.application.heartbeat import Heartbeat
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.running_attempt import RunningAttempt
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.progress import Progress
from grid_async_task.ports import Clock, Renewal, RepositoryUnavailable

LEASE_S, PROGRESS_S = 60.0, 10.0


class Counting(MemoryTaskRepository):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.clock = clock
        self.renewals: list[tuple[float, Progress | None]] = []
        self.away = False

    def renew(self, claim: Any, *, lease_s: float, progress: Progress | None, cancel_known: bool) -> Renewal:
        self.renewals.append((self.clock.monotonic(), progress))
        if self.away:
            raise RepositoryUnavailable("away")
        return super().renew(claim, lease_s=lease_s, progress=progress, cancel_known=cancel_known)


class Ended(Exception):
    pass


class Script(Clock):
    """A clock that does something at chosen moments while the heartbeat's loop waits, and ends the loop."""

    def __init__(self, clock: FakeClock, events: dict[float, Any], end: float) -> None:
        self.clock, self.events, self.end = clock, dict(events), end

    def now(self) -> Any:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def wait(self, event: Any, seconds: float) -> bool:
        due = min(self.events, default=float("inf"))
        if self.monotonic() + seconds >= due:
            self.clock.advance(max(0.0, due - self.monotonic()))
            self.events.pop(due)()
        else:
            self.clock.advance(max(seconds, 0.001))
        if self.monotonic() >= self.end:
            raise Ended
        return event.is_set()


class Case:
    def __init__(self, events: dict[float, Any] | None = None, end: float = 100) -> None:
        self.clock = FakeClock()
        self.table = Counting(self.clock)
        task = self.table.insert_claimed(TaskMessage("t"), queue="work", owner="me", lease_s=LEASE_S, max_retry_count=0)
        assert task is not None
        self.lost: list[RunningAttempt] = []
        self.long: list[float] = []
        self.events: dict[float, Any] = events or {}
        self.heartbeat = Heartbeat(
            self.table,
            Script(self.clock, self.events, end),
            Lifecycle(),
            GroupLeases(self.table, self.clock, lease_s=LEASE_S),
            lease_s=LEASE_S,
            progress_interval_s=PROGRESS_S,
            on_long_run=lambda: self.long.append(self.clock.monotonic()),
        )
        self.attempt = RunningAttempt(
            task,
            run=None,  # type: ignore[arg-type]
            save=lambda attempt, text: self.table.save_checkpoint(attempt.task, text),
            on_first_report=self.heartbeat.first_report,
            on_lost=self.lost.append,
            may_reject=False,
        )

    def run(self, **events: Any) -> list[float]:
        self.heartbeat.start(self.attempt)
        with pytest.raises(Ended):
            self.heartbeat.run()
        return [moment for moment, _ in self.table.renewals]


def test_a_lease_is_renewed_every_third_of_its_length() -> None:
    assert Case(end=100).run() == pytest.approx([20, 40, 60, 80], abs=0.1)


def test_a_task_that_runs_for_two_seconds_is_known_as_long_once() -> None:
    case = Case(end=30)
    case.run()
    assert case.long == pytest.approx([2], abs=1.1)


def test_the_first_report_is_written_at_once_and_later_ones_at_most_every_interval() -> None:
    case = Case(end=40)
    for second in range(1, 36):
        case.heartbeat._clock.events[second + 0.5] = lambda second=second: case.attempt.report(second, "")  # type: ignore[attr-defined]
    moments = case.run()
    assert moments[0] == pytest.approx(1.5, abs=0.1)
    gaps = [after - before for before, after in pairwise(moments)]
    assert all(gap >= PROGRESS_S - 0.1 for gap in gaps)
    assert case.table.renewals[-1][1] == Progress(31)


def test_a_failing_heartbeat_is_tried_every_three_seconds_logged_once_and_stops_nobody() -> None:
    case = Case(end=100)
    case.table.away = True
    case.heartbeat._clock.events[60] = lambda: setattr(case.table, "away", False)  # type: ignore[attr-defined]
    with capture_logs() as lines:
        moments = case.run()
    assert moments[:4] == pytest.approx([20, 23, 26, 29], abs=0.5)
    assert [line["event"] for line in lines] == [
        "heartbeat failed, trying again; the task goes on",
        "heartbeat works again",
    ]
    assert not case.attempt.cancelled
    assert not case.lost
    # the lease was gone for a while: the same attempt revives it
    assert case.table.read("t").task.wake_at > case.clock.now()  # type: ignore[operator, union-attr]


def test_a_lost_claim_is_told_once_and_not_renewed_any_more() -> None:
    case = Case(end=200)

    def steal() -> None:
        case.clock.advance(LEASE_S)
        seen = case.table.read("t")
        assert seen is not None
        assert case.table.claim(seen.task, owner="thief", lease_s=1e6, max_retry_count=0, crashed=True)

    case.heartbeat._clock.events[10] = steal  # type: ignore[attr-defined]
    moments = case.run()
    assert len(moments) == 1
    assert case.lost == [case.attempt]
    assert case.attempt.cancelled


class Explosive:
    def __str__(self) -> str:
        raise SystemExit(1)


def test_what_a_handler_reports_can_t_end_the_heartbeat() -> None:
    case = Case(end=70)
    case.heartbeat._clock.events[1] = lambda: case.attempt.report(Explosive(), Explosive())  # type: ignore[attr-defined]
    assert len(case.run()) >= 3


def test_an_error_that_nobody_expected_is_logged_and_the_lease_is_kept() -> None:
    case = Case(end=70)

    def break_it() -> None:
        case.table.__dict__["renew"] = lambda *args, **kwargs: 1 // 0

    case.heartbeat._clock.events[1] = break_it  # type: ignore[attr-defined]
    case.heartbeat._clock.events[30] = lambda: case.table.__dict__.pop("renew")  # type: ignore[attr-defined]
    with capture_logs() as lines:
        moments = case.run()
    assert len(moments) >= 2
    assert any(line["log_level"] == "error" for line in lines)


def test_nothing_is_written_for_an_attempt_that_has_ended() -> None:
    case = Case(end=100)
    case.heartbeat._clock.events[5] = case.heartbeat.stop  # type: ignore[attr-defined]
    assert case.run() == []
