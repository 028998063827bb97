"""A table as years of work leave it: nearly all tasks ended well, some failed, a few still need something."""

from __future__ import annotations

from benchmarks.site import connect
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.adapters.sql.task_repository import DEFAULT_TABLE

QUEUE = "bench"
#: over so many days they were created, the first ones first
DAYS = 90
#: one in so many failed; is waiting for a retry; waits for its message; has a callback that is due
FAILED, RETRYING, PENDING, DUE = 50, 5_000, 7_000, 9_000

#: MariaDB makes the numbers and MD5 makes ids of them that lie anywhere, as UUIDs do
_ROWS = f"""
INSERT INTO {DEFAULT_TABLE}
    (id, queue, task_type, status, data, result, error_type, error_message, progress, attempt, max_retry_count,
     callback_url, callback_status, wake_at, created_at, updated_at, started_at, completed_at)
SELECT MD5(seq), '{QUEUE}', ELT(1 + seq % 3, 'pdf', 'mail', 'report'), status, '{{"n": 1}}',
       IF(status = 'success', '{{}}', NULL), IF(status = 'failed', 'ValueError', NULL),
       IF(status = 'failed', 'no', NULL), IF(status = 'success', 100, 0), IF(status = 'pending', 0, 1), 3,
       IF(is_due, 'http://receiver.example/', NULL), IF(is_due, 'due', NULL),
       CASE WHEN status = 'retrying' THEN UTC_TIMESTAMP(6) + INTERVAL 1 HOUR WHEN is_due THEN at END,
       at, at, IF(status = 'pending', NULL, at), IF(status IN ('success', 'failed'), at, NULL)
FROM (
    SELECT seq,
           UTC_TIMESTAMP(6) - INTERVAL {DAYS * 86_400} * (1 - seq / %(rows)s) SECOND AS at,
           CASE WHEN seq %% {RETRYING} = 1 THEN 'retrying' WHEN seq %% {PENDING} = 2 THEN 'pending'
                WHEN seq %% {FAILED} = 3 THEN 'failed' ELSE 'success' END AS status,
           seq %% {DUE} = 4 AS is_due
    FROM seq_1_to_{{rows}}
) AS numbered
"""


def fill_table(mysql_url: str, rows: int) -> None:
    """Made anew, with so many rows."""
    repository = SqlTaskRepository(mysql_url)
    try:
        repository.prepare()
    finally:
        repository.close()
    with connect(mysql_url) as database, database.cursor() as cursor:
        # an empty table is filled by sorting then, not row by row
        cursor.execute("SET unique_checks=0, foreign_key_checks=0")
        cursor.execute(_ROWS.replace("{rows}", str(rows)).replace("seq % 3", "seq %% 3"), {"rows": rows})
        cursor.execute(f"ANALYZE TABLE {DEFAULT_TABLE}")
