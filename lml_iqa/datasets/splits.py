"""Splits without leakage: grouped by reference image, sorted before shuffling, seeded, hashed, and saved as JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datasets.layout.case_folder import spelling_key
from lml_iqa.datasets.table import ImageTable
from lml_iqa.errors import DatasetError
from lml_iqa.utils.files import atomic_path
from lml_iqa.utils.options import check_choice

SplitRule = Literal["auto", "reference", "random", "official", "whole"]
"""Rule of a split: by reference image, by image, or official. ``auto`` is the first that applies of ``official``,
``reference`` and ``random``. ``whole`` puts all images into the test set, to test a model trained on other data."""


_PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of a table's training, validation and test set.

    Attributes:
        train: Rows of the training set.
        val: Rows of the validation set, taken from the training set. Empty if there is no validation set.
        test: Rows of the test set.
        rule: Rule of the split (never ``auto``).
        seed: Seed of the split.
        data_digest: :meth:`ImageTable.digest` of the table that the split was made for.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    rule: str
    seed: int
    data_digest: str

    def digest(self, table: ImageTable) -> str:
        """SHA-256 (hex) of the images in each set; independent of the rule and the row order."""
        hasher = hashlib.sha256()
        for part in _PARTS:
            for names in table.sorted_ids(getattr(self, part)):
                hasher.update("".join(f"{part}\t{name}\n" for name in names).encode("utf-8", "surrogateescape"))
        return hasher.hexdigest()

    def save(self, path: str | Path, table: ImageTable) -> None:
        """Write the split as JSON: the ids of each set, the rule, the seed, and hashes of the data and of the sets."""
        head = {
            "dataset": table.name,
            "rule": self.rule,
            "seed": self.seed,
            "data_sha256": self.data_digest,
            "split_sha256": self.digest(table),
        }
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head, indent=1).removesuffix("\n}"))
            for part in _PARTS:
                file.write(f',\n "{part}": [')
                comma = ""
                for names in table.sorted_ids(getattr(self, part)):
                    file.write(comma + ",".join(f"\n  {json.dumps(name)}" for name in names))
                    comma = ","
                file.write("\n ]")
            file.write("\n}\n")

    @classmethod
    def load(cls, path: str | Path, table: ImageTable) -> Split:
        """Read a split written by :meth:`save`.

        The table may have more rows than the one that the split was made for; these are in no set. Ids, scores and
        references of the listed rows must be unchanged.

        Raises:
            DatasetError: The file is not a split, was made for other data, or was edited.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            digest, rule, seed = str(content["data_sha256"]), content["rule"], content["seed"]
            if type(seed) is not int or rule not in get_args(SplitRule):
                raise ValueError(f"rule {rule!r}, seed {seed!r}")
            parts = {part: np.array(list(map(str, content.pop(part))), dtype=np.str_) for part in _PARTS}
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise DatasetError(
                f"{path}: not a split file ({error!r}); give one that a run saved as split.json"
            ) from error
        rows, unknown = {}, False
        for part, names in parts.items():
            found = table.order[np.searchsorted(table.ids, names, sorter=table.order).clip(max=len(table) - 1)]
            unknown |= bool((table.ids[found] != names).any())
            rows[part] = np.sort(found)
        named = np.concatenate(list(rows.values()))
        if digest != table.digest() and (unknown or digest != table.digest(named)):
            raise DatasetError(
                f"{path}: made for other data (hash {digest[:12]}, this {table.name} has {table.digest()[:12]}); "
                "use the original label file and images, or make a new split"
            )
        split = cls(**rows, rule=rule, seed=seed, data_digest=digest)
        repeated = np.bincount(named, minlength=1).max() > 1
        # Older files have no hash of the sets.
        changed = content.get("split_sha256", split.digest(table)) != split.digest(table)
        if unknown or repeated or changed or not len(split.test):
            raise DatasetError(
                f"{path}: edited by hand: the test set is empty, an image is listed twice or in another set, or its ID "
                f"is not in {table.name}; use the file as a run saved it, or make a new split"
            )
        return split


def make_split(
    table: ImageTable,
    *,
    rule: SplitRule = "auto",
    seed: int = 0,
    test_fraction: float = 0.2,
    val_fraction: float | None = 0.1,
) -> Split:
    """Divide a table into training, validation and test set.

    Groups (reference images, or single images) are sorted by name before a seeded shuffle, so the split depends
    neither on the file system nor on the row order of the label file. The validation set is taken from the training
    set by whole groups; an official validation set is kept.

    Args:
        table: The data set.
        rule: See :data:`SplitRule`.
        seed: Seed of the shuffle, 0 to 9 for the field's ten repeats.
        test_fraction: Share of the groups in the test set (not used by ``official``).
        val_fraction: Share of the remaining groups in the validation set. None for no validation set; an official one
            is added to the training set.

    Raises:
        ValueError: Unknown rule.
        DatasetError: The rule does not apply to this table, or there are too few groups for the sets.
    """
    check_choice("split", rule, SplitRule)
    if not table.rated:
        raise DatasetError(f"{table.root}: its images have no human scores, so they can only be scored (predict)")
    if not (0 < test_fraction < 1 and (val_fraction is None or 0 < val_fraction < 1)):
        raise DatasetError(f"test_fraction={test_fraction} and val_fraction={val_fraction} must be between 0 and 1")
    if rule == "auto":
        rule = "official" if table.parts is not None else "reference" if table.references is not None else "random"
    if rule == "official" and table.parts is None:
        raise DatasetError(f"{table.name} has no official split; use split: random or split: reference")
    if rule == "reference" and table.references is None:
        raise DatasetError(f"{table.name} names no reference images; use split: random")

    groups = _groups(table, rule)
    rng = np.random.default_rng(seed)
    nothing = np.zeros(len(table), dtype=bool)
    if rule == "whole":
        train, val, test = nothing, nothing, ~nothing
    elif rule == "official" and table.parts is not None:
        test = table.parts == "test"
        val = table.parts == "val"
        if val_fraction is None:
            val, train = nothing, val | (table.parts == "train")
        else:
            if not val.any():
                val = _draw(groups, table.parts == "train", val_fraction, rng)
            train = (table.parts == "train") & ~val
        if table.references is not None:
            torn = np.intersect1d(groups[test], groups[train | val])
            if len(torn):
                name = str(table.references[groups == torn[0]][0])
                raise DatasetError(
                    f"{table.name} ({table.source}): images of reference {name!r} are in the test set and in "
                    "another set, which leaks; move them to one set, or use split: reference"
                )
    else:
        test = _draw(groups, ~nothing, test_fraction, rng)
        val = nothing if val_fraction is None else _draw(groups, ~test, val_fraction, rng)
        train = ~test & ~val
    for part, rows in (("training", train), ("validation", val), ("test", test)):
        wanted = rule != "whole" and (part != "validation" or val_fraction is not None)
        if wanted and not rows.any():
            raise DatasetError(
                f"{table.name} ({table.source}): the {part} set of the {rule} split is empty "
                f"({len(table)} images in {len(np.unique(groups))} groups); add images or change the fractions"
            )
    return Split(
        train=np.flatnonzero(train),
        val=np.flatnonzero(val),
        test=np.flatnonzero(test),
        rule=rule,
        seed=seed,
        data_digest=table.digest(),
    )


def thin_out(split: Split, table: ImageTable, fraction: float) -> Split:
    """Reduce the training set to a share of its images; validation and test set are unchanged.

    Whole groups (reference images, or single images) are kept, drawn with the split's seed; a smaller share is a subset
    of a larger one.

    Args:
        split: The split.
        table: The table that the split belongs to.
        fraction: Share of the training set's groups, above 0 and up to 1.

    Raises:
        DatasetError: The share is out of range.
    """
    if not 0 < fraction <= 1:
        raise DatasetError(f"train_fraction={fraction} must be above 0 and at most 1")
    if fraction == 1:
        return split
    groups = _groups(table, split.rule)[split.train]
    order = np.random.default_rng(split.seed).permutation(np.unique(groups))
    kept = order[: max(1, round(fraction * len(order)))]
    return dataclasses.replace(split, train=split.train[np.isin(groups, kept)])


def reference_key(name: str) -> str:
    r"""Key of a reference image, equal for names that differ only in spelling.

    Letter case, Unicode composition, surrounding spaces, the kind of slash, ``.`` folders and image file extensions are
    ignored: ``I01.BMP``, ``./i01.png`` and ``i01`` are one reference. Folders are not: ``a/1.png`` and ``b/1.png`` are
    two.
    """
    path = posixpath.normpath(spelling_key(name.replace("\\", "/")).strip())
    stem, ending = posixpath.splitext(path)
    if path == ".":
        return ""
    return stem.rstrip() if ending in _IMAGE_ENDINGS else path


# A fixed list, so that splits do not depend on Pillow's plug-ins.
_IMAGE_ENDINGS = frozenset(
    {".avif", ".bmp", ".dng", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)


def _groups(table: ImageTable, rule: str) -> NDArray[np.int64]:
    """(n,) number of each row's group (reference image, or single image), in the order of their sorted names."""
    if table.references is not None and rule != "random":
        names, rows = np.unique(table.references, return_inverse=True)
        numbers: dict[str, int] = {}
        groups = np.array([numbers.setdefault(reference_key(name), len(numbers)) for name in map(str, names)])
        if "" in numbers:
            row = int(np.flatnonzero(groups[rows] == numbers[""])[0])
            raise DatasetError(
                f"{table.name} ({table.source}): {table.files[row]} has no reference image; "
                "name one for every image, or use split: random"
            )
        return groups[rows]
    places = np.empty(len(table), dtype=np.int64)
    places[table.order] = np.arange(len(table))
    return places


def _draw(
    groups: NDArray[np.int64], candidates: NDArray[np.bool_], fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw whole groups from the candidate rows: at least one, never all of them."""
    present = np.flatnonzero(np.bincount(groups[candidates]))  # sorted
    count = min(max(1, round(fraction * len(present))), len(present) - 1)
    chosen = rng.permutation(present)[:count]
    drawn: NDArray[np.bool_] = candidates & np.isin(groups, chosen)
    return drawn
