"""The table of tasks in a SQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grid_async_task.adapters.sql.attempts import AttemptsPart
from grid_async_task.adapters.sql.callbacks import CallbacksPart
from grid_async_task.adapters.sql.database import Database
from grid_async_task.adapters.sql.enqueue import EnqueuePart
from grid_async_task.adapters.sql.groups import GroupsPart
from grid_async_task.adapters.sql.migrations import bring_up_to_date
from grid_async_task.adapters.sql.other_writers import OtherWritersPart
from grid_async_task.adapters.sql.questions import QuestionsPart
from grid_async_task.adapters.sql.sweeps import SweepsPart
from grid_async_task.adapters.sql.tables import tables_named

if TYPE_CHECKING:
    from grid_async_task.adapters.sql.from_reference import Copied

DEFAULT_TABLE = "grid_async_task_tasks"


class SqlTaskRepository(
    AttemptsPart, GroupsPart, OtherWritersPart, EnqueuePart, CallbacksPart, SweepsPart, QuestionsPart
):
    """MySQL 8, MariaDB 10.6+ (`mysql+pymysql://...`) or a file of SQLite (`sqlite:///FILE`).

    Connects on first use. Each method is one statement and one round trip, but for rare cases: a takeover
    and a cancel read once more, `prune` is a transaction.
    """

    def __init__(
        self,
        url: str,
        *,
        table: str = DEFAULT_TABLE,
        pool_size: int = 1,
        max_overflow: int = 4,
        pool_timeout_s: float = 10,
        pool_recycle_s: float = 1800,
        answer_timeout_s: float = 30,
    ) -> None:
        """`table` is the whole name. A second connection is opened only while the first is busy.

        Raises `ConfigurationError` for a URL or a name that won't do.
        """
        database = Database(
            url,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout_s=pool_timeout_s,
            pool_recycle_s=pool_recycle_s,
            answer_timeout_s=answer_timeout_s,
        )
        super().__init__(database, tables_named(table))

    def prepare(self) -> None:
        bring_up_to_date(self._database, self._tables)
        self._database.has_worked = True

    def copy_from_reference(self, queue: str) -> Copied:
        """What `migrate --from-reference` does; `prepare` is content afterwards."""
        from grid_async_task.adapters.sql.from_reference import copy_from_reference

        copied = copy_from_reference(self._database, self._tables, queue)
        self._database.has_worked = True
        return copied

    def close(self) -> None:
        self._database.close()
