"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Render a Markdown table in ESPnet's compact form.

    Args:
        head: Names of the columns.
        rows: Cells; a ``|`` inside a cell is escaped.

    Returns:
        Lines of Markdown.
    """
    lines = ["|" + "|".join(head) + "|", "|---" * len(head) + "|"]
    lines += ["|" + "|".join(cell.replace("|", "\\|") for cell in row) + "|" for row in rows]
    return lines
