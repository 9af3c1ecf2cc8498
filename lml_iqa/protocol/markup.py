"""Tables as Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol


class Tested(Protocol):
    """A test whose figures may be of a kind that is not comparable."""

    @property
    def legacy(self) -> Sequence[str]:
        """Why, in words; empty: they are."""


def number(value: float, digits: int = 3) -> str:
    """A figure as tables print it; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def latex_table(head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A LaTeX table (package booktabs) with notes as comments below it; an empty cell becomes a dash."""
    body = [" & ".join(_latex(cell) or "--" for cell in row) + r" \\" for row in rows]
    top = [rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}", r"\toprule", " & ".join(map(_latex, head)) + r" \\"]
    bottom = [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in notes)]
    return "\n".join([*top, r"\midrule", *body, *bottom]) + "\n"


def legacy_note(results: Iterable[Tested]) -> list[str]:
    """The line that marks a table made with habits of the field that flatter; nothing for an honest one."""
    habits = sorted({habit for result in results for habit in result.legacy})
    return [f"LEGACY PROTOCOL, not comparable with honest figures: {'; '.join(habits)}."] if habits else []


def _latex(text: str) -> str:
    """Names of sets and runs may hold what LaTeX reads as its own."""
    return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")
