"""What can befall a process at a step. Each fault decides whether, when and how often the call is carried out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grid_async_task.application.callback_desk import CallbackDesk
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.refusal import Refused
from grid_async_task.application.requeue import requeue
from grid_async_task.application.sweep import Sweep
from tests.schedules.processes import Process, WorkerProcess
from tests.unit.world import QUEUE

if TYPE_CHECKING:
    from tests.schedules.history import History

#: seconds of a pause and of an outage; leases are 60
LONG_S = 400.0
#: seconds without work after which a second worker ends
SHORTER_THAN_LEASE_S, LONGER_THAN_LEASE_S = 30.0, 70.0

Call = Callable[[], Any]
Befall = Callable[["History", Process, Call], Any]


@dataclass(frozen=True)
class Fault:
    befall: Befall
    #: executions of a handler that it may cost: whether it may take a lease away
    costs: int
    #: the steps at which it makes a difference: those of calls that begin so
    at: tuple[str, ...] = ("",)
    #: whether a callback may come twice: its sender was lost, or could not note in time that it was sent
    repeats_callback: bool = False


# -- a process dies or stands still ---------------------------------------------------------------------


def crash_before(history: History, process: Process, call: Call) -> None:
    process.die()


def crash_after(history: History, process: Process, call: Call) -> None:
    """The call is carried out, and its reply lost."""
    call()
    process.die()


def pause(history: History, process: Process, call: Call) -> Any:
    """As SIGSTOP for longer than a lease; its connection lives, another worker is there."""
    with _standing_still(process):
        history.clock.advance(LONG_S)
        history.work(LONGER_THAN_LEASE_S)
    return call()


def pause_redelivered(history: History, process: Process, call: Call) -> Any:
    """The same, but the broker gives to others what the process had in hand."""
    with _standing_still(process):
        history.clock.advance(LONG_S)
        history.broker.lose_connections()
        history.work(LONGER_THAN_LEASE_S)
    return call()


@contextmanager
def _standing_still(process: Process) -> Iterator[None]:
    before, process.still = process.still, True
    try:
        yield
    finally:
        process.still = before


def beside(history: History, process: Process, call: Call) -> Any:
    """Another worker runs between two steps; the heartbeat of this one goes on."""
    _second_worker(history, process)
    return call()


def redelivered(history: History, process: Process, call: Call) -> Any:
    """The broker was restarted, and another worker gets what this one has in hand."""
    history.broker.lose_connections()
    _second_worker(history, process)
    return call()


def acked_again(history: History, process: Process, call: Call) -> Any:
    """The broker delivers once more whatever was acknowledged so far, and another worker is there."""
    for message in list(history.broker.acked):
        history.broker.put(message)
    _second_worker(history, process)
    return call()


def _second_worker(history: History, process: Process) -> None:
    # where no heartbeat runs, standing between two steps for longer than a lease is a pause
    began = history.clock.monotonic()
    history.work(LONGER_THAN_LEASE_S if process.heart_beats else SHORTER_THAN_LEASE_S)
    if not process.heart_beats and history.clock.monotonic() - began > SHORTER_THAN_LEASE_S + 2.0:
        history.stalls += 1


# -- servers are away -----------------------------------------------------------------------------------


def _outage(*ports: str, reply_lost: bool = False, restart: bool = False, second_worker: bool = False) -> Befall:
    def befall(history: History, process: Process, call: Call) -> Any:
        if reply_lost:
            call()
        # not always as long: who notices the end first must not be the same each time
        until = history.clock.monotonic() + LONG_S + 0.7 * len(history.steps)
        history.away_until.update(dict.fromkeys(ports, until))
        if restart:
            history.broker.lose_connections()
        if second_worker:
            history.work(LONGER_THAN_LEASE_S)
        return call()  # refused, as its repetitions are until the servers are back

    return befall


# -- the worker is asked to stop ------------------------------------------------------------------------


def stop(history: History, process: Process, call: Call) -> Any:
    """SIGTERM; the handler ends within its grace."""
    if isinstance(process, WorkerProcess):
        process.worker.stop()
    return call()


def interrupt(history: History, process: Process, call: Call) -> Any:
    """SIGTERM; the handler is interrupted and ends."""
    if isinstance(process, WorkerProcess):
        process.worker.stop()
        process.interrupts.current.interrupt()
    return call()


def leave(history: History, process: Process, call: Call) -> Any:
    """SIGTERM; the handler is interrupted, and no time is left for servers that are away."""
    if isinstance(process, WorkerProcess):
        interrupt(history, process, lambda: None)
        process.lifecycle.leaving.set()
    return call()


def stuck(history: History, process: Process, call: Call) -> Any:
    """SIGTERM; the handler (or whatever goes on) does not end: the process has to."""
    if isinstance(process, WorkerProcess) and not process.lifecycle.stopping.is_set():
        process.worker.stop()
        process.background.loops["grid-async-task stop"]()
    return call()


# -- somebody else --------------------------------------------------------------------------------------


def cancel(history: History) -> None:
    history.promises.cancels += 1
    history.client_command("cancel", lambda client: client.cancel_task("t"))


def retry(history: History) -> None:
    history.client_command("retry", lambda client: client.retry_task("t"))


def prune(history: History) -> None:
    history.client_command("prune", lambda client: client.prune_tasks(2))


def sweep(history: History) -> None:
    def do(repository: Any, publisher: Any) -> None:
        net = Sweep(repository, publisher, history.clock, Lifecycle(), random.Random(1), queue=QUEUE)
        with history.promises.sweeping():
            net.sweep()

    history.command("sweep", do)


def requeue_all(history: History) -> None:
    history.command("requeue", lambda repository, publisher: requeue(repository, publisher, QUEUE))


def redeliver(history: History) -> None:
    def do(repository: Any, publisher: Any) -> None:
        try:
            CallbackDesk(repository, lambda: publisher).redeliver("t")
        except Refused:
            pass
        else:
            history.promises.redelivered += 1

    history.promises.redeliver_tries += 1
    history.command("redeliver", do)


def purge(history: History) -> None:
    """The broker loses every message that nobody has in hand: the sweep is the net, and `requeue`."""
    history.broker.queues[QUEUE].clear()
    history.broker.delayed.clear()
    history.promises.tickets_are_lost()


COMMANDS: dict[str, Callable[[History], None]] = {
    "cancel": cancel,
    "retry": retry,
    "prune": prune,
    "sweep": sweep,
    "requeue": requeue_all,
    "redeliver": redeliver,
    "purge": purge,
}


def _meanwhile(command: Callable[[History], None]) -> Befall:
    def befall(history: History, process: Process, call: Call) -> Any:
        command(history)
        return call()

    return befall


def slow(history: History, process: Process, call: Call) -> Any:
    """A receiver (of a callback or a notice) takes 20 s: the worker goes on after 1 s."""
    if isinstance(process, WorkerProcess):
        process.slow_call = True
    return call()


# -- all of them ----------------------------------------------------------------------------------------

#: calls that change something or learn something; the others only pass the time
SERVERS = ("repository", "publisher", "source.ack")
DATABASE = ("repository",)

FAULTS: dict[str, Fault] = {
    "crash-before": Fault(crash_before, costs=1, repeats_callback=True),
    "crash-after": Fault(crash_after, costs=1, repeats_callback=True),
    "pause": Fault(pause, costs=1, repeats_callback=True),
    "pause-redelivered": Fault(pause_redelivered, costs=1, repeats_callback=True),
    "beside": Fault(beside, costs=0),
    "redelivered": Fault(redelivered, costs=0),
    "acked-again": Fault(acked_again, costs=0),
    "database-away": Fault(_outage("repository"), costs=0, at=DATABASE, repeats_callback=True),
    "database-away-reply-lost": Fault(
        _outage("repository", reply_lost=True), costs=0, at=DATABASE, repeats_callback=True
    ),
    "both-away": Fault(
        _outage("repository", "publisher", "source", restart=True), costs=0, at=SERVERS, repeats_callback=True
    ),
    "both-away-reply-lost": Fault(
        _outage("repository", "publisher", "source", restart=True, reply_lost=True),
        costs=0,
        at=SERVERS,
        repeats_callback=True,
    ),
    "database-away-second-worker": Fault(
        _outage("repository", restart=True, second_worker=True),
        costs=0,
        # while a handler runs: elsewhere the first worker would stand still meanwhile
        at=("repository.save_checkpoint",),
    ),
    "stop": Fault(stop, costs=1),
    "interrupt": Fault(interrupt, costs=1),
    "leave": Fault(leave, costs=1, repeats_callback=True),
    "stuck": Fault(stuck, costs=1, repeats_callback=True),
    "slow": Fault(slow, costs=0, at=("background.submit",)),
    **{name: Fault(_meanwhile(command), costs=0) for name, command in COMMANDS.items() if name != "redeliver"},
}
