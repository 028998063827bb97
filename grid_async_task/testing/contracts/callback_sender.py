"""What every adapter of the port `CallbackSender` has to pass."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import pytest

from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import PermanentCallbackError
from grid_async_task.ports import CallbackDeferred, CallbackSender


@dataclass(frozen=True)
class Received:
    """What a receiver saw of a callback."""

    id: str
    body: bytes


class CallbackSenderContract(ABC):
    """Derive a class whose name begins with `Test`, say how a sender is made, and let pytest collect it."""

    #: how many threads use one sender at once, and how many callbacks each of them sends
    THREADS = 4
    CALLBACKS_A_THREAD = 10

    @abstractmethod
    def sender(self) -> CallbackSender:
        """A sender that is ready to use."""

    @abstractmethod
    def received(self) -> list[Received]:
        """Everything that the receiver got so far, in order."""

    @abstractmethod
    def break_receiver(self) -> None:
        """From now on the receiver refuses what it gets, or the next time at least."""

    def mend_receiver(self) -> None:
        """The receiver takes callbacks again; nothing to do where it was broken for one time only."""
        return

    def address(self) -> dict[str, Any]:
        """`type`, `url` and `data` of a callback for this sender, where the defaults do not fit."""
        return {}

    def callback(self, name: str = "Job-1") -> Callback:
        """A callback with an id and a body of its own; not all of it is ASCII."""
        address = {"type": "custom", "url": None, "data": {}, **self.address()}
        body = json.dumps({"task_id": name, "status": "success", "result": {"文": "好"}}, ensure_ascii=False).encode()
        return Callback(id=f"cb_{name}", task_id=name, body=body, **address)

    def test_a_callback_arrives_with_its_id_and_exactly_its_body(self) -> None:
        callback = self.callback()
        self.sender().send(callback)
        assert self.received() == [Received(callback.id, callback.body)]

    def test_a_repeat_arrives_again_and_is_identical(self) -> None:
        sender = self.sender()
        sender.send(self.callback())
        sender.send(self.callback())
        first, second = self.received()
        assert first == second

    def test_a_refused_callback_raises_and_can_be_sent_again(self) -> None:
        sender = self.sender()
        self.break_receiver()
        with pytest.raises(Exception) as caught:  # any error is a failed try, but for these two
            sender.send(self.callback("refused"))
        assert not isinstance(caught.value, (CallbackDeferred, PermanentCallbackError))
        self.mend_receiver()
        sender.send(self.callback("again"))
        assert self.received()[-1] == Received("cb_again", self.callback("again").body)

    def test_threads_may_share_a_sender(self) -> None:
        sender = self.sender()
        names = [f"{thread}-{number}" for thread in range(self.THREADS) for number in range(self.CALLBACKS_A_THREAD)]
        errors: list[Exception] = []

        def send(part: list[str]) -> None:
            for name in part:
                try:
                    sender.send(self.callback(name))
                except Exception as error:
                    errors.append(error)

        threads = [threading.Thread(target=send, args=(names[start :: self.THREADS],)) for start in range(self.THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert {(each.id, each.body) for each in self.received()} == {
            (callback.id, callback.body) for callback in map(self.callback, names)
        }
