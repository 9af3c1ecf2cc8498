"""Which published data set a folder holds."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from lml_iqa.datasets import BENCHMARKS, DatasetError, IQADataset
from lml_iqa.datasets.layout.case_folder import CaseFolder, entries_of
from lml_iqa.datasets.layout.files import contents

_DEPTH = 2  # folders below the given one in which images are looked for, as for label files


def recognize(root: Path) -> type[IQADataset]:
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


def _by_images(root: Path) -> list[type[IQADataset]]:
    level = [root]
    for _ in range(_DEPTH + 1):
        folders = [CaseFolder(folder) for folder in level]
        for has in (_has_landmark, _has_image_folder):
            found = [dataset for dataset in BENCHMARKS if any(has(folder, dataset) for folder in folders)]
            if found:
                return found
        level = [folder / e.name for folder in level for e in entries_of(folder) if e.is_dir() and e.name[0] != "."]
    return []


def _has_landmark(folder: CaseFolder, dataset: type[IQADataset]) -> bool:
    places = [images for images in dataset.images_in if "{type}" not in images]
    return any(folder.find_file(f"{images}/{name}") is not None for images in places for name in dataset.landmarks)


def _has_image_folder(folder: CaseFolder, dataset: type[IQADataset]) -> bool:
    tops = {PurePosixPath(images).parts[0] for images in dataset.images_in if images != "."} - {"{type}"}
    return any(folder.find(top) is not None for top in tops)
