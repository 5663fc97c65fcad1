"""How plans and predictors show themselves: lines on a terminal, a small table in a notebook."""

from __future__ import annotations

from html import escape


class Shown:
    """What has rows of facts has a repr for the terminal, and one for notebooks.

    The table has no colours of its own and no script, so that it fits every theme.
    """

    def _rows(self) -> list[tuple[str, ...]]:
        """A label and a value for each fact, or several values side by side."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """A line for each fact."""
        rows = self._rows()
        # The last value of a row widens no column.
        most = max(map(len, rows))
        widths = [max((len(r[n]) for r in rows if len(r) > n + 1), default=0) for n in range(most)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table."""
        rows = self._rows()
        most = max(map(len, rows))
        return f"<table>{''.join(_line(row, most) for row in rows)}</table>"


def _line(row: tuple[str, ...], most: int) -> str:
    """A row of a table; a value that stands alone is as wide as all others together."""
    label, *values = map(escape, row)
    span = f' colspan="{most - 1}"' if len(values) == 1 and most > 2 else ""  # noqa: PLR2004
    cells = "".join(f'<td{span} style="text-align: left">{value}</td>' for value in values)
    return f'<tr><th style="text-align: left">{label}</th>{cells}</tr>'
