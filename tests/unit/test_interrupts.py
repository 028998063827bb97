"""SIGALRM in the handler's code: blocking calls, shields, and nothing outside of the guard."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from grid_async_task import ConfigurationError, TaskInterrupted, TimeoutError
from grid_async_task.adapters.process import interrupts as module
from grid_async_task.adapters.process.interrupts import SignalInterrupts


def test_a_time_limit_interrupts_a_call_that_blocks() -> None:
    interrupts = SignalInterrupts()
    with interrupts.in_this_thread(0.05), pytest.raises(TimeoutError, match="TASK_TIMEOUT"), interrupts.guard(0.05):
        time.sleep(30)


def test_an_interrupt_from_another_thread_reaches_a_call_that_blocks() -> None:
    interrupts = SignalInterrupts()
    with interrupts.in_this_thread(0):
        guard = interrupts.guard(0)
        threading.Timer(0.05, guard.interrupt).start()
        with pytest.raises(TaskInterrupted), guard:
            threading.Event().wait(30)


def test_an_interrupt_that_comes_first_is_raised_at_the_beginning() -> None:
    interrupts = SignalInterrupts()
    with interrupts.in_this_thread(0):
        guard = interrupts.guard(0)
        guard.interrupt()
        with pytest.raises(TaskInterrupted), guard:
            pytest.fail("the handler ran")


def test_a_shielded_part_is_finished_first() -> None:
    interrupts = SignalInterrupts()
    done = []
    with interrupts.in_this_thread(0):
        guard = interrupts.guard(0)
        with pytest.raises(TaskInterrupted), guard:
            with guard.shield():
                guard.interrupt()
                done.append("the statement was read to its end")
            pytest.fail("went on after the shield")
    assert done


def test_what_was_raised_before_a_shielded_part_is_not_raised_again_after_it() -> None:
    interrupts = SignalInterrupts()
    cleaned_up = []
    with interrupts.in_this_thread(0):
        guard = interrupts.guard(0)
        with pytest.raises(TaskInterrupted), guard:
            try:
                guard.interrupt()
                threading.Event().wait(30)
            finally:
                with guard.shield():
                    pass
                cleaned_up.append("to the end")
    assert cleaned_up


def test_a_shield_in_another_thread_is_none_of_the_handlers() -> None:
    interrupts = SignalInterrupts()
    left = threading.Event()
    raised: list[BaseException] = []
    in_time: list[bool] = []

    def elsewhere() -> None:
        try:
            with guard.shield():
                guard.interrupt()
                in_time.append(left.wait(10))
        except BaseException as error:
            raised.append(error)

    with interrupts.in_this_thread(0):
        guard = interrupts.guard(0)
        thread = threading.Thread(target=elsewhere)
        with pytest.raises(TaskInterrupted), guard:
            thread.start()
            threading.Event().wait(30)
        left.set()
        thread.join()
    assert (raised, in_time) == ([], [True])


def test_an_interrupt_that_comes_with_the_end_does_not_strike_the_program_afterwards() -> None:
    interrupts = SignalInterrupts()
    with interrupts.in_this_thread(0):
        guard = interrupts.guard(0)
        with guard:
            pass
        # as another thread does that has looked before the end and acts after it
        interrupts.current = guard  # type: ignore[assignment]
        with pytest.raises(TaskInterrupted):
            guard.interrupt()
        interrupts.current = None
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_of_the_program_s_own_goes_on() -> None:
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        interrupts = SignalInterrupts()
        with interrupts.in_this_thread(0), interrupts.guard(0):
            pass
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class StruckLock:
    """A lock that is struck by the signal as it is taken and let go: in C code, so that its caller gets the blow."""

    acquire = __enter__ = staticmethod(partial(signal.raise_signal, signal.SIGALRM))
    release = staticmethod(partial(signal.raise_signal, signal.SIGALRM))

    def __exit__(self, *_: object) -> None:
        return None


def taken_and_let_go_by_logging() -> None:
    handler = logging.NullHandler()
    handler.lock = StruckLock()  # type: ignore[assignment]
    handler.acquire()
    handler.release()


def taken_and_let_go_by_a_condition() -> None:
    # what events, queues and semaphores are made of
    condition = threading.Condition(StruckLock())  # type: ignore[arg-type]
    condition.__enter__()
    condition.__exit__(None, None, None)


@pytest.mark.parametrize("use", [taken_and_let_go_by_logging, taken_and_let_go_by_a_condition])
def test_a_lock_that_our_threads_share_is_never_left_held(use: Callable[[], None]) -> None:
    interrupts = SignalInterrupts()
    done = []
    with interrupts.in_this_thread(0):
        guard = interrupts.guard(0)
        with pytest.raises(TaskInterrupted), guard:
            guard._interrupted = True  # type: ignore[attr-defined]
            use()
            done.append("its end was reached")
            signal.raise_signal(signal.SIGALRM)
    assert done


def test_nothing_is_raised_outside_of_the_guard() -> None:
    interrupts = SignalInterrupts()
    with interrupts.in_this_thread(0.02):
        first = interrupts.guard(0.02)
        with first:
            pass
        first.interrupt()
        signal.raise_signal(signal.SIGALRM)
        with interrupts.guard(0):
            first.interrupt()
            signal.raise_signal(signal.SIGALRM)


def test_a_limit_that_strikes_right_at_the_end_does_not_strike_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_AFTER_S", 0.001)
    interrupts = SignalInterrupts()
    with interrupts.in_this_thread(0.002):
        for number in range(300):
            guard = interrupts.guard(0.002)
            try:
                with guard:
                    time.sleep(0.001 + number % 20 * 0.0001)
            except TimeoutError:
                pass
            finally:
                guard.disarm()
            time.sleep(0.002)


def test_the_signal_is_given_back_at_the_end() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with SignalInterrupts().in_this_thread(1):
        assert signal.getsignal(signal.SIGALRM) is not before
    assert signal.getsignal(signal.SIGALRM) is before


def test_outside_the_main_thread_a_time_limit_is_refused_and_everything_else_works() -> None:
    caught: list[BaseException] = []

    def elsewhere() -> None:
        interrupts = SignalInterrupts()
        with interrupts.in_this_thread(0):
            guard = interrupts.guard(0)
            with guard:
                guard.interrupt()
        try:
            with interrupts.in_this_thread(5):
                pass
        except ConfigurationError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "TASK_TIMEOUT" in str(caught[0])
