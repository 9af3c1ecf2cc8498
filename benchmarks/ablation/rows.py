"""The rows of the ablation, from rows.yaml."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@dataclass
class Row:
    """One training, and the rows that are scored from it.

    Attributes:
        name: Its name.
        options: Options of the model that differ from the configuration.
        data: Options of the data module that do.
        rescored: Rows that differ from it in evaluation only, with the options they change.
    """

    name: str
    options: dict[str, Any]
    data: dict[str, int]
    rescored: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_rows(names: list[str] | None = None) -> list[Row]:
    """All rows, or those named and what they are scored from."""
    given = {name: row or {} for name, row in yaml.safe_load((HERE / "rows.yaml").read_text()).items()}
    names = names or list(given)
    if unknown := set(names) - set(given):
        raise SystemExit(f"no rows {sorted(unknown)} in rows.yaml, only {list(given)}")
    trained = dict.fromkeys(given[name].get("of", name) for name in names)
    return [
        Row(
            name,
            given[name].get("options", {}),
            given[name].get("data", {}),
            {other: given[other].get("options", {}) for other in names if given[other].get("of") == name},
        )
        for name in trained
    ]


def partners() -> dict[str, str | None]:
    """The row that each row is compared with, in the order of rows.yaml."""
    given = yaml.safe_load((HERE / "rows.yaml").read_text())
    return {name: (row or {}).get("against") for name, row in given.items()}
