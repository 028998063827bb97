"""One history: broker, table, receiver, the processes that use them, and the faults that befall those.

Every call of a port is a step; steps are numbered through the whole history, whichever process
makes them. Time is a clock that moves when somebody waits. So the same faults at the same steps
give the same history, every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from grid_async_task.adapters.memory import (
    FakeClock,
    MemoryBroker,
    MemoryMessageSource,
    MemoryTaskRepository,
    RecordingCallbackSender,
    RecordingNotifier,
)
from grid_async_task.application.client import Client
from grid_async_task.application.producer import Producer
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import (
    BrokerUnavailable,
    CallbackFailed,
    Delivery,
    OutgoingMessage,
    Pruned,
    RepositoryUnavailable,
)
from grid_async_task.settings import Settings
from tests.schedules import faults
from tests.schedules.processes import Process, WorkerProcess, settings_of
from tests.schedules.promises import Promises
from tests.schedules.scenarios import Scenario, Scripted
from tests.unit.world import QUEUE, Crash, Stepped

T = TypeVar("T")

#: steps, and calls with those that only wait, after which a history is taken for endless; a long one has 300 steps
MAX_STEPS, MAX_CALLS = 3000, 50_000
#: workers that an autoscaler may have to start until nothing is left
MAX_WORKERS = 60
#: seconds between two looks of a process' other threads at the time
TURN_S = 3.0
#: seconds that pass before each round of the net under lost tickets
SWEEP_AFTER_S = 1000.0


class History:
    """What happens in one scenario under some faults. `run` it once, then ask `promises.broken`."""

    def __init__(self, scenario: Scenario, at_steps: Mapping[int, str] | None = None) -> None:
        self.scenario = scenario
        self.at_steps = dict(at_steps or {})
        self.clock = SharedClock(self)
        self.promises = Promises(self)
        self.broker = _Broker(self.clock)
        self.broker.promises = self.promises
        self.table = _Table(self.clock)
        self.table.promises = self.promises
        self.receiver = _Receiver(self)
        self.notifier = RecordingNotifier()
        #: faults that took longer than was meant, and so were pauses too
        self.stalls = 0
        #: something goes round and round
        self.is_endless = False
        self.calls = 0
        #: what was called, by whom
        self.steps: list[str] = []
        #: all that there ever were, by name
        self.processes: dict[str, Process] = {}
        self.living: list[Process] = []
        #: until when (by the clock) the servers behind a port do not answer
        self.away_until: dict[str, float] = {}
        #: whose call of a port is being carried out
        self.caller = ""

    def run(self) -> History:
        self._send()
        self.work()
        self.until_quiet()
        for command in self.scenario.then:
            faults.COMMANDS[command](self)
            self.work()
            self.until_quiet()
        if not self.is_endless:
            self.promises.at_the_end()
        return self

    @property
    def costs(self) -> int:
        """Executions that the faults may cost. A worker that waits while another is hit may be hit with it."""
        each = [faults.FAULTS[fault].costs for fault in self.at_steps.values()]
        return self.stalls + (sum(each) if len(each) == 1 else len(each) + sum(each))

    @property
    def repeats(self) -> int:
        """How often a callback may come again."""
        each = [faults.FAULTS[fault].repeats_callback for fault in self.at_steps.values()]
        return self.stalls + (sum(each) if len(each) == 1 else len(each))

    # -- processes ----------------------------------------------------------------------------------

    def work(self, idle_timeout_s: float = 0.5) -> None:
        """One worker from its start to its end."""
        name = f"worker-{len(self.processes) + 1}"
        handler = Scripted(self)
        process = WorkerProcess(self, name, handler, idle_timeout_s)
        handler.process = process
        self.processes[name] = process
        self.living.append(process)
        try:
            process.run()
        except Exception as error:
            self.promises.breach(f"{name} ended with {error!r}")
        finally:
            self.living.remove(process)

    def until_quiet(self) -> None:
        """What an autoscaler does: start a worker whenever a message is ready, until none is left anywhere."""
        for _ in range(MAX_WORKERS):
            if self.is_endless:
                return
            if not self.broker.waiting_for(QUEUE):
                if not self.promises.somebody_waits():
                    return
                self._without_messages()
            if not self.broker.ready(QUEUE):
                self.clock.advance(self.broker.seconds_to_next() or 0.0)
            self.work()
        self.is_endless = True
        self.promises.breach(f"not quiet after {MAX_WORKERS} workers: {self.broker.waiting_for(QUEUE)}")

    def _without_messages(self) -> None:
        """Tickets were lost, or never sent: the sweep finds what is overdue, an operator has the rest requeued."""
        self.clock.advance(SWEEP_AFTER_S)
        faults.sweep(self)
        if self.promises.tickets_were_lost:
            faults.requeue_all(self)

    def command(self, name: str, do: Callable[[Any, Any], object]) -> None:
        """Somebody's command, a process of its own; `do` gets a repository and a publisher."""
        name = f"{name}-{len(self.processes) + 1}"
        process = Process(self, name)
        self.processes[name] = process
        try:
            do(Stepped(self.table, "repository", process), Stepped(self.broker.publisher(), "publisher", process))
        except Crash:
            pass
        except GridAsyncTaskError:
            pass  # it says so to whoever gave it
        finally:
            process.dead = True

    def client_command(self, name: str, do: Callable[[Client], object]) -> None:
        self.command(name, lambda repository, publisher: do(Client(repository, lambda: publisher)))

    # -- steps --------------------------------------------------------------------------------------

    def step(self, process: Process, name: str, call: Callable[[], T]) -> T:
        """One call of a port, and what befalls the process at it."""
        self.calls += 1
        if self.calls >= MAX_CALLS or len(self.steps) >= MAX_STEPS:
            self._give_up()
        again, process.called = process.called == name, name
        if again and (name == "source.next" or self._is_away(name)):
            return self._carry_out(process, name, call)  # it only waits: many such calls are one step
        number = len(self.steps)
        self.steps.append(f"{process.name} {name}")
        fault = self.at_steps.get(number)

        def carry_out() -> T:
            return self._carry_out(process, name, call)

        if fault is None:
            return carry_out()
        answer: T = faults.FAULTS[fault].befall(self, process, carry_out)
        return answer

    def _give_up(self) -> None:
        if not self.is_endless:
            self.is_endless = True
            self.promises.breach(f"endless; the last steps: {self.steps[-6:]}")
        for process in self.processes.values():
            process.dead = True
        raise Crash

    def _carry_out(self, process: Process, name: str, call: Callable[[], T]) -> T:
        if self._is_away(name):
            nothing: T = self._without_server(name)
            return nothing
        before, self.caller = self.caller, process.name
        try:
            return call()
        finally:
            self.caller = before
            self.promises.after_step(name)

    def _is_away(self, name: str) -> bool:
        return self.clock.monotonic() < self.away_until.get(name.split(".")[0], 0.0)

    def _without_server(self, name: str) -> Any:
        if name == "source.next":
            self.clock.advance(1.0)  # it reconnects by itself; until then nothing comes
            return None
        if name.startswith("source"):
            return None  # a stale acknowledgement does nothing
        if name.startswith("repository"):
            raise RepositoryUnavailable("away")
        raise BrokerUnavailable("away", maybe_sent=True)

    # -- how it begins ------------------------------------------------------------------------------

    def _send(self) -> None:
        scenario = self.scenario
        for task in scenario.rows(self.clock.now()):
            self.table._keep(task)
        self.receiver.failures_left = scenario.callback_failures
        for body in scenario.bodies():
            if scenario.through_producer:
                self.command("producer", self._producing)
            else:
                self.broker.put(OutgoingMessage(QUEUE, body))

    def _producing(self, repository: Any, publisher: Any) -> None:
        producer = Producer(
            publisher,
            repository,
            default_queue=QUEUE,
            message_max_bytes=1_000_000,
            monotonic=self.clock.monotonic,
        )
        producer.send_task(dict(self.scenario.messages[0]))  # type: ignore[arg-type]

    def settings(self, idle_timeout_s: float) -> Settings:
        return _settings(idle_timeout_s, tuple(self.scenario.settings.items()))


@cache
def _settings(idle_timeout_s: float, own: tuple[tuple[str, Any], ...]) -> Settings:
    return settings_of(idle_timeout_s, dict(own))


class SharedClock(FakeClock):
    """Moves when somebody waits; then the other threads of all living processes have their turn."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def advance(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while True:
            left = max(0.0, end - self.monotonic())
            with_threads = [process for process in self._history.living if process.has_threads]
            super().advance(min(left, TURN_S) if with_threads else left)
            for process in with_threads:
                process.tick()
            if self.monotonic() >= end:
                return


class _Table(MemoryTaskRepository):
    promises: Promises

    def _keep(self, task: Task) -> Task:
        before = self._rows.get(task.id)
        kept = super()._keep(task)
        self.promises.row_changed(before, kept)
        return kept

    def insert_claimed_together(self, messages: Sequence[TaskMessage], **claim: Any) -> list[Task] | None:
        tasks = super().insert_claimed_together(messages, **claim)
        self.promises.in_groups |= {task.id for task in tasks or []}
        return tasks

    def claim_together(self, seen: Sequence[Task], **claim: Any) -> list[Task] | None:
        tasks = super().claim_together(seen, **claim)
        self.promises.in_groups |= {task.id for task in seen if self._rows[task.id].grouped}
        return tasks

    def prune(
        self,
        older_than_s: float,
        limit: int,
        status: TaskStatus | None = None,
        created_from: datetime | None = None,
    ) -> Pruned:
        before = dict(self._rows)
        pruned = super().prune(older_than_s, limit, status, created_from)
        for task_id in before.keys() - self._rows.keys():
            self.promises.row_pruned(before[task_id])
        return pruned


class _Broker(MemoryBroker):
    promises: Promises

    def __post_init__(self) -> None:
        super().__post_init__()
        self.acked: list[OutgoingMessage] = []

    def source(self, queue: str, prefetch: int = 1) -> MemoryMessageSource:
        return _Source(self, queue, prefetch)

    def put(self, message: OutgoingMessage) -> None:
        super().put(message)
        self.promises.message_put(message)


class _Source(MemoryMessageSource):
    _broker: _Broker

    def ack(self, delivery: Delivery) -> None:
        hand = self._broker.in_hand.get(delivery.receipt)
        super().ack(delivery)
        if hand is not None and delivery.receipt not in self._broker.in_hand:
            self._broker.acked.append(hand.message)


class _Receiver(RecordingCallbackSender):
    """Fails as often as the scenario says, then takes what comes."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self.failures_left = 0

    def send(self, callback: Callback) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise CallbackFailed("no")
        super().send(callback)
        self._history.promises.callback_received(callback)
