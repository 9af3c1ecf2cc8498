"""What a check of a data set found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lml_iqa.errors import first_few

Severity = Literal["problem", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing about a data set that its user should know.

    Attributes:
        severity: ``problem``: training would stop or mislead; ``warning``: it would not, but look; ``note``.
        what: What was found.
        cure: What to do about it.
        files: The files or rows concerned, all of them.
    """

    severity: Severity
    what: str
    cure: str = ""
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}{': ' if self.files else ''}{first_few(self.files)}"
