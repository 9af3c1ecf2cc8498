"""Recognises a folder as one of the published sets and looks for everything that training would stumble over."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from lml_iqa.datasets import BENCHMARKS, Benchmark, DatasetError, Listing, read_image
from lml_iqa.datasets.errors import first_few
from lml_iqa.datasets.faults import find_faults, listed_landmarks
from lml_iqa.datasets.files import CaseFolder, contents, entries_of, find_root
from lml_iqa.datasets.formats import image_endings
from lml_iqa.datasets.images import read_size

Severity = Literal["problem", "warning", "note"]

_DEPTH = 2  # folders below the given one in which images are looked for, as for label files
_TOLERANCE = 0.01  # of the scale: how far a landmark's score may lie from the published one


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


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`check` found.

    Attributes:
        dataset: The set that the folder holds.
        root: The folder that was given.
        facts: What was counted and measured, by name; only what could be.
        findings: Problems first, then warnings and notes.
    """

    dataset: type[Benchmark]
    root: Path
    facts: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> list[Finding]:
        """The findings that training would stumble over."""
        return [finding for finding in self.findings if finding.severity == "problem"]


def recognise(root: Path) -> type[Benchmark]:
    """Which of the published sets a folder holds, itself or up to two folders below.

    Told by the label files; where there is none, by the set's best and worst images, else by the folders of images.

    Raises:
        DatasetError: The folder is none of them, or could be several.
    """
    found = [dataset for dataset in BENCHMARKS if dataset.homes(root)]
    if not found:
        found = _by_images(root)
    if not found:
        labels = "; ".join(f"{dataset.name}: {dataset.labels_in[0]}" for dataset in BENCHMARKS)
        raise DatasetError(
            f"{root} is none of the sets known here (found: {contents(root)}). Their label files are {labels}. "
            "Give the folder that holds one of them; for ratings of your own see TableDataModule"
        )
    if len(found) > 1:
        raise DatasetError(
            f"{root} could be {' or '.join(dataset.name for dataset in found)}; say which with --set, "
            "or give the folder of one of them"
        )
    return found[0]


def _by_images(root: Path) -> list[type[Benchmark]]:
    level = [root]
    for _ in range(_DEPTH + 1):
        folders = [CaseFolder(folder) for folder in level]
        for has in (_has_landmark, _has_image_folder):
            found = [dataset for dataset in BENCHMARKS if any(has(folder, dataset) for folder in folders)]
            if found:
                return found
        level = [folder / e.name for folder in level for e in entries_of(folder) if e.is_dir() and e.name[0] != "."]
    return []


def _has_landmark(folder: CaseFolder, dataset: type[Benchmark]) -> bool:
    places = [images for images in dataset.images_in if "{type}" not in images]
    return any(folder.find_file(f"{images}/{name}") is not None for images in places for name in dataset.landmarks)


def _has_image_folder(folder: CaseFolder, dataset: type[Benchmark]) -> bool:
    tops = {PurePosixPath(images).parts[0] for images in dataset.images_in if images != "."} - {"{type}"}
    return any(folder.find(top) is not None for top in tops)


def check(root: str | Path, dataset: type[Benchmark] | None = None, *, decode: bool = True) -> Diagnosis:
    """Examine a folder.

    Args:
        root: The data set's folder, or one above it.
        dataset: The set that it should be; default: told from the folder.
        decode: Whether to decode every image; otherwise only the headers are read.

    Raises:
        DatasetError: The folder does not exist, or it cannot be told which set it is.
    """
    folder = find_root(root, "data check")
    dataset = recognise(folder) if dataset is None else dataset
    facts: dict[str, Any] = {}
    findings: list[Finding] = []
    try:
        findings += _examine(dataset(folder), facts, decode=decode)
    except DatasetError as error:
        what, _, cure = str(error).partition("; ")
        findings.append(Finding("problem", what, cure))
    order: list[Severity] = ["problem", "warning", "note"]
    return Diagnosis(dataset, folder, facts, tuple(sorted(findings, key=lambda f: order.index(f.severity))))


def _examine(benchmark: Benchmark, facts: dict[str, Any], *, decode: bool) -> Iterator[Finding]:
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
    yield from _check_images(benchmark.folder.root, present, facts, decode=decode)


def _check_rows(benchmark: Benchmark, listing: Listing, facts: dict[str, Any]) -> Iterator[Finding]:
    rows, published = len(listing.names), benchmark.images
    facts.update(rows=rows, published_rows=published, note=listing.note)
    for name in ("references", "types", "levels", "parts"):
        values = getattr(listing, name)
        if values is not None:
            facts[name] = dict(Counter(values)) if name == "parts" else len(set(values))
    there = [benchmark.folder.find_file(name) for name in benchmark.labels_in]
    others = tuple(name for name in there if name is not None and benchmark.folder.root / name != benchmark.labels)
    if others and not listing.listed_in:
        yield Finding("note", f"{benchmark.labels.name} is read; there are other label files too", "", others)
    if rows < published:
        yield Finding(
            "warning",
            f"{rows} rows of the {published} that {benchmark.name} has: a subset",
            "nothing, if that is meant; figures are not comparable with those on the whole set",
        )


def _check_scores(benchmark: Benchmark, listing: Listing, facts: dict[str, Any]) -> Iterator[Finding]:
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
                f"{len(changed)} scores are not the published ones",
                "use the set's own label file; ratings of your own fit TableDataModule better",
                tuple(f"{name} has {listed:g}, published is {score:g}" for name, listed, score in changed),
            )


def _check_surplus(benchmark: Benchmark, listing: Listing, images: str, present: Sequence[str]) -> Iterator[Finding]:
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
            f"{len(surplus)} images that no row names",
            "nothing: they are not used. Look whether they belong to another set",
            surplus,
        )


def _check_images(root: Path, present: Sequence[str], facts: dict[str, Any], *, decode: bool) -> Iterator[Finding]:
    def measure(path: str) -> tuple[int, int] | DatasetError:
        try:
            return read_image(root / path).shape[:2] if decode else read_size(root / path)
        except DatasetError as error:
            return error

    # Pillow and hashing let go of the interpreter while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = list(_progress(pool.map(measure, present), "reading images", len(present)))
        broken = [(p, e) for p, e in zip(present, measured, strict=True) if isinstance(e, DatasetError)]
        same_size: defaultdict[int, list[str]] = defaultdict(list)
        for path in sorted(set(present) - {path for path, _ in broken}):
            same_size[(root / path).stat().st_size].append(path)
        candidates = [path for paths in same_size.values() if len(paths) > 1 for path in paths]
        digests = pool.map(lambda path: _digest(root / path), candidates)
        same: defaultdict[str, list[str]] = defaultdict(list)
        for path, digest in zip(candidates, _progress(digests, "comparing images", len(candidates)), strict=True):
            same[digest].append(path)
    sizes = np.array([size for size in measured if not isinstance(size, DatasetError)]).reshape(-1, 2)
    if len(sizes):
        by_pixels = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
        facts["sizes"] = {
            name: f"{by_pixels[place][1]}x{by_pixels[place][0]}"
            for name, place in (("smallest", 0), ("median", len(by_pixels) // 2), ("largest", -1))
        }
    if broken:
        yield Finding(
            "problem",
            f"{len(broken)} images cannot be read ({broken[0][1]})",
            "copy or download them again, or remove their rows",
            tuple(path for path, _ in broken),
        )
    twins = sorted(paths for paths in same.values() if len(paths) > 1)
    if twins:
        yield Finding(
            "warning",
            f"{len(twins)} pictures are there under several names, byte for byte the same",
            "keep one of each: on both sides of a split they leak",
            tuple(" = ".join(paths) for paths in twins),
        )


def _progress(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    shown: Iterable[Any] = tqdm(items, desc=what, total=total, disable=None, leave=False)
    return shown


def _digest(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
