"""Findings of a data set check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lml_iqa.errors import first_few

Severity = Literal["problem", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A fact about a data set that its user should know.

    Attributes:
        severity: ``problem`` (training would fail or mislead), ``warning`` (worth checking) or ``note``.
        what: Description of the finding.
        cure: Recommended action.
        files: All affected files or rows.
    """

    severity: Severity
    what: str
    cure: str = ""
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}{': ' if self.files else ''}{first_few(self.files)}"
