"""Detection of the published data set in a folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from lml_iqa.datasets import BENCHMARKS, DatasetError, IQADataset
from lml_iqa.datasets.layout.case_folder import CaseFolder, folders_by_level
from lml_iqa.datasets.layout.files import contents


def recognize(root: Path) -> type[IQADataset]:
    """Detect the published data set in a folder, or up to two levels below it.

    The label files identify the set. Without them, its best- and worst-rated images do, or else the names of its image
    folders.

    Raises:
        DatasetError: No known set matches, or several do.
    """
    found = [dataset for dataset in BENCHMARKS if dataset.homes(root)]
    if not found:
        found = _by_images(root)
    if not found:
        labels = ", ".join(f"{dataset.name}: {dataset.labels_in[0]}" for dataset in BENCHMARKS)
        raise DatasetError(
            f"{root}: no known data set (found: {contents(root)}); give the folder that contains one of the label "
            f"files {labels}, or use TableDataModule for your own ratings"
        )
    if len(found) > 1:
        raise DatasetError(
            f"{root}: could be {' or '.join(dataset.name for dataset in found)}; select one with --set, or give the "
            "folder of one of them"
        )
    return found[0]


def _by_images(root: Path) -> list[type[IQADataset]]:
    for level in folders_by_level(root):
        folders = [CaseFolder(folder) for folder in level]
        for has in (_has_landmark, _has_image_folder):
            found = [dataset for dataset in BENCHMARKS if any(has(folder, dataset) for folder in folders)]
            if found:
                return found
    return []


def _has_landmark(folder: CaseFolder, dataset: type[IQADataset]) -> bool:
    places = [images for images in dataset.images_in if "{type}" not in images]
    return any(folder.find_file(f"{images}/{name}") is not None for images in places for name in dataset.landmarks)


def _has_image_folder(folder: CaseFolder, dataset: type[IQADataset]) -> bool:
    tops = {PurePosixPath(images).parts[0] for images in dataset.images_in if images != "."} - {"{type}"}
    return any(folder.find(top) is not None for top in tops)
