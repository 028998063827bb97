from __future__ import annotations

from grid_async_task.cli import main

main()
