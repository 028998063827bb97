"""The command line: `grid-async-task`, also `python -m grid_async_task`."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main() -> None:
    """Run what the arguments of the process say, and leave with its exit code."""
    # before all else is loaded: the kernel throws away a SIGTERM for which process number 1 has no handler
    signal.signal(signal.SIGTERM, _leave)
    from grid_async_task.cli.cold_start import import_structlog_without_rich, no_garbage

    with no_garbage():
        import_structlog_without_rich()
        from grid_async_task.cli.program import run

    sys.exit(run(sys.argv[1:]))


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
