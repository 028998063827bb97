"""What is sent, what each task shows, and how it has to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grid_async_task import TaskStatus


@dataclass(frozen=True)
class Scene:
    task_id: str
    #: the part of its message that is its own
    message: dict[str, Any]
    #: what there is to see
    shows: str
    ends_as: TaskStatus


#: killed and cancelled by the story when they stand at this many per cent
KILLED, KILL_AT = "big-archive", 40
CANCELLED, CANCEL_AT = "endless-training", 15

SCENES = (
    Scene(
        KILLED,
        {"task_type": "archive", "data": {"files": 10}},
        "its worker is killed with SIGKILL: another one goes on from the checkpoint",
        TaskStatus.SUCCESS,
    ),
    Scene(
        CANCELLED,
        {"task_type": "train", "data": {"epochs": 100}},
        "is cancelled while it runs",
        TaskStatus.FAILED,
    ),
    Scene(
        "flaky-upload",
        {"task_type": "upload", "data": {"file": "photo.jpg"}, "max_retry_count": 3},
        "fails at first, is retried and succeeds",
        TaskStatus.SUCCESS,
    ),
    Scene(
        "broken-document",
        {"task_type": "convert", "data": {"file": "broken.docx"}, "max_retry_count": 1},
        "fails for good when its retries are used up; the people on call get a Feishu card",
        TaskStatus.FAILED,
    ),
    Scene(
        "monthly-report",
        {"task_type": "report", "data": {"pages": 4}, "callback_data": {"order": 1}},
        "an ordinary task",
        TaskStatus.SUCCESS,
    ),
    Scene(
        "yearly-report",
        {"task_type": "report", "data": {"pages": 12}, "callback_data": {"order": 2}},
        "an ordinary task that takes longer",
        TaskStatus.SUCCESS,
    ),
)
#: the task whose failure Feishu is told; nobody is told of a cancel, since somebody asked for it
TOLD_TO_FEISHU = "broken-document"
