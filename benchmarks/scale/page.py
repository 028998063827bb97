"""docs/scale.md: its text is written by hand, its numbers stand between markers."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def with_numbers(page: str, blocks: dict[str, str]) -> str:
    """The page with what stands between `<!-- NAME -->` and `<!-- /NAME -->` made new; raises if a place is missing."""
    for name, text in blocks.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if (page.count(begin), page.count(end)) != (1, 1):
            raise ValueError(f"the page needs one place for the numbers of {name!r}")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}"
    return page


def write(blocks: dict[str, str]) -> None:
    PAGE.write_text(with_numbers(PAGE.read_text(encoding="utf-8"), blocks), encoding="utf-8")
