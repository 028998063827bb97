"""Where log lines go, what they carry, and what they must not show (SPEC section 9).

structlog is the front, the standard library's `logging` the back: both end in the same two handlers.

    set_up.py      who gets which lines
    lines.py       from an event to a line: JSON or text
    daily_file.py  `LOG_DIR/task_YYYY-MM-DD.log`, written by several processes at once
    masking.py     secrets, wherever they occur
    forwarding.py  from a handler's own process to its worker
"""

from grid_async_task.logs.forwarding import forward_logs, write_forwarded
from grid_async_task.logs.set_up import log_warnings_only, set_up_logging

__all__ = ["forward_logs", "log_warnings_only", "set_up_logging", "write_forwarded"]
