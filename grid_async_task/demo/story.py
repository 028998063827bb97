"""What happens to the tasks while they run, and whether they end as they should."""

from __future__ import annotations

import time

from grid_async_task import Task, TaskClient, TaskStatus
from grid_async_task.demo.history import History
from grid_async_task.demo.receiver import Receiver
from grid_async_task.demo.scenes import CANCEL_AT, CANCELLED, KILL_AT, KILLED, SCENES, TOLD_TO_FEISHU
from grid_async_task.demo.screen import Screen
from grid_async_task.demo.workers import Workers
from grid_async_task.domain.task import CallbackStatus

#: seconds between two looks at the table
LOOK_EVERY_S = 0.1
#: seconds after which something must have gone wrong
GIVE_UP_AFTER_S = 90.0


class Story:
    """Watches all tasks, cancels one of them, and kills the worker of another."""

    def __init__(self, client: TaskClient, workers: Workers, receiver: Receiver, screen: Screen) -> None:
        self.history = History()
        #: as they were read last, in the order of the scenes
        self.tasks: list[Task] = []
        self._client = client
        self._workers = workers
        self._receiver = receiver
        self._screen = screen
        self._has_cancelled = self._has_killed = False

    def watch(self) -> None:
        """Until all is over."""
        give_up_at = time.monotonic() + GIVE_UP_AFTER_S
        while not self._is_over() and time.monotonic() < give_up_at:
            time.sleep(LOOK_EVERY_S)
            found = [self._client.get_task(scene.task_id) for scene in SCENES]
            self.tasks = [task for task in found if task is not None]
            for task in self.tasks:
                self._screen.show(task, self.history.observe(task))
                if task.status is TaskStatus.RUNNING:
                    self._intervene(task)

    def what_went_wrong(self) -> list[str]:
        """A sentence about everything that is not as it should be."""
        tasks = {task.id: task for task in self.tasks}
        wrong = []
        for scene in SCENES:
            task = tasks.get(scene.task_id)
            status = task.status.value if task else "unknown"
            called_back = self._receiver.callbacks.get(scene.task_id, {}).get("status")
            if status != scene.ends_as.value:
                wrong.append(f"{scene.task_id} is {status}, and not {scene.ends_as.value}")
            if called_back != scene.ends_as.value:
                wrong.append(f"the callback of {scene.task_id} says {called_back}")
        if not any(TOLD_TO_FEISHU in card for card in self._receiver.cards):
            wrong.append(f"Feishu knows nothing of {TOLD_TO_FEISHU}")
        if KILLED in tasks and not (tasks[KILLED].result or {}).get("began_at_file", 0) > 1:
            wrong.append(f"{KILLED} did not go on from its checkpoint")
        return wrong

    def _is_over(self) -> bool:
        """All tasks are final, and nobody has anything left to tell."""
        return (
            len(self.tasks) == len(SCENES)
            and all(task.status.is_final and task.callback_status is not CallbackStatus.DUE for task in self.tasks)
            and len(self._receiver.cards) > 0
        )

    def _intervene(self, task: Task) -> None:
        percent = task.progress.percent
        if task.id == CANCELLED and percent >= CANCEL_AT and not self._has_cancelled:
            self._has_cancelled = self._client.cancel_task(task.id)
            self._screen.tell(self.history.note(task.id, "cancel requested"))
        if task.id == KILLED and percent >= KILL_AT and not self._has_killed:
            killed = self._workers.kill_the_one_that_runs(task)
            if killed is not None:
                self._has_killed = True
                self._workers.start()
                note = f"worker {killed} killed with SIGKILL; in about 10 s another one takes the task over"
                self._screen.tell(self.history.note(task.id, note))
