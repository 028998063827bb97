"""The second chance of a test whose server has lost its data: one, counted, and for no other reason."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

FIXTURE = """
import pytest
from tests.servers.broken_server import ServerLostItsData

pytest_plugins = ["tests.servers.broken_server"]

@pytest.fixture
def mariadb_own():
    return ServerLostItsData("gone")
"""


@pytest.mark.parametrize(
    ("fails", "outcome"),
    [
        ("if len(runs) == 1: raise mariadb_own", {"passed": 1, "rerun": 1}),
        ("raise mariadb_own", {"failed": 1, "rerun": 1}),
        ("assert len(runs) > 1", {"failed": 1}),
    ],
)
def test_a_second_chance(pytester: pytest.Pytester, fails: str, outcome: dict[str, int]) -> None:
    pytester.makeconftest(FIXTURE)
    pytester.makepyfile(f"runs = []\n\ndef test_it(mariadb_own):\n    runs.append(1)\n    {fails}\n")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").parseoutcomes() == outcome
