"""Where a page says that a test shows something, that test is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "at_least"), [("SECURITY.md", 14), ("docs/callback-urls.md", 8), ("docs/reliability.md", 25)]
)
def test_the_tests_that_a_page_names_are_there(page: str, at_least: int) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(named) >= at_least
    assert [
        (file, name)
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}" not in (ROOT / file).read_text(encoding="utf-8")
    ] == []


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/callback-urls.md", "docs/reliability.md"])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []
