"""What is recorded of a failed attempt."""

from __future__ import annotations

import builtins
import re
import traceback as tracebacks
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType

from grid_async_task.domain.errors import (
    Discard,
    RetryExhausted,
    TaskCancelled,
    ValidationError,
)

#: bytes of a MySQL TEXT column
MAX_MESSAGE_BYTES = 65_535
#: the modules that call a handler
OUR_FRAMES = "grid_async_task.adapters.process"
#: how far back an error's causes are followed
MAX_CAUSES = 10
#: characters of the error type's column
MAX_TYPE_CHARACTERS = 255
#: characters of a traceback that are worth showing to a person
MAX_TRACEBACK_CHARACTERS = 20_000

#: up to the last @ of the word: a password may hold any character, and rather too much is hidden than half of it
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s/:@]*):(\S+)@")

#: these say that trying again would not help (SPEC section 5)
_NEVER_RETRIED = (ValidationError, Discard, TaskCancelled)


@dataclass(frozen=True)
class Failure:
    """Why an attempt, or the task as a whole, failed. Holds no object of the handler's."""

    #: the name under which a caller can tell failures apart, for example `ValidationError`
    error_type: str
    #: one text for people, without a traceback and without passwords
    message: str
    #: whether another attempt could help
    retryable: bool = True
    #: the type that the failure would have had, where `error_type` is `RetryExhausted`
    cause: str | None = None
    #: for notifications only; neither stored nor sent in callbacks
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException, *, retryable: bool = True) -> Failure:
        """Describe what a handler raised, whatever it is; even an exception whose own `str()` fails."""
        return cls(
            error_type=_type_of(error)[:MAX_TYPE_CHARACTERS],
            message=shown(_text_of(error)),
            retryable=retryable and not isinstance(error, _NEVER_RETRIED),
            traceback=_traceback_of(error),
        )

    def exhausted(self) -> Failure:
        """The failure of a task that had retries and used them all."""
        return replace(self, error_type=RetryExhausted.__name__, cause=self.error_type, retryable=False)

    def to_wire(self) -> dict[str, str]:
        """The `result` of a failure callback."""
        wire = {"error": self.message, "error_type": self.error_type}
        if self.cause is not None:
            wire["cause"] = self.cause
        return wire


CANCELLED = Failure(TaskCancelled.__name__, "the task was cancelled", retryable=False)


def process_lost(what_happened: str) -> Failure:
    """An attempt whose handler took down the process that it had to itself."""
    return Failure("WorkerLost", what_happened)


def worker_lost(crashes: int, last: str = "killed, out of memory, cut off") -> Failure:
    """The failure of a task that took down too many workers. `last` says what is known of how."""
    return Failure(
        "WorkerLost",
        f"{crashes} workers were lost while they ran this task ({last}); it is not tried again",
        retryable=False,
    )


def shown(text: str) -> str:
    """The text as it may leave the process: passwords in URLs masked, valid UTF-8, cut to its column."""
    text = _PASSWORD_IN_URL.sub(r"\1:***@", text)
    encoded = text.encode("utf-8", "replace")
    # "ignore" drops the half character that the cut may have left
    return encoded[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")


def _type_of(error: BaseException) -> str:
    if isinstance(error, builtins.TimeoutError):
        return "TimeoutError"
    if any(_is_connection_error(each) for each in _with_causes(error)):
        return "ConnectionError"
    return type(error).__name__


def _is_connection_error(error: BaseException) -> bool:
    # requests.ConnectionError, pika's AMQPConnectionError and their like do not derive from the built-in one
    names = (base.__name__ for base in type(error).__mro__)
    return isinstance(error, builtins.ConnectionError) or any(name.endswith("ConnectionError") for name in names)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from; at most a few, since they may go in a circle."""
    each: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if each is None:
            return
        yield each
        each = each.__cause__


def _text_of(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except BaseException as worse:
        return f"{type(error).__name__} (its text can't be shown: str() raised {type(worse).__name__})"


def _of_the_handler(traceback: TracebackType | None) -> TracebackType | None:
    """Without our own frames, with which every handler's traceback begins."""
    inner = traceback
    while inner is not None and inner.tb_frame.f_globals.get("__name__", "").startswith(OUR_FRAMES):
        inner = inner.tb_next
    return inner or traceback


def _traceback_of(error: BaseException) -> str:
    try:
        text = "".join(tracebacks.format_exception(type(error), error, _of_the_handler(error.__traceback__)))
    except BaseException:
        return ""
    return shown(text)[-MAX_TRACEBACK_CHARACTERS:]
