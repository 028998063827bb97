"""What every adapter of the port `Notifier` has to pass."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest

from grid_async_task.ports import Notice, Notifier

NOTICE = Notice(
    "Task failed for good",
    {"task": "Job-1", "type": "报表", "error": "ValueError: no such <file>"},
    'Traceback (most recent call last):\n  File "job.py", line 1, in run\nValueError: no such file',
)


class NotifierContract(ABC):
    """Derive a class whose name begins with `Test`, say how a notifier is made, and let pytest collect it."""

    @abstractmethod
    def notifier(self) -> Notifier:
        """A notifier that is ready to use."""

    @abstractmethod
    def told(self) -> list[str]:
        """What people can read, one text a notice; markup and escapes undone."""

    @abstractmethod
    def break_receiver(self) -> None:
        """From now on nobody can be told."""

    def test_people_are_told_the_title_the_facts_and_the_error(self) -> None:
        notifier = self.notifier()
        notifier.notify(NOTICE)
        notifier.close()
        [text] = self.told()
        for expected in (NOTICE.title, *NOTICE.facts, *NOTICE.facts.values(), "ValueError: no such file"):
            assert expected in text

    def test_a_notice_needs_a_title_only(self) -> None:
        notifier = self.notifier()
        notifier.notify(Notice("Something happened"))
        notifier.close()
        [text] = self.told()
        assert "Something happened" in text

    def test_a_notice_that_could_not_be_told_raises(self) -> None:
        notifier = self.notifier()
        self.break_receiver()
        with pytest.raises(Exception):  # noqa: B017 - the port names no type
            notifier.notify(NOTICE)
        notifier.close()
        assert self.told() == []

    def test_closing_twice_does_no_harm(self) -> None:
        notifier = self.notifier()
        notifier.notify(NOTICE)
        notifier.close()
        notifier.close()
        assert len(self.told()) == 1
