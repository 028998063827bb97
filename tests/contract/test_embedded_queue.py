"""The embedded queue: the contracts, and what only it promises (several processes, kill -9)."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from grid_async_task.adapters.embedded import EmbeddedMessagePublisher, EmbeddedMessageSource
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports import BrokerUnavailable, Delivery, MessagePublisher, MessageSource, OutgoingMessage
from grid_async_task.testing.contracts.message_publisher import MessagePublisherContract
from grid_async_task.testing.contracts.message_source import MessageSourceContract
from tests.waiting import quickest

_ROOT = Path(__file__).parents[2]
_QUEUE_NUMBERS = itertools.count(1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def publisher(file: Path) -> Iterator[EmbeddedMessagePublisher]:
    publisher = EmbeddedMessagePublisher(file)
    yield publisher
    publisher.close()


class TestEmbeddedMessageSource(MessageSourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, file: Path) -> None:
        self.file = file

    def make_source(self, queue: str, prefetch: int) -> MessageSource:
        return EmbeddedMessageSource(f"sqlite:///{self.file}", queue, prefetch=prefetch)

    def make_publisher(self) -> MessagePublisher:
        return EmbeddedMessagePublisher(self.file)

    def new_queue(self) -> str:
        return f"queue-{next(_QUEUE_NUMBERS)}"


class TestEmbeddedMessagePublisher(MessagePublisherContract):
    @pytest.fixture(autouse=True)
    def _file(self, file: Path) -> None:
        self.file = file

    def make_publisher(self) -> MessagePublisher:
        return EmbeddedMessagePublisher(f"sqlite:///{self.file}")

    def new_queue(self) -> str:
        return f"queue-{next(_QUEUE_NUMBERS)}"

    def take(self, queue: str, timeout_s: float) -> Delivery | None:
        source = EmbeddedMessageSource(self.file, queue)
        delivery = source.next(timeout_s)
        if delivery is not None:
            source.ack(delivery)
        source.close()
        return delivery


def taken(source: MessageSource, timeout_s: float = 10) -> Delivery:
    delivery = source.next(timeout_s)
    assert delivery is not None, f"no message within {timeout_s} s"
    return delivery


def start_python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs the program; its output is a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# -- several processes ------------------------------------------------------------------------------


def test_what_a_killed_reader_held_returns_when_its_lease_ends(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    def return_of_both() -> float:
        publisher.publish_many([OutgoingMessage("work", b"in hand"), OutgoingMessage("work", b"buffered")])
        reader = start_python(
            """
            import sys, time
            from grid_async_task.adapters.embedded import EmbeddedMessageSource

            source = EmbeddedMessageSource(sys.argv[1], "work", prefetch=2, lease_s=6)
            print(source.next(10).body.decode(), flush=True)
            time.sleep(60)
            """,
            file,
        )
        with reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "in hand\n"
            source = EmbeddedMessageSource(file, "work", prefetch=2)
            # longer than the lease: the living reader renews it
            assert source.next(7) is None
            reader.send_signal(signal.SIGKILL)
            killed_at = time.monotonic()
            returned = [taken(source, 30), taken(source, 30)]
            took_s = time.monotonic() - killed_at
        assert [delivery.body for delivery in returned] == [b"in hand", b"buffered"]
        assert [delivery.delivery_count for delivery in returned] == [1, 1]
        for delivery in returned:
            source.ack(delivery)
        source.close()
        return took_s

    assert quickest(return_of_both, 6 + 1) < 6 + 1


def test_four_processes_consume_each_message_exactly_once(file: Path) -> None:
    program = """
        import sys
        from grid_async_task.adapters.embedded import EmbeddedMessagePublisher, EmbeddedMessageSource
        from grid_async_task.ports import OutgoingMessage

        file, name = sys.argv[1:]
        publisher = EmbeddedMessagePublisher(file)
        for number in range(0, 200, 10):
            batch = [OutgoingMessage("work", f"{name}-{number + n}".encode()) for n in range(10)]
            assert publisher.publish_many(batch) == [None] * 10
        source = EmbeddedMessageSource(file, "work", prefetch=5)
        while delivery := source.next(2):
            print(delivery.body.decode())
            source.ack(delivery)
        source.close()
        publisher.close()
        """
    # all at once on a file that does not exist yet: they also make it at the same moment
    processes = [start_python(program, file, name) for name in "abcd"]
    outputs = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    came = Counter(line for output in outputs for line in output.splitlines())
    assert came == Counter(f"{name}-{number}" for name in "abcd" for number in range(200))
    publisher = EmbeddedMessagePublisher(file)
    assert publisher.declare("work").ready == 0
    publisher.close()


def test_a_publisher_killed_at_any_moment_loses_nothing_that_was_confirmed(file: Path) -> None:
    writer = start_python(
        """
        import sys
        from grid_async_task.adapters.embedded import EmbeddedMessagePublisher
        from grid_async_task.ports import OutgoingMessage

        publisher = EmbeddedMessagePublisher(sys.argv[1])
        for number in range(1_000_000):
            publisher.publish(OutgoingMessage("work", str(number).encode()))
            print(number, flush=True)
        """,
        file,
    )
    with writer:
        assert writer.stdout is not None
        confirmed = [writer.stdout.readline() for _ in range(50)]
        writer.send_signal(signal.SIGKILL)
        confirmed += writer.stdout.readlines()
    source = EmbeddedMessageSource(file, "work", prefetch=1000)
    came = []
    while delivery := source.next(0.2):
        came.append(delivery.body)
        source.ack(delivery)
    source.close()
    whole_lines = [line for line in confirmed if line.endswith("\n")]
    assert came[: len(whole_lines)] == [line.strip().encode() for line in whole_lines]


# -- leases -----------------------------------------------------------------------------------------


def expire_leases(file: Path) -> None:
    """As if every reader had stood still for longer than its lease."""
    db = sqlite3.connect(file)
    with db:
        db.execute("UPDATE grid_async_task_messages SET leased_until = 1 WHERE leased_by IS NOT NULL")
    db.close()


def test_an_ack_after_the_lease_was_lost_does_not_touch_the_new_holder(
    file: Path, publisher: EmbeddedMessagePublisher
) -> None:
    publisher.publish(OutgoingMessage("work", b"x"))
    slow, quick = EmbeddedMessageSource(file, "work"), EmbeddedMessageSource(file, "work")
    stale = taken(slow)
    expire_leases(file)
    taken(quick)
    slow.ack(stale)
    slow.close()
    quick.close()
    assert publisher.declare("work").ready == 1, "given back by the new holder, so it still was there"


def test_a_lease_that_the_same_reader_won_again_is_another_one(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    publisher.publish(OutgoingMessage("work", b"x"))
    source = EmbeddedMessageSource(file, "work", prefetch=2)
    stale = taken(source)
    expire_leases(file)
    fresh = taken(source)
    assert fresh.delivery_count == 1
    source.ack(stale)
    source.close()
    assert publisher.declare("work").ready == 1


def test_a_reader_that_stood_still_does_not_hand_out_what_others_have(
    file: Path, publisher: EmbeddedMessagePublisher
) -> None:
    publisher.publish_many([OutgoingMessage("work", body) for body in (b"in hand", b"buffered 1", b"buffered 2")])
    reader = start_python(
        """
        import sys
        from grid_async_task.adapters.embedded import EmbeddedMessageSource

        source = EmbeddedMessageSource(sys.argv[1], "work", prefetch=3, lease_s=1)
        print(source.next(10).body.decode(), flush=True)
        sys.stdin.readline()
        print(source.next(5).body.decode(), flush=True)
        sys.stdin.readline()
        """,
        file,
    )
    with reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "in hand\n"
        reader.send_signal(signal.SIGSTOP)
        source = EmbeddedMessageSource(file, "work", prefetch=2)
        assert [taken(source).body, taken(source).body] == [b"in hand", b"buffered 1"]
        # before it runs again, so that it may ask for the next message earlier than it renews its leases
        reader.stdin.write("go on\n")
        reader.stdin.flush()
        reader.send_signal(signal.SIGCONT)
        assert reader.stdout.readline() == "buffered 2\n"
        reader.kill()
        source.close()


def test_a_held_message_stays_in_hand_for_many_leases(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    publisher.publish(OutgoingMessage("work", b"long"))
    source = EmbeddedMessageSource(file, "work", lease_s=3)
    other = EmbeddedMessageSource(file, "work")
    delivery = taken(source)
    assert other.next(7) is None
    source.ack(delivery)
    source.close()
    assert other.next(1) is None
    other.close()


# -- waiting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pause", "close"])
def test_waiting_is_interrupted(file: Path, how: str) -> None:
    source = EmbeddedMessageSource(file, "work")
    assert source.next(0) is None
    timer = threading.Timer(0.2, getattr(source, how))
    before = time.monotonic()
    timer.start()
    assert source.next(60) is None
    assert time.monotonic() - before < 5
    timer.join()
    source.close()


def test_a_message_that_comes_during_a_wait_is_taken_quickly(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    source = EmbeddedMessageSource(file, "work")
    assert source.next(1) is None
    came: list[float] = []

    def wait() -> None:
        source.ack(taken(source))
        came.append(time.monotonic())

    def send_and_take() -> float:
        waiting = threading.Thread(target=wait)
        waiting.start()
        publisher.publish(OutgoingMessage("work", b"x"))
        sent = time.monotonic()
        waiting.join()
        return came[-1] - sent

    assert quickest(send_and_take, 1.0) < 1.0
    source.close()


def test_delays_are_exact(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    source = EmbeddedMessageSource(file, "work")

    def send_and_take() -> float:
        sent = time.time()
        publisher.publish(OutgoingMessage("work", b"x", delay_s=0.75))
        source.ack(taken(source))
        return time.time() - sent

    # a clock that is set right meanwhile may be some thousandths off
    assert 0.70 < quickest(send_and_take, 0.75 + 1) < 0.75 + 1
    source.close()


def test_messages_come_in_the_order_in_which_they_became_due(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    late = OutgoingMessage("work", b"published first, due last", delay_s=0.2)
    publisher.publish_many([late, OutgoingMessage("work", b"due at once")])
    for _ in range(200):
        if publisher.declare("work").ready == 2:
            break
        time.sleep(0.05)
    source = EmbeddedMessageSource(file, "work", prefetch=2)
    assert [taken(source).body, taken(source).body] == [b"due at once", b"published first, due last"]
    source.close()


# -- trouble ----------------------------------------------------------------------------------------


class WriteLock:
    """Somebody else's transaction on the file."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._db.execute("ROLLBACK")
        self._db.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grid_async_task.adapters.embedded.queue_file.BUSY_TIMEOUT_S", 0.1)


@pytest.mark.usefixtures("impatient")
def test_a_publish_on_a_locked_file_says_so_and_sent_nothing(file: Path) -> None:
    publisher = EmbeddedMessagePublisher(file)
    publisher.declare("work")
    lock = WriteLock(file)
    with pytest.raises(BrokerUnavailable, match="locked") as caught:
        publisher.publish(OutgoingMessage("work", b"x"))
    assert not caught.value.maybe_sent
    answers = publisher.publish_many([OutgoingMessage("work", b"1"), OutgoingMessage("work", b"2")])
    assert [type(answer) for answer in answers] == [BrokerUnavailable, BrokerUnavailable]
    lock.release()
    assert publisher.declare("work").ready == 0
    publisher.publish(OutgoingMessage("work", b"x"))
    assert publisher.declare("work").ready == 1
    publisher.close()


def test_a_publish_looks_often_enough_for_the_gaps_between_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own wait looks every tenth of a second, and comes away empty where others write without a pause."""
    publisher = EmbeddedMessagePublisher(file)
    publisher.declare("work")
    lock, pauses = WriteLock(file), []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 20:
            lock.release()

    monkeypatch.setattr("grid_async_task.adapters.embedded.queue_file.time.sleep", pause)
    publisher.publish(OutgoingMessage("work", b"x"))
    assert len(pauses) == 20
    assert max(pauses) <= 0.005
    assert publisher.declare("work").ready == 1
    publisher.close()


@pytest.mark.usefixtures("impatient")
def test_a_reader_waits_while_the_file_is_locked_and_says_so_once(
    file: Path, publisher: EmbeddedMessagePublisher
) -> None:
    publisher.publish(OutgoingMessage("work", b"x"))
    source = EmbeddedMessageSource(file, "work")
    lock = WriteLock(file)
    with capture_logs() as logs:
        assert source.next(1) is None
        assert not source.connected
        lock.release()
        delivery = taken(source)
        assert source.connected
        source.ack(delivery)
    assert [entry["log_level"] for entry in logs] == ["warning", "info"]
    source.close()


@pytest.mark.usefixtures("impatient")
def test_an_ack_that_meets_a_locked_file_is_made_up_for(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    publisher.publish(OutgoingMessage("work", b"x"))
    source = EmbeddedMessageSource(file, "work")
    delivery = taken(source)
    lock = WriteLock(file)
    source.ack(delivery)
    lock.release()
    source.close()
    expire_leases(file)
    assert publisher.declare("work").ready == 0


def test_a_full_disk_is_something_to_wait_for(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    publisher.declare("work")
    with publisher._file.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count={pages + 1}")  # SQLite's own way of having no room left
    with pytest.raises(BrokerUnavailable, match="full"):
        publisher.publish(OutgoingMessage("work", b"x" * 1_000_000))
    publisher.publish(OutgoingMessage("work", b"x" * 1_000_000))
    assert publisher.declare("work").ready == 1


def test_a_missing_folder_is_for_a_person_to_make(tmp_path: Path) -> None:
    publisher = EmbeddedMessagePublisher(tmp_path / "missing" / "queue.db")
    with pytest.raises(ConfigurationError, match="no folder"):
        publisher.publish(OutgoingMessage("work", b"x"))
    source = EmbeddedMessageSource(tmp_path / "missing" / "queue.db", "work")
    with pytest.raises(ConfigurationError, match="no folder"):
        source.next(1)
    source.close()


def test_another_kind_of_file_is_refused(file: Path) -> None:
    file.write_text("no database, only a text that is long enough to be looked at\n" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        EmbeddedMessagePublisher(file).publish(OutgoingMessage("work", b"x"))


def refused_for_an_ordinary_user(file: Path) -> bool:
    """In a process of its own, which stops being root where it was: root may write everywhere."""
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            EmbeddedMessagePublisher(file).publish(OutgoingMessage("work", b"x"))
        except ConfigurationError as error:
            os._exit(0 if "no right" in str(error) else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_without_the_right_to_write_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # pytest's own folders are for one user only
        file = Path(folder, "queue.db")
        file.touch(mode=0o444)
        assert refused_for_an_ordinary_user(file)


def test_another_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///FILE"):
        EmbeddedMessagePublisher("amqp://guest:secret@localhost/")


# -- what is stored ---------------------------------------------------------------------------------


def test_foreign_values_arrive_as_text(file: Path, publisher: EmbeddedMessagePublisher) -> None:
    moment = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)
    publisher.publish(OutgoingMessage("work", b"", headers={"b": b"\xe5\x80\xbc", "t": moment, "n": [1, {"x": b"y"}]}))
    source = EmbeddedMessageSource(file, "work")
    assert taken(source).headers == {"b": "值", "t": "2024-01-15 10:30:00+00:00", "n": [1, {"x": "y"}]}
    source.close()


def test_a_confirmed_message_is_on_the_disk(publisher: EmbeddedMessagePublisher) -> None:
    publisher.declare("work")
    with publisher._file.reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,), "2 is FULL"


def test_a_relative_path_keeps_its_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    publisher = EmbeddedMessagePublisher("sqlite:///queue.db")
    monkeypatch.chdir("/")
    publisher.publish(OutgoingMessage("work", b"x"))
    publisher.close()
    assert (tmp_path / "queue.db").exists()
