"""What it was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.site import Site, channel_to, connect


def described(site: Site) -> dict[str, Any]:
    with channel_to(site.amqp_url) as channel:
        rabbitmq = channel.connection._impl.server_properties["version"]
    with connect(site.mysql_url) as database, database.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        version = cursor.fetchone()[0]
    return {
        "processors": os.cpu_count(),
        "processor": _of_proc("cpuinfo", "model name"),
        "memory_gb": round(int(_of_proc("meminfo", "MemTotal").split()[0]) / 2**20),
        "python": platform.python_version(),
        "rabbitmq": rabbitmq.decode() if isinstance(rabbitmq, bytes) else rabbitmq,
        "database": f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {version.split('-')[0]}",
    }


def _of_proc(file: str, field: str) -> str:
    for line in Path("/proc", file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return "unknown"
