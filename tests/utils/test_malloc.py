import subprocess
import sys

import pytest

STEP = """
import resource, sys
import torch
from lml_iqa.utils.malloc import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()


def faults():
    for _ in range(20):
        torch.ones(16 * 2**20)  # 64 MB, written and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


before = faults()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_reused():
    def faults(setting):
        run = subprocess.run([sys.executable, "-c", STEP, setting], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert faults("kept") < faults("default") / 10
