"""Makes tiny trees of the published sets from nothing, in each of their genuine layouts with its quirks.

Run as a program it writes one: ``python tests/data/benchmarks.py LAYOUT FOLDER``.

What each set holds stands in a dictionary of name and score; the writers take other pairs in its place, so that a test
can make a tree with wrong ones.
"""

import csv
import sys
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import openpyxl
import scipy.io
from PIL import Image

Scores = Iterable[tuple[str, float | str]]
"""Names, as the label file spells them, and what it says of them."""


def picture(path: Path, width: int | None = None, height: int | None = None) -> None:
    """Write colored blocks that the file's name alone determines, 32 to 64 pixels a side; keep what is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(path.name.casefold().encode())
    width = 32 + 8 * (seed % 5) if width is None else width
    height = 32 + 8 * (seed // 5 % 5) if height is None else height
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).save(path)


def matlab(path: Path, **variables: object) -> None:
    """Write a MATLAB file; lists of text become cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, values in variables.items():
        if isinstance(values, list):
            variables[name] = np.empty((len(values), 1), dtype=object)
            variables[name][:, 0] = values
    scipy.io.savemat(path, variables)


def table(path: Path, header: list[str], rows: Iterable[Iterable[object]], *, quoted: bool = False) -> None:
    """Write a CSV file; the header and texts quoted where asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL)
        writer.writerows([header, *rows])


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> None:
    """Write an Excel workbook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)


# ---- LIVE: 982 rows, most of them copies of photographs, and here with no image

LIVE_ROWS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
LIVE_PHOTOGRAPHS = ("bikes", "buildings2", "caps", "ocean", "statue", "womanhat")
LIVE_REFERENCES = {
    f"{folder}/img{11 + 23 * i}.bmp": photograph
    for folder in LIVE_ROWS
    for i, photograph in enumerate(LIVE_PHOTOGRAPHS)
}
LIVE = {name: round(-1.625 + 3.4375 * (i * 7 % 30), 4) for i, name in enumerate(LIVE_REFERENCES)}
LIVE_AS_FIRST_RELEASED = {name: round(25 + 0.5 * dmos + 4 * (dmos % 3), 4) for name, dmos in LIVE.items()}
LIVE_COPIES = ("jp2k/img1.bmp", "jpeg/img3.bmp", "wn/img174.bmp")  # of photographs: on disk, and not rated


def write_live(root: Path, scores: Scores | None = None, *, labels_in: str = "databaserelease2") -> Path:
    """Write ``databaserelease2/`` with both DMOS files, which lie inside or beside it."""
    dmos = dict(LIVE if scores is None else scores)
    names = [f"{folder}/img{n}.bmp" for folder, count in LIVE_ROWS.items() for n in range(1, count + 1)]
    copies = np.array([[name not in dmos for name in names]], dtype=np.uint8)
    references = np.empty((1, len(names)), dtype=object)
    references[0] = [f"{LIVE_REFERENCES.get(name, 'caps')}.bmp" if name in dmos else "" for name in names]
    realigned = np.array([[dmos.get(name, 0.0) for name in names]], dtype=np.float64)
    first = np.array([[LIVE_AS_FIRST_RELEASED.get(name, 0.0) for name in names]])
    labels = root / labels_in
    matlab(labels / "dmos_realigned.mat", dmos_new=realigned, dmos_std=realigned / 9, orgs=copies)
    matlab(labels / "dmos.mat", dmos=first, orgs=copies)
    matlab(labels / "refnames_all.mat", refnames_all=references)
    for name in (*dmos, *LIVE_COPIES, *(f"refimgs/{photograph}.bmp" for photograph in LIVE_PHOTOGRAPHS)):
        picture(root / "databaserelease2" / name)
    return root


# ---- CSIQ: a workbook or a text file, images in a folder each type or all in one

CSIQ_PHOTOGRAPHS = ("1600", "boston", "family", "log_seaside", "sunsetcolor", "turtle")
CSIQ_TYPES = {  # in file names: in the workbook
    "AWGN": "noise",
    "BLUR": "blur",
    "contrast": "contrast",
    "fnoise": "fnoise",
    "JPEG": "jpeg",
    "jpeg2000": "jpeg 2000",
}
CSIQ = {
    f"{photograph}.{kind}.{level}.png": round(0.04 + 0.1875 * (level - 1) + 0.011 * k + 0.0013 * p, 6)
    for k, kind in enumerate(CSIQ_TYPES)
    for p, photograph in enumerate(CSIQ_PHOTOGRAPHS)
    for level in (1, 5)
}


def write_csiq(
    root: Path, scores: Scores | None = None, *, labels: str = "csiq.DMOS.xlsx", images: str = "dst_imgs/{type}"
) -> Path:
    """Write the official layout, the one that is passed on, or a mixture."""
    scores = list(CSIQ.items() if scores is None else scores)
    if labels.endswith(".xlsx"):
        header = [None, None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"]
        title: list[list[object]] = [["CSIQ subjective ratings"], [], [None, None, None, "by image"]]
        rows = []
        for name, dmos in sorted(scores, key=lambda row: row[0].split(".")[0]):  # by image
            photograph, kind, level, *_ = name.split(".")
            index = 1 + list(CSIQ_TYPES).index(kind) if kind in CSIQ_TYPES else 0
            image = int(photograph) if photograph.isdecimal() else photograph
            rows.append([None, None, None, image, index, CSIQ_TYPES.get(kind, kind), int(level), 0.05, dmos])
        means = [[*row[:8], 0.5] for row in rows]
        root.mkdir(parents=True, exist_ok=True)
        workbook(root / labels, {"all_by_distortion": [header, *means], "all_by_image": [*title, header, *rows]})
    else:
        root.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} {dmos:.6f}" if isinstance(dmos, float) else f"{name} {dmos}" for name, dmos in scores]
        lines.reverse()  # not the order of the workbook, on which nothing may depend
        (root / labels).write_text("\n".join([*lines, ""]))
    for name, _ in scores:
        picture(root / images.format(type=name.split(".")[1].lower()) / name)
    for photograph in CSIQ_PHOTOGRAPHS:
        picture(root / "src_imgs" / f"{photograph}.png")
    return root


# ---- TID2013: the list and the disk disagree about case

TID2013_PICTURES = (4, 9, 10, 16, 17, 25)
TID2013 = {
    f"{'I' if kind == 1 else 'i'}{p:02d}_{kind:02d}_{level}.bmp": round(8.15 - 1.25 * level - p / 37 - kind / 99, 5)
    for p in TID2013_PICTURES
    for kind in (1, 8, 24)
    for level in (1, 2, 5)
}


def write_tid2013(root: Path, scores: Scores | None = None) -> Path:
    """Write the pictures, the distorted images and the list, with ``mos.txt`` (no names) beside it."""
    scores = list(TID2013.items() if scores is None else scores)
    for name, _ in scores:
        picture(root / "distorted_images" / (name.upper() if name[1:3] == "25" else name.lower()))
    for p in TID2013_PICTURES:
        picture(root / "reference_images" / ("i25.bmp" if p == 25 else f"I{p:02d}.BMP"))
    texts = [f"{mos:.5f}" if isinstance(mos, float) else str(mos) for _, mos in scores]
    lines = [f"{text} {name}" for (name, _), text in zip(scores, texts, strict=True)]
    (root / "mos_with_names.txt").write_bytes("\r\n".join([*lines, ""]).encode())
    (root / "mos.txt").write_bytes("\r\n".join([*texts, ""]).encode())
    return root


# ---- KADID-10k: a column called dmos in which higher is better

KADID10K_PHOTOGRAPHS = ("I01", "I02", "I08", "I30", "I58", "I81")
KADID10K = {
    f"{photograph}_{kind:02d}_{level:02d}.png": round(4.9 - 0.88 * (level - 1) - 0.03 * p - 0.01 * (kind % 7), 2)
    for p, photograph in enumerate(KADID10K_PHOTOGRAPHS)
    for kind in (1, 10, 25)
    for level in (1, 2, 5)
}


def write_kadid10k(root: Path, scores: Scores | None = None, *, clean: str, images: str) -> Path:
    """Write ``dmos.csv``, and clean and distorted images in one folder or two."""
    scores = list(KADID10K.items() if scores is None else scores)
    rows = [[name, f"{name[:3]}.png", mos, 0.5] for name, mos in scores]
    table(root / "dmos.csv", ["dist_img", "ref_img", "dmos", "var"], rows)
    for name, _ in scores:
        picture(root / images / name)
    for photograph in KADID10K_PHOTOGRAPHS:
        picture(root / clean / f"{photograph}.png")
    return root


# ---- LIVEC: the first seven rows are examples

LIVEC = {f"{5 + 83 * i % 1000}.{'bmp' if i % 3 else 'JPG'}": 4.25 + 88 * (i * 5 % 14) / 13.1 for i in range(14)}
LIVEC_EXAMPLES = {f"t{i}.bmp": 30.0 + i for i in range(1, 8)}


def write_livec(root: Path, scores: Scores | None = None) -> Path:
    """Write names and scores, one a column and the others rows, as published."""
    rated = list(LIVEC.items() if scores is None else scores)
    names, mos = zip(*LIVEC_EXAMPLES.items(), *rated, strict=True)
    matlab(root / "Data" / "AllImages_release.mat", AllImages_release=list(names))
    matlab(root / "Data" / "AllMOS_release.mat", AllMOS_release=np.array([mos]))
    matlab(root / "Data" / "AllStdDev_release.mat", AllStdDev_release=np.full((1, len(mos)), 18.0))
    for name, _ in rated:
        picture(root / "Images" / name)
    for name in LIVEC_EXAMPLES:
        picture(root / "Images" / "trainingImages" / name)
    return root


# ---- KonIQ-10k: three scales, none of which is a rescaling of another

KONIQ10K_ZSCORE = {f"{10004473376 - 601_318_117 * i}.jpg": round(6.5 + 80 * (i * 9 % 14) / 13, 6) for i in range(14)}
KONIQ10K_RAW = {
    name: round(1.2 + 3 * (z / 90) ** 1.5 + 0.2 * (i % 2), 6) for i, (name, z) in enumerate(KONIQ10K_ZSCORE.items())
}
KONIQ10K_SETS = {n: round(z + 2.5 - 5 * (i % 3), 6) for i, (n, z) in enumerate(KONIQ10K_ZSCORE.items())}
KONIQ10K_PARTS = {
    name: ("training", "training", "test", "training", "validation")[i % 5] for i, name in enumerate(KONIQ10K_RAW)
}


def write_koniq10k(
    root: Path,
    scores: Scores | None = None,
    *,
    labels_in: str = ".",
    files: tuple[str, ...] = ("scores",),
    images: str = "1024x768",
) -> Path:
    """Write either or both label files; given scores become the z-scores of the one and the MOS of the other."""
    zscores = list(KONIQ10K_ZSCORE.items() if scores is None else scores)
    counts = [1, 4, 20, 60, 15]
    c = [f"c{i}" for i in range(1, 6)]
    if "scores" in files:
        table(
            root / labels_in / "koniq10k_scores_and_distributions.csv",
            ["image_name", *c, "c_total", "MOS", "SD", "MOS_zscore"],
            [[name, *counts, 100, KONIQ10K_RAW.get(name, 3.0), 0.5, zscore] for name, zscore in zscores],
            quoted=True,
        )
    if "sets" in files:
        table(
            root / labels_in / "koniq10k_distributions_sets.csv",
            ["image_name", *c, "c_total", "MOS", "SD", "set"],
            [
                [name, *(n / 100 for n in counts), 100, KONIQ10K_SETS.get(name, mos) if scores is None else mos, 0.5]
                + [KONIQ10K_PARTS.get(name, "training")]
                for name, mos in zscores
            ],
        )
    for name, _ in zscores:
        picture(root / images / name)
    return root


# ---- FLIVE: images of all sizes, which tell the official parts

FLIVE_SIZES = {
    "blur_dataset/motion0001.jpg": (32, 40),
    "voc_emotic_ava/AVA__100.jpg": (640, 32),  # the last of the training part
    "voc_emotic_ava/AVA__101.jpg": (48, 32),
    "EE371R/image0.jpg": (656, 32),
    "voc_emotic_ava/EMOTIC__COCO_train2014_000000000001.jpg": (648, 32),
    "voc_emotic_ava/JPEGImages__2009_000001.jpg": (32, 48),
    "blur_dataset/out_of_focus0001.jpg": (32, 648),
    "EE371R/image1.jpg": (40, 32),
    "voc_emotic_ava/JPEGImages__2009_000002.jpg": (40, 40),
    "voc_emotic_ava/AVA__102.jpg": (32, 640),
    "blur_dataset/motion0002.jpg": (641, 32),  # the first of the test part
    "voc_emotic_ava/AVA__103.jpg": (32, 32),
    "EE371R/image2.jpg": (32, 32),
    "voc_emotic_ava/AVA__104.jpg": (64, 32),
    "voc_emotic_ava/AVA__105.jpg": (48, 48),
}
FLIVE = {name: 12.5 + 80 * (i * 4 % 15) / 14.7 for i, name in enumerate(FLIVE_SIZES)}
FLIVE_PARTS = {
    name: "" if name.startswith("EE371R") else "test" if max(size) > 640 else "train"
    for name, size in FLIVE_SIZES.items()
}


def write_flive(root: Path, scores: Scores | None = None) -> Path:
    """Write ``database/`` and ``labels_image.csv``."""
    scores = list(FLIVE.items() if scores is None else scores)
    table(root / "labels_image.csv", ["name", "mos"], scores)
    for name, _ in scores:
        picture(root / "database" / name, *FLIVE_SIZES.get(name, (32, 32)))
    return root


# ---- SPAQ: three places for the images

SPAQ = {f"{1 + 803 * i:05d}.jpg": round(3.5 + 90 * (i * 5 % 14) / 13, 2) for i in range(14)}


def write_spaq(root: Path, scores: Scores | None = None, *, images: str) -> Path:
    """Write the workbook, with the attributes beside the scores, and the images."""
    scores = list(SPAQ.items() if scores is None else scores)
    attributes = ["Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"]
    rows = [[name, mos, 47.43, 55.57, 55.71, 37.86, 42.57] for name, mos in scores]
    labels = root / "Annotations" / "MOS and Image attribute scores.xlsx"
    workbook(labels, {"Sheet1": [["Image name", "MOS", *attributes], *rows]})
    for name, _ in scores:
        picture(root / images / name)
    return root


LAYOUTS: dict[str, Callable[..., Path]] = {
    "live": write_live,
    "live_mats_above": partial(write_live, labels_in="."),
    "csiq_official": write_csiq,
    "csiq_community": partial(write_csiq, labels="csiq_label.txt", images="dst_imgs_all"),
    "csiq_mixed": partial(write_csiq, labels="csiq_label.txt"),
    "tid2013": write_tid2013,
    "kadid10k_official": partial(write_kadid10k, clean="images", images="images"),
    "kadid10k_community": partial(write_kadid10k, clean="reference_images", images="distorted_images"),
    "livec": write_livec,
    "koniq10k_zscore_1024x768": write_koniq10k,
    "koniq10k_sets_512x384": partial(write_koniq10k, files=("sets",), images="512x384"),
    "koniq10k_metadata_both": partial(write_koniq10k, files=("scores", "sets"), labels_in="metadata", images="512x384"),
    "flive": write_flive,
    "spaq_testimage": partial(write_spaq, images="TestImage"),
    "spaq_zip": partial(write_spaq, images="SPAQ zip"),
    "spaq_512x384": partial(write_spaq, images="SPAQ zip/512x384"),
}
"""A tree each: called with a folder, which need not exist, it fills and returns it."""


if __name__ == "__main__":
    LAYOUTS[sys.argv[1]](Path(sys.argv[2]))
