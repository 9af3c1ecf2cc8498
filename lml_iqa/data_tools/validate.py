"""Validation of a published data set on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lml_iqa.data_tools.check_images import check_images
from lml_iqa.data_tools.findings import Finding, Severity
from lml_iqa.data_tools.recognize import recognize
from lml_iqa.datasets import DatasetError, IQADataset, Listing
from lml_iqa.datasets.labels import find_faults, listed_landmarks
from lml_iqa.datasets.layout.files import find_root
from lml_iqa.images.formats import image_endings

_TOLERANCE = 0.01  # share of the scale: allowed difference from the published score of a landmark


@dataclass(frozen=True)
class Diagnosis:
    """Result of :func:`check`.

    Attributes:
        dataset: Data set in the folder.
        root: Folder that was checked.
        facts: Counts and measurements by name, as far as they could be determined.
        findings: Problems first, then warnings and notes.
    """

    dataset: type[IQADataset]
    root: Path
    facts: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> list[Finding]:
        """Findings that would make training fail or mislead."""
        return [finding for finding in self.findings if finding.severity == "problem"]


def check(root: str | Path, dataset: type[IQADataset] | None = None, *, decode: bool = True) -> Diagnosis:
    """Identify and validate the data set in a folder.

    Args:
        root: The data set's folder, or one above it.
        dataset: Expected data set; default: detected from the folder.
        decode: Whether to decode every image; otherwise only the headers are read.

    Raises:
        DatasetError: The folder does not exist, or its data set cannot be determined.
    """
    folder = find_root(root, "data check")
    dataset = recognize(folder) if dataset is None else dataset
    facts: dict[str, Any] = {}
    findings: list[Finding] = []
    try:
        findings += _examine(dataset(folder), facts, decode=decode)
    except DatasetError as error:
        findings.append(Finding("problem", error.problem, error.cure))
    order: list[Severity] = ["problem", "warning", "note"]
    return Diagnosis(dataset, folder, facts, tuple(sorted(findings, key=lambda f: order.index(f.severity))))


def _examine(benchmark: IQADataset, facts: dict[str, Any], *, decode: bool) -> Iterator[Finding]:
    facts["folder"] = str(benchmark.folder.root)
    listing = benchmark.read_labels()
    facts["label_file"] = listing.listed_in or str(benchmark.labels)
    for fault in find_faults(listing, benchmark):
        yield Finding("problem", fault.what, fault.cure, fault.rows)
    yield from _check_rows(benchmark, listing, facts)
    yield from _check_scores(benchmark, listing, facts)
    images = benchmark.image_folder(listing)
    facts["images_in"] = images
    paths = benchmark.paths(listing, images)
    found = {path: benchmark.folder.find_file(path) for path in paths}
    missing = tuple(path for path, actual in found.items() if actual is None)
    facts["images_found"] = len(found) - len(missing)
    if missing:
        yield Finding(
            "problem",
            f"{len(missing)} of {len(found)} listed images are missing",
            f"unpack the set again, or remove their rows. {benchmark.access}",
            missing,
        )
    present = sorted({actual for actual in found.values() if actual is not None})
    yield from _check_surplus(benchmark, listing, images, present)
    yield from check_images(benchmark.folder.root, present, facts, decode=decode)


def _check_rows(benchmark: IQADataset, listing: Listing, facts: dict[str, Any]) -> Iterator[Finding]:
    rows, published = len(listing.names), benchmark.images
    facts.update(rows=rows, published_rows=published, note=listing.note)
    for name in ("references", "types", "levels", "parts"):
        values = getattr(listing, name)
        if values is not None:
            facts[name] = dict(Counter(values)) if name == "parts" else len(set(values))
    there = [benchmark.folder.find_file(name) for name in benchmark.labels_in]
    others = tuple(name for name in there if name is not None and benchmark.folder.root / name != benchmark.labels)
    if others and not listing.listed_in:
        yield Finding("note", f"{benchmark.labels.name} is read; other label files are ignored", "", others)
    if rows < published:
        yield Finding(
            "warning",
            f"{rows} of the {published} rows of {benchmark.name}: a subset",
            "none, if this is intended; metrics are not comparable with those on the full set",
        )


def _check_scores(benchmark: IQADataset, listing: Listing, facts: dict[str, Any]) -> Iterator[Finding]:
    scores, scale = listing.scores, listing.scale
    facts["scores"] = {
        "name": scale.name,
        "scale": f"{scale.low:g}..{scale.high:g}",
        "higher_is_better": scale.higher_is_better,
        "lowest": float(np.min(scores)),
        "mean": float(np.mean(scores)),
        "highest": float(np.max(scores)),
    }
    if scale == benchmark.scale and benchmark.landmarks:
        published = benchmark.landmarks.values()
        facts["scores"]["published"] = f"{min(published):g}..{max(published):g}"
        reach = _TOLERANCE * scale.native_per_unit
        changed = [(n, s, p) for n, s, p in listed_landmarks(listing, benchmark) if abs(s - p) > reach]
        if changed:
            yield Finding(
                "warning",
                f"{len(changed)} scores differ from the published ones",
                "use the published label file, or TableDataModule for your own ratings",
                tuple(f"{name}: {listed:g}, published {score:g}" for name, listed, score in changed),
            )


def _check_surplus(benchmark: IQADataset, listing: Listing, images: str, present: Sequence[str]) -> Iterator[Finding]:
    root = benchmark.folder.root
    known = {path.casefold() for path in present}
    known |= {PurePosixPath(images, name).as_posix().casefold() for name in listing.unrated}
    endings = image_endings()
    surplus = tuple(
        sorted(
            path
            for folder in sorted({PurePosixPath(path).parent.as_posix() for path in present})
            for entry in os.scandir(root / folder)
            if entry.is_file() and not entry.name.startswith(".") and Path(entry.name).suffix.lower() in endings
            if (path := PurePosixPath(folder, entry.name).as_posix()).casefold() not in known
        )
    )
    if surplus:
        yield Finding(
            "warning",
            f"{len(surplus)} images are not in the label file",
            "none: they are not used; check whether they belong to another set",
            surplus,
        )
