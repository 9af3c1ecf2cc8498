"""``lml-iqa score``: scores of image files."""

from __future__ import annotations

import argparse
import glob
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from threading import Lock

from tqdm import tqdm

from lml_iqa.datasets.folder import list_images
from lml_iqa.errors import LMLError
from lml_iqa.images import read_size
from lml_iqa.inference.files import ENDINGS, ScoreFile
from lml_iqa.inference.model import Crops, QualityModel, Score, load
from lml_iqa.utils.files import printable

_LARGE = 1 << 25  # pixels; larger images are decoded one at a time, to limit the memory
_SHOWN = 10  # unreadable files that are listed


def run(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: Arguments after ``lml-iqa score``.

    Returns:
        Exit status: 0; 1 if an image could not be scored; 2 for invalid options; 3 if an image is worse than ``--min``.
    """
    given = _parser().parse_args(arguments)
    try:
        images = find_images(given.paths)
        model = load(given.model)
        file = None if given.out is None else ScoreFile(given.out.expanduser(), images, model.id)
    except (LMLError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = [] if file is None else file.rows
    unreadable: list[str] = []
    with nullcontext() if file is None else file:
        remaining = images[len(rows) :]
        bar = tqdm(_scores(model, remaining, given.workers), total=len(remaining), unit="image", disable=None)
        for path, result in zip(remaining, bar, strict=True):
            if isinstance(result, LMLError):
                unreadable.append(str(result))
                result = Score(*[float("nan")] * 4)
            row = [path, *(round(value, 6) for value in result), str(model.scale)]
            rows.append(row) if file is None else file.add(row)
    scored = [row for row in rows if row[1] == row[1]]
    sign = -1 if model.scale.higher_is_better else 1
    if file is None:
        for path, score, low, high, *_ in sorted(scored, key=lambda row: sign * row[1]):
            interval = f"  {low:.3f}..{high:.3f}" if low == low else ""
            print(f"{score:8.3f}{interval}  {printable(path)}")
    print(f"{len(scored)} images scored, {model.scale}" + ("" if file is None else f"; {printable(file.path)}"))
    failed = [path for path, score, *_ in rows if score != score]
    if failed:
        shown = unreadable[:_SHOWN] or [printable(path) for path in failed[:_SHOWN]]
        print(f"{len(failed)} files could not be scored:", *shown, sep="\n  ", file=sys.stderr)
        return 1
    worse = [row for row in scored if given.min is not None and sign * (row[1] - given.min) > 0]
    if worse:
        print(f"{len(worse)} images are worse than {given.min:g}", file=sys.stderr)
        return 3
    return 0


def find_images(paths: Sequence[str]) -> list[str]:
    """Paths of image files: files as given, images in folders, matches of patterns, and ``-`` for lines of stdin.

    Raises:
        DatasetError: A folder has no image.
    """
    found: list[str] = []
    for path in paths:
        if path == "-":
            found += [line for line in sys.stdin.read().splitlines() if line]
        elif Path(path).is_dir():
            found += [str(Path(path, name)) for name in list_images(Path(path))]
        elif not Path(path).exists() and (matches := sorted(glob.glob(path, recursive=True))):  # noqa: PTH207
            found += matches
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _scores(model: QualityModel, paths: Sequence[str], workers: int) -> Iterator[Score | LMLError]:
    """Scores in the order of the paths; decoding runs in threads, a few images ahead."""
    large = Lock()

    def prepare(path: str) -> Crops | LMLError:
        try:
            height, width = read_size(path)
            with large if height * width > _LARGE else nullcontext():
                return model.prepare(path)
        except LMLError as error:
            return error

    left = iter(paths)
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Crops | LMLError]] = deque(pool.submit(prepare, path) for path in islice(left, 2 * workers))
        while ahead:
            prepared = ahead.popleft().result()
            ahead.extend(pool.submit(prepare, path) for path in islice(left, 1))
            yield prepared if isinstance(prepared, LMLError) else model.score_crops(prepared)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lml-iqa score",
        description="Score image files. Exit status: 0; 1 if a file could not be scored (the others are); 2 for "
        "invalid options; 3 if an image is worse than --min.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image file, folder, pattern, or - for lines of stdin")
    parser.add_argument(
        "--model", required=True, help=".ckpt file of a run, folder written by save_pretrained, or hub ID"
    )
    parser.add_argument(
        "--out", type=Path, help=f"file of the scores ({', '.join(ENDINGS)}); a killed run of the same images continues"
    )
    parser.add_argument("--min", type=float, help="exit with status 3 if an image is worse than this score")
    parser.add_argument("--workers", type=int, default=2, help="threads that decode images; default: %(default)s")
    return parser
