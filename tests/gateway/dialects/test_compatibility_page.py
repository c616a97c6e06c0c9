"""docs/reference/compatibility.md says of every field and header what the tables of the code say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.dialects import compatibility
from gateway.dialects.rows import Row

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "compatibility.md"


def rendered(title: str, kind: str, rows: list[tuple[str, Row]]) -> str:
    """Return the page's section on one table; on a difference, paste it there."""
    word = "header" if kind == "headers" else "field"
    lines = [f"### {title}: {kind}", "", f"| {word} | effect | what happens |", "|---|---|---|"]
    lines += [f"| `{name}` | {row.effect} | {row.says} |" for name, row in rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("title", "kind", "rows"), compatibility.documented(), ids=lambda value: str(value)[:20])
def test_each_table_stands_on_the_page_as_the_code_has_it(title: str, kind: str, rows: list[tuple[str, Row]]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    heading = f"### {title}: {kind}\n"
    assert heading in text
    section = heading + text.partition(heading)[2].partition("\n#")[0].rstrip() + "\n"
    assert section == rendered(title, kind, rows)


def test_the_page_has_no_table_that_the_code_has_not() -> None:
    headings = [line[4:] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("### ")]
    assert headings == [f"{title}: {kind}" for title, kind, _ in compatibility.documented()]
