"""What makes a program start sooner: a worker that is scaled from zero is waited for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage() -> Iterator[None]:
    """Nothing that imports make is garbage: looking for some again and again takes a tenth of a cold start.

    Nor is it looked for among these objects later on.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_structlog_without_rich() -> None:
    """An eighth of a cold start, for tracebacks that our logs never show: those with local variables, and so secrets.

    For structlog rich is not installed then. Everybody else can import it.
    """
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # how `import` is told that there is no such module
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
