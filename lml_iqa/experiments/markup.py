"""Tables as Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class Tested(Protocol):
    """A test whose figures may be of a kind that is not comparable."""

    @property
    def legacy(self) -> Sequence[str]:
        """Why, in words; empty: they are."""


def number(value: float, digits: int = 3) -> str:
    """A figure as tables print it; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; cells are shown as they are, each in one line."""
    escaped = [[_markdown(cell) for cell in row] for row in (head, *rows)]
    return [f"| {' | '.join(cells)} |" for cells in (escaped[0], ["---"] * len(head), *escaped[1:])]


def latex_table(head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A LaTeX table (package booktabs) with notes as comments below it; an empty cell becomes a dash."""
    body = [" & ".join(_latex(cell) or "--" for cell in row) + r" \\" for row in rows]
    top = [rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}", r"\toprule", " & ".join(map(_latex, head)) + r" \\"]
    bottom = [r"\bottomrule", r"\end{tabular}", *(f"% {one_line(note)}" for note in notes)]
    return "\n".join([*top, r"\midrule", *body, *bottom]) + "\n"


def legacy_note(results: Iterable[Tested]) -> list[str]:
    """The line that marks a table made with habits of the field that flatter; nothing for an honest one."""
    habits = sorted({habit for result in results for habit in result.legacy})
    return [f"LEGACY PROTOCOL, not comparable with honest figures: {'; '.join(habits)}."] if habits else []


def to_json(content: Any) -> str:
    """Indented JSON text; NaN and infinities become ``null``, which JSON has no other word for."""
    return json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file; NaN becomes an empty cell."""
    text = io.StringIO(newline="")
    blank = ([("" if isinstance(cell, float) and math.isnan(cell) else cell) for cell in row] for row in rows)
    csv.writer(text).writerows(blank)
    return text.getvalue()


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def one_line(text: str) -> str:
    """In one line, with bytes of file names that are not UTF-8 as escapes."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


def _markdown(text: str) -> str:
    return re.sub(r"([\\|`*<$])", r"\\\1", one_line(text))


_LATEX: dict[str, str | int | None] = {
    **{character: rf"\{character}" for character in "_%&#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "†": r"$^\dagger$",
}


def _latex(text: str) -> str:
    """Names of sets and runs may contain LaTeX's special characters."""
    return one_line(text).translate(str.maketrans(_LATEX))
