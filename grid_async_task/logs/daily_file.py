"""`task_YYYY-MM-DD.log`: one file a day, written by several processes at once, never in a task's way."""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import time
from contextlib import suppress
from datetime import datetime, timezone

import structlog

from grid_async_task.domain.errors import TimeoutError

#: seconds until the next try after a write has failed
TRY_AGAIN_AFTER_S = 30.0

_OURS = re.compile(r"task_\d{4}-\d\d-\d\d(\.[\w-]+)?\.log")

log = structlog.get_logger(__name__)


class DailyFile(logging.Handler):
    """Appends lines to the file of the day (UTC) in `directory`, which is made where it is missing.

    A file that would grow beyond `max_bytes` is put aside as `task_YYYY-MM-DD.<time>-<random>.log`; files that
    nobody has written to for `retention_s` seconds are deleted. A file that can't be written to costs its lines,
    not the task: one warning when it begins, another try every 30 s, one line when it is over.

    Processes share the file without a lock, which a paused process would hold for ever, and all others wait for:

    - A line is one `write` to a file opened with O_APPEND. The kernel puts it at the end, undivided (on a
      local file system; NFS promises less: give each pod a folder of its own there).
    - Renaming is atomic and takes a name that nobody else uses. Whoever still has the old file open appends to
      it under its new name and sees before the next line that the path is another file by now. Two that rename at
      once make one file too many, and lose nothing.
    """

    def __init__(self, directory: str, *, max_bytes: int, retention_s: float) -> None:
        super().__init__()
        self._directory = directory
        with suppress(FileNotFoundError):  # the working directory was deleted; the first line will warn of it
            # a handler may change the working directory
            self._directory = os.path.abspath(directory)
        self._max_bytes = max_bytes
        self._retention_s = retention_s
        self._descriptor: int | None = None
        #: device and inode of the open file
        self._identity = (0, 0)
        #: the last write stopped in the middle of a line
        self._is_torn = False
        self._is_failing = False
        self._try_again_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_failing and time.monotonic() < self._try_again_at:
            return
        try:
            self._append(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except TimeoutError:
            raise  # no error of ours: the time limit struck while the task was logging
        except OSError as error:
            self._has_failed(error)
        except Exception:
            self.handleError(record)
        else:
            self._works()

    def close(self) -> None:
        with suppress(OSError):
            self._close_file()
        super().close()

    def _append(self, line: bytes) -> None:
        descriptor = self._file_for(len(line))
        if self._is_torn:
            line = b"\n" + line
        self._is_torn = os.write(descriptor, line) < len(line)
        if self._is_torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _file_for(self, line_bytes: int) -> int:
        path = os.path.join(self._directory, f"task_{datetime.now(timezone.utc):%Y-%m-%d}.log")
        found = _stat(path)
        if found is not None and found.st_size > 0 and found.st_size + line_bytes > self._max_bytes:
            _put_aside(path)
            found = None
        # not there: a new day, put aside, or deleted, maybe with its folder
        if self._descriptor is None or found is None or (found.st_dev, found.st_ino) != self._identity:
            self._descriptor = self._open(path)
        return self._descriptor

    def _open(self, path: str) -> int:
        self._close_file()
        os.makedirs(self._directory, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        opened = os.fstat(descriptor)
        self._identity = (opened.st_dev, opened.st_ino)
        self._is_torn = False
        self._delete_old(path)
        return descriptor

    def _close_file(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _delete_old(self, current: str) -> None:
        oldest = time.time() - self._retention_s
        for entry in os.scandir(self._directory):
            if _OURS.fullmatch(entry.name) and entry.path != current:
                with suppress(OSError):  # another process deletes it, too
                    if entry.stat().st_mtime < oldest:
                        os.unlink(entry.path)

    def _has_failed(self, error: OSError) -> None:
        # first, since the warning comes by here as well
        self._try_again_at = time.monotonic() + TRY_AGAIN_AFTER_S
        if not self._is_failing:
            self._is_failing = True
            log.warning(
                "the log file can't be written, lines go to standard error only",
                directory=self._directory,
                error=error.strerror or str(error),
            )

    def _works(self) -> None:
        if self._is_failing:
            self._is_failing = False
            log.info("the log file is written again", directory=self._directory)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _put_aside(path: str) -> None:
    stem, extension = os.path.splitext(path)
    now = datetime.now(timezone.utc)
    with suppress(FileNotFoundError):  # another process was faster
        os.rename(path, f"{stem}.{now:%H%M%S%f}-{secrets.token_hex(3)}{extension}")
