"""Label files of every kind with random damage, for the tests and for ``benchmarks/fuzz_labels.py``."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from data.benchmarks import LAYOUTS, table
from data.biq2021 import write_biq2021

from lml_iqa.datasets import BENCHMARKS, DatasetError, ImageTable, Split, load_csv_table, make_split

TOKENS = [b",", b";", b"\t", b"|", b'"', b"\n", b"\r", b"\r\n", b" ", b"\0", b"#", b"=", b"-", b".", b"..", b"/", b"\\"]
TOKENS += [
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"nan",
    b"inf",
    b"1e400",
    b"1_0",
    b"0x1",
    b"\xd9\xa3",
    b"\xe9",
    b"\xed\xb0\x80",
]
TOKENS += [b"{", b"]", b"null", b"9" * 30, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"<", b"&", b"A" * 5000]


@dataclass
class Reader:
    """A label file, and how to load the data set that it belongs to."""

    file: Path
    load: Callable[[], object]


def readers(folder: Path) -> dict[str, Reader]:
    """Write a tiny tree of each data set; one reader for each of their label files."""
    files = {
        "live": ["databaserelease2/dmos_realigned.mat", "databaserelease2/refnames_all.mat"],
        "csiq_official": ["csiq.DMOS.xlsx"],
        "csiq_community": ["csiq_label.txt"],
        "tid2013": ["mos_with_names.txt"],
        "kadid10k_official": ["dmos.csv"],
        "livec": ["Data/AllMOS_release.mat", "Data/AllImages_release.mat"],
        "koniq10k_metadata_both": [
            f"metadata/koniq10k_{x}.csv" for x in ("scores_and_distributions", "distributions_sets")
        ],
        "flive": ["labels_image.csv"],
        "spaq_testimage": ["Annotations/MOS and Image attribute scores.xlsx"],
        "biq2021": ["Train (Images and MOS).csv", "Test (Images and MOS).csv"],
    }
    sets = {benchmark.__name__.lower(): benchmark for benchmark in BENCHMARKS}
    found = {}
    for layout, labels in files.items():
        root = (write_biq2021 if layout == "biq2021" else LAYOUTS[layout])(folder / layout)
        benchmark = sets[layout.split("_")[0]]
        for label in labels:
            found[f"{layout}: {label}"] = Reader(root / label, lambda kind=benchmark, root=root: kind(root).load())
    root, load = csv_tree(folder / "csv")
    found["csv"] = Reader(root / "labels.csv", load)
    found["csv, UTF-16"] = Reader(root / "utf16.csv", partial(load_csv_table, root, "utf16.csv"))
    (root / "utf16.csv").write_bytes((root / "labels.csv").read_text().encode("utf-16"))
    rows = load()
    make_split(rows).save(root / "split.json", rows)
    found["split.json"] = Reader(root / "split.json", lambda: Split.load(root / "split.json", rows))
    return found


def csv_tree(root: Path) -> tuple[Path, Callable[[], ImageTable]]:
    """A folder of empty images with ``labels.csv``, and the function that reads it."""
    rows = [
        [
            f"{'sub/' * (i % 2)}img {i}.png",
            1 + i * 7 % 40 / 10,
            f"r{i // 3}",
            ["train", "val", "test"][i // 3 % 3],
            i + 5,
        ]
        for i in range(18)
    ]
    table(root / "labels.csv", ["path", "score", "ref", "part", "raters"], rows)
    (root / "sub").mkdir()
    for row in rows:
        (root / str(row[0])).touch()
    options = {"reference_column": "ref", "split_column": "part"}
    return root, partial(load_csv_table, root, "labels.csv", low=0, high=6, **options)


def damaged(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """A copy with one to four random changes; half of the workbooks are changed inside the archive."""
    if suffix == ".xlsx" and rng.random() < 0.5:
        return _damaged_inside(content, rng)
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        start, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 40))
        match int(rng.integers(7)):
            case 0 if len(data):
                data[start % len(data)] ^= 1 << int(rng.integers(8))
            case 1:
                data[start : start + length] = rng.bytes(length)
            case 2:
                del data[start : start + length]
            case 3:
                data[start:start] = data[start : start + length] * int(rng.integers(1, 4))
            case 4:
                del data[start:]
            case _:
                token = TOKENS[int(rng.integers(len(TOKENS)))]
                data[start : start + int(rng.integers(2)) * len(token)] = token
    return bytes(data)


def _damaged_inside(content: bytes, rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        names = source.namelist()
        chosen = names[int(rng.integers(len(names)))] if rng.random() < 0.5 else "xl/worksheets/sheet1.xml"
        for name in names:
            target.writestr(name, damaged(source.read(name), "", rng) if name == chosen else source.read(name))
    return out.getvalue()


def fuzz(readers: dict[str, Reader], rounds: int, seed: int) -> Iterator[tuple[str, float, object]]:
    """Load damaged label files in turn: the reader, seconds of this process, and the result or the error."""
    originals = {name: reader.file.read_bytes() for name, reader in readers.items()}
    for i in range(rounds):
        name = list(readers)[i % len(readers)]
        reader = readers[name]
        content = damaged(originals[name], reader.file.suffix, np.random.default_rng([seed, i]))
        reader.file.write_bytes(content)
        start = time.process_time()
        try:
            result = reader.load()
        except DatasetError as error:
            result = error
        except BaseException as error:
            raise AssertionError(f"{name}, round {i}: {error!r}") from error
        finally:
            reader.file.write_bytes(originals[name])
        yield name, time.process_time() - start, result
