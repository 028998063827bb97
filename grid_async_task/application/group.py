"""A handful of short tasks that were claimed by one commit, and what became of each so far."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task
from grid_async_task.ports import Delivery


@dataclass(frozen=True)
class Member:
    """One task of a group, and the message that brought it."""

    delivery: Delivery
    message: TaskMessage
    task: Task


@dataclass(frozen=True)
class Success:
    """A member whose handler has returned. Nothing of it is committed yet."""

    member: Member
    result: dict[str, Any]


class Group:
    """Shared by the thread that runs the members and the one that watches over it: a member is taken by one of them."""

    def __init__(self, members: Iterable[Member], claimed_at: float) -> None:
        self.claimed_at = claimed_at
        #: set once nothing of it is left to do
        self.is_over = threading.Event()
        #: held while successes are committed
        self.committing = threading.Lock()
        #: messages that have to go through the table again, each for itself
        self.left_over: list[Delivery] = []
        self._unstarted = deque(members)
        #: claims whose leases have to be kept, by task id
        self.unsettled: dict[str, Task] = {member.task.id: member.task for member in self._unstarted}
        self._successes: deque[Success] = deque()
        self._oldest_success_at = 0.0

    def start_next(self) -> Member | None:
        """The next member to run; whoever takes it has it."""
        try:
            return self._unstarted.popleft()
        except IndexError:
            return None

    def succeeded(self, success: Success, now: float) -> None:
        if not self._successes:
            self._oldest_success_at = now
        self._successes.append(success)

    def successes(self) -> list[Success]:
        """Those that nobody is committing yet; for the holder of `committing`."""
        return [self._successes.popleft() for _ in range(len(self._successes))]

    def put_back(self, successes: list[Success]) -> None:
        self._successes.extendleft(reversed(successes))

    def seconds_uncommitted(self, now: float) -> float:
        """How long the oldest success has been waiting for its commit."""
        return now - self._oldest_success_at if self._successes else 0.0

    @property
    def has_unstarted(self) -> bool:
        return bool(self._unstarted)
