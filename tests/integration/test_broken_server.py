"""The second chance of a test whose server has lost its data: one, counted, and for no other reason."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = """
import pytest
from tests.servers.broken_server import ServerLostItsData

runs = []

@pytest.fixture
def mariadb_own(request):
    runs.append(request.node.name)
    yield

def test_lost_once(mariadb_own):
    if runs.count("test_lost_once") == 1:
        raise ServerLostItsData

def test_lost_each_time(mariadb_own):
    raise ServerLostItsData

def test_fails_otherwise(mariadb_own):
    assert runs.count("test_fails_otherwise") > 1

def test_passes(mariadb_own):
    assert runs.count("test_lost_each_time") == 2
"""


def test_a_second_chance(tmp_path: Path) -> None:
    tests = tmp_path / "test_it.py"
    tests.write_text(TESTS)
    plugins = ("-p", "tests.servers.broken_server", "-p", "no:cacheprovider", "-p", "no:cloudcoil")
    command = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-c", "/dev/null", *plugins, str(tests)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert re.search(r"^=+ 2 failed, 2 passed, 2 rerun in ", said.stdout, re.MULTILINE), said.stdout + said.stderr
