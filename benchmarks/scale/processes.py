"""What other processes have used. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: how Linux makes the clock of a process out of its id
_SCHEDULED = 2


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads so far, to the microsecond."""
    return time.clock_gettime((~pid << 3) | _SCHEDULED)


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
