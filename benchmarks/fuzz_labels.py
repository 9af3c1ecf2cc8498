"""Read damaged label files of every data set, and print how many are refused, time and memory.

``python benchmarks/fuzz_labels.py [ROUNDS] [SEED]``; 5,000 rounds and seed 1 by default.
"""

import resource
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from data.label_fuzz import fuzz, readers

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # openpyxl's, about damage
    rounds, seed = (int(x) for x in [*sys.argv[1:], *["5000", "1"][len(sys.argv) - 1 :]])
    refused, slowest = Counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for _, seconds, result in fuzz(readers(Path(folder)), rounds, seed):
            refused[isinstance(result, Exception)] += 1
            slowest = max(slowest, seconds)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{rounds} files: {refused[True]} refused, {refused[False]} read, no other error")
    print(f"slowest {slowest:.3f} s, peak memory {memory:.0f} MiB")
