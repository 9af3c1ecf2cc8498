"""Rows of the ablation, from rows.yaml."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@dataclass
class Row:
    """A run, and the rows that are scored from its checkpoint.

    Attributes:
        name: Name of the row.
        options: Options of the model that differ from the configuration.
        data: Options of the data module that differ from the configuration.
        rescored: Rows that differ in evaluation only, with their options.
    """

    name: str
    options: dict[str, Any]
    data: dict[str, int]
    rescored: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_rows(names: list[str] | None = None) -> list[Row]:
    """Read all rows, or the named ones and the rows that they are scored from."""
    given = {name: row or {} for name, row in yaml.safe_load((HERE / "rows.yaml").read_text()).items()}
    names = names or list(given)
    if unknown := set(names) - set(given):
        raise SystemExit(f"--rows: {sorted(unknown)} are not in rows.yaml; use names of {list(given)}")
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
    """Map each row to the row that it is compared with, in the order of rows.yaml."""
    given = yaml.safe_load((HERE / "rows.yaml").read_text())
    return {name: (row or {}).get("against") for name, row in given.items()}
