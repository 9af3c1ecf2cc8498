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
    """Test whose metrics may not be comparable with those of the default protocol."""

    @property
    def legacy(self) -> Sequence[str]:
        """Reasons why they are not; empty if they are."""


def number(value: float, digits: int = 3) -> str:
    """Format a metric for a table; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; special characters in cells are escaped, line breaks become spaces."""
    escaped = [[_markdown(cell) for cell in row] for row in (head, *rows)]
    return [f"| {' | '.join(cells)} |" for cells in (escaped[0], ["---"] * len(head), *escaped[1:])]


def latex_table(head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """LaTeX table (package booktabs) with notes as comments below it; an empty cell becomes a dash."""
    body = [" & ".join(_latex(cell) or "--" for cell in row) + r" \\" for row in rows]
    top = [rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}", r"\toprule", " & ".join(map(_latex, head)) + r" \\"]
    bottom = [r"\bottomrule", r"\end{tabular}", *(f"% {one_line(note)}" for note in notes)]
    return "\n".join([*top, r"\midrule", *body, *bottom]) + "\n"


def legacy_note(results: Iterable[Tested]) -> list[str]:
    """Note that marks a table of legacy results; empty if all results follow the default protocol."""
    reasons = sorted({reason for result in results for reason in result.legacy})
    return [f"Legacy protocol, not comparable with the default one: {'; '.join(reasons)}."] if reasons else []


def to_json(content: Any) -> str:
    """Indented JSON text; NaN and infinities, which JSON does not have, become ``null``."""
    return json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Text of a CSV file; NaN becomes an empty cell."""
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
    """Text on one line; bytes of file names that are not UTF-8 become escapes."""
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
    """Text with LaTeX's special characters escaped, as in names of data sets and runs."""
    return one_line(text).translate(str.maketrans(_LATEX))
