"""Check that every damaged image is read, or refused with an ``ImageReadError``, within the time limit.

python benchmarks/fuzz.py images            # 20,000 files
python benchmarks/fuzz.py images --count 500 --start 1234
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from lml_iqa.errors import ImageReadError
from lml_iqa.images.read import read_image, read_size

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
LIMIT = 2.0  # CPU seconds per file, for read_image and read_size together


def fuzz_images(start: int, count: int, folder: Path) -> bool:
    """Read damaged images. Return whether each was read, in the size of ``read_size``, or refused within the limit."""
    from data.mutated_images import mutated

    path = folder / "image"
    outcomes: Counter[str] = Counter()
    slowest = (0.0, "")
    for number in range(start, start + count):
        name, content = mutated(number)
        path.write_bytes(content)
        label = f"number {number} ({name})"
        begun = time.process_time()  # CPU time, unaffected by other programs
        try:
            shape = read_image(path).shape
            outcome = "read" if shape[:2] == read_size(path) else "read_size differs"
        except ImageReadError as error:
            outcome = "refused" if str(error).startswith(f"{path}: ") else "refused without the file's name"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "another exception"
            traceback.print_exc(file=sys.stdout)
        seconds = time.process_time() - begun
        slowest = max(slowest, (seconds, label))
        if seconds > LIMIT:
            outcome = f"slower than {LIMIT:g} s"
        outcomes[outcome] += 1
        if outcome not in {"read", "refused"}:
            print(f"{label}: {outcome}, {seconds:.2f} s", flush=True)
    for outcome, files in outcomes.most_common():
        print(f"{files:6d} {outcome}")
    print(f"slowest: {slowest[0]:.2f} s, {slowest[1]}")
    return set(outcomes) <= {"read", "refused"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    images = kinds.add_parser("images", help="damaged images of every format")
    images.set_defaults(fuzz=fuzz_images, count=20_000)
    for kind in kinds.choices.values():
        kind.add_argument("--start", type=int, default=0, help="number of the first file, which is also its seed")
        kind.add_argument("--count", type=int, help="number of files")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # libtiff and others print warnings
    with TemporaryDirectory() as folder:
        sys.exit(0 if options.fuzz(options.start, options.count, Path(folder)) else 1)


if __name__ == "__main__":
    main()
