from __future__ import annotations

from collections.abc import Iterator

import pytest

from grid_async_task.adapters.feishu import FeishuNotifier
from grid_async_task.adapters.memory import RecordingNotifier
from grid_async_task.ports import Notifier
from grid_async_task.testing.contracts.notifier import NotifierContract
from tests.servers.feishu import FeishuServer, HandClock


class TestFeishuNotifier(NotifierContract):
    @pytest.fixture(autouse=True)
    def _feishu(self) -> Iterator[None]:
        self.clock = HandClock()
        with FeishuServer(self.clock, secret="demo") as self.feishu:
            yield

    def notifier(self) -> Notifier:
        return FeishuNotifier(self.feishu.url, "demo", clock=self.clock)

    def told(self) -> list[str]:
        return self.feishu.texts()

    def break_receiver(self) -> None:
        self.feishu.always_fail(19022, "Ip Not Allowed")


class TestRecordingNotifier(NotifierContract):
    def notifier(self) -> Notifier:
        self.recording = RecordingNotifier()
        return self.recording

    def told(self) -> list[str]:
        return [f"{notice.title}\n{notice.facts}\n{notice.traceback}" for notice in self.recording.notices]

    def break_receiver(self) -> None:
        self.recording.fail_next(OSError("nobody is there"))
