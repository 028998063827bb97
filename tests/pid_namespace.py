"""Running a program as process number 1, as a container does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import eventually

HOW_TO_GET_ONE = (
    "this test runs a worker as process number 1 of a PID namespace. Run it as root (in a container: with "
    "--cap-add SYS_ADMIN), or allow users to make namespaces (sysctl -w kernel.unprivileged_userns_clone=1 on Debian, "
    "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu); `unshare` is in the package util-linux"
)


def in_new_pid_namespace(*command: str) -> list[str]:
    """The command line that runs `command` as process number 1; it exits with what that exits with."""
    program = shutil.which("unshare")
    if program is None:
        pytest.fail(HOW_TO_GET_ONE)
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = [program, *as_root, "--pid", "--fork", "--kill-child", "--mount-proc"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, timeout=30)
    if tried.returncode:
        pytest.fail(f"{HOW_TO_GET_ONE}\n{tried.stderr}")
    return [*unshare, *command]


def pid_of_number_1(unshare_pid: int) -> int:
    """The process number 1 in there, by its number out here."""
    children = Path(f"/proc/{unshare_pid}/task/{unshare_pid}/children")
    (child,) = eventually(lambda: children.read_text().split(), what="unshare has started its child")
    status = Path(f"/proc/{child}/status").read_text()
    assert "\t1\n" in next(line + "\n" for line in status.splitlines() if line.startswith("NSpid:"))
    return int(child)
