from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime

from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.wire_time import to_wire

#: the field of its message that tells a recurring task's handler for which time it runs
DUE_FIELD = "due_at"


class Schedule(ABC):
    """When something is due, again and again."""

    @abstractmethod
    def latest(self, now: datetime) -> datetime:
        """The newest time, in whole seconds, at which it was due: not after now."""


@dataclass(frozen=True)
class RecurringTask:
    """A task that is sent whenever its schedule says so."""

    #: with the time it makes the id
    name: str
    queue: str
    schedule: Schedule
    #: all but the id
    template: TaskMessage

    def due_at(self, moment: datetime) -> TaskMessage:
        """The one for this moment: the same id, whoever asks and how often."""
        due = to_wire(moment)
        return replace(self.template, task_id=f"{self.name}@{due}", extra={**self.template.extra, DUE_FIELD: due})
