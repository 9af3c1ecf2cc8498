"""Time of a training step on the CPU with and without `lml_iqa.memory.keep_freed_memory`.

    python benchmarks/memory_reuse.py

Each setting runs in a process of its own, in turn, five times; medians and ranges of milliseconds a crop are printed.
"""

import statistics
import subprocess
import sys

STEP = """
import sys, time
import torch
from lml_iqa import LMLNetwork, LMLPair
from lml_iqa.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
pair = LMLPair(
    LMLNetwork("tf_efficientnet_lite0", pretrained=False, saliency="panel_attention", freeze_backbone=True, stages=5)
)
optimizer = torch.optim.AdamW(p for p in pair.parameters() if p.requires_grad)
crops = torch.randint(0, 256, (8, 4, 3, 128, 128), dtype=torch.uint8)


def step():
    student, _ = pair(crops)
    (student.quality.mean() + student.embedding.mean()).backward()
    optimizer.step()
    optimizer.zero_grad()
    pair.update_teacher(0.9)


step()
start = time.perf_counter()
for _ in range(10):
    step()
print((time.perf_counter() - start) / 10 / 32 * 1000)
"""


def main() -> None:
    """Measure and print."""
    times: dict[str, list[float]] = {"default": [], "kept": []}
    for _ in range(5):
        for setting, found in times.items():
            run = [sys.executable, "-c", STEP, setting]
            found.append(float(subprocess.run(run, capture_output=True, text=True, check=True).stdout))
    for setting, found in times.items():
        print(f"{setting:8} {statistics.median(found):5.1f} ms a crop ({min(found):.1f} to {max(found):.1f})")
    print(f"ratio of the medians {statistics.median(times['default']) / statistics.median(times['kept']):.2f}")


if __name__ == "__main__":
    main()
