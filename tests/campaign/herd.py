"""The worker processes of a campaign: as many as the plan says, whatever is done to them."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaign.journal import Journal
from tests.worker_process import WorkerProcess

HANDLER = "tests.campaign.chores:Chores"
#: seconds; the shortest lease there is, so that a takeover does not take long
LEASE_S = 5.0
#: seconds between two deeds to the same worker, in which its heartbeat comes through
LEFT_ALONE_S = 4.0


@dataclass
class _Member:
    process: WorkerProcess
    is_paused: bool = False
    is_stopping: bool = False
    #: what it must end with; None: it must not end
    exit_code: int | None = None
    #: when something was done to it last
    touched: float = 0.0

    @property
    def pid(self) -> int:
        return self.process.process.pid


class Herd:
    """Each deed is done to a worker that the random numbers choose, and written to the journal."""

    def __init__(
        self,
        directory: Path,
        settings: dict[str, Any],
        size: int,
        prefetch: Sequence[int],
        rng: random.Random,
        journal: Journal,
    ):
        self._directory = directory
        self._settings = settings
        self._size = size
        self._prefetch = prefetch
        self._rng = rng
        self._journal = journal
        self._members: list[_Member] = []
        #: exit codes that nobody's deed explains
        self.strange_ends: list[str] = []
        self.started = 0

    def look_after(self) -> None:
        """Remember how workers ended, and start new ones for those that ended or are about to."""
        for member in list(self._members):
            code = member.process.process.poll()
            if code is not None:
                self._members.remove(member)
                # a program that was stopped before Python had read it ends as any program does
                was_young = code == -signal.SIGTERM and member.is_stopping and not member.process.log()
                if code != member.exit_code and not was_young:
                    self.strange_ends.append(
                        f"worker {member.pid} ended with {code}, not {member.exit_code}:\n"
                        + "\n".join(member.process.log().splitlines()[-5:])
                    )
        while sum(not member.is_stopping for member in self._members) < self._size:
            prefetch = self._rng.choice(self._prefetch)
            self._members.append(
                _Member(WorkerProcess(self._directory, HANDLER, **self._settings, prefetch_count=prefetch))
            )
            self.started += 1

    def kill(self) -> None:
        if (member := self._choose(also_stopping=True)) is not None:
            began = time.monotonic()
            member.exit_code = -signal.SIGKILL
            member.process.process.kill()
            if member.process.process.wait() == -signal.SIGKILL:
                self._journal.write("kill -9 of a worker", began=began, pid=member.pid)
            else:  # it had just ended by itself
                member.exit_code = 0

    def terminate(self) -> None:
        if (member := self._choose()) is not None:
            member.is_stopping, member.exit_code = True, 0
            self._journal.write("SIGTERM", pid=member.pid)
            member.process.terminate()

    def pause(self) -> _Member | None:
        """SIGSTOP; `resume` ends it."""
        member = self._choose()
        if member is not None:
            member.is_paused, member.touched = True, time.monotonic()
            member.process.process.send_signal(signal.SIGSTOP)
        return member

    def resume(self, member: _Member, deed: str) -> None:
        began, member.touched = member.touched, time.monotonic()
        member.is_paused = False
        self._journal.write(deed, began=began, pid=member.pid)
        member.process.process.send_signal(signal.SIGCONT)

    def gather(self, size: int) -> None:
        """Once more, after `stop`."""
        self._size = size
        self.look_after()

    def stop(self, timeout_s: float = 60.0) -> None:
        """The end of the campaign: everybody goes, in good order."""
        self._size = 0
        for member in self._members:
            member.is_stopping, member.exit_code = True, 0
            member.process.terminate()
        for member in self._members:
            member.process.ended(timeout_s)
        self.look_after()

    def remove(self) -> None:
        """Leave no process behind, whatever has happened."""
        for member in self._members:
            member.process.__exit__(None, None, None)

    def _choose(self, *, also_stopping: bool = False) -> _Member | None:
        """None where each of them was dealt with just now."""
        now = time.monotonic()
        candidates = [
            member
            for member in self._members
            if not member.is_paused
            and (also_stopping or not member.is_stopping)
            and now - member.touched > LEFT_ALONE_S
            and member.process.process.poll() is None
        ]
        return self._rng.choice(candidates) if candidates else None
