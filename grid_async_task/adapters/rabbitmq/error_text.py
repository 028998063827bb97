"""What pika's errors say, in one line."""

from __future__ import annotations

from grid_async_task.domain.failure import shown


def text_of(error: BaseException) -> str:
    """An error of pika's or the socket's in one line, without passwords."""
    inner = error
    # pika wraps what went wrong into "the workflow failed", more than once
    while True:
        causes = [cause for cause in getattr(inner, "exceptions", inner.args) if isinstance(cause, BaseException)]
        causes += [cause for cause in [getattr(inner, "exception", None)] if isinstance(cause, BaseException)]
        if not causes or causes[-1] is inner:
            break
        inner = causes[-1]
    text = str(inner)
    return shown(f"{type(inner).__name__}: {text}" if text else type(inner).__name__)
