"""`python -m grid_async_task.demo`"""

from __future__ import annotations

import sys

from grid_async_task.demo.stage import run

sys.exit(run())
