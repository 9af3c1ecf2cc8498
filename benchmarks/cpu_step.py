"""Compare the time of a training step on the CPU: freed memory kept or not, float32 against bfloat16.

    python benchmarks/cpu_step.py

Settings run alternately, five times each, in separate processes. Prints medians and ranges in milliseconds per crop.
"""

import statistics
import subprocess
import sys

STEP = """
import sys, time
import torch
from lml_iqa import LMLNetwork, LMLPair
from lml_iqa.utils.malloc import keep_freed_memory

memory, precision, backbone, frozen = sys.argv[1:]
if memory == "kept":
    assert keep_freed_memory()
pair = LMLPair(
    LMLNetwork(backbone, pretrained=False, saliency="panel_attention", freeze_backbone=frozen == "frozen", stages=5)
)
optimizer = torch.optim.AdamW(p for p in pair.parameters() if p.requires_grad)
images, size = (8, 128) if frozen == "frozen" else (2, 224)
crops = torch.randint(0, 256, (images, 4, 3, size, size), dtype=torch.uint8)


def step():
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        student, _ = pair(crops)
    (student.quality.mean() + student.embedding.mean()).backward()
    optimizer.step()
    optimizer.zero_grad()
    pair.update_teacher(0.9)


step()
start = time.perf_counter()
for _ in range(5):
    step()
print((time.perf_counter() - start) / 5 / (images * 4) * 1000)
"""

COMPARISONS = [  # slower setting first
    ("default 32 tf_efficientnet_lite0 frozen", "kept 32 tf_efficientnet_lite0 frozen"),
    ("kept 32 tf_efficientnet_lite0 trained", "kept bf16 tf_efficientnet_lite0 trained"),
    ("kept 32 deit3_small_patch16_224 trained", "kept bf16 deit3_small_patch16_224 trained"),
]


def main() -> None:
    """Measure and print all comparisons."""
    for comparison in COMPARISONS:
        times: dict[str, list[float]] = {setting: [] for setting in comparison}
        for _ in range(5):
            for setting, found in times.items():
                run = [sys.executable, "-c", STEP, *setting.split()]
                found.append(float(subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout))
        for setting, found in times.items():
            print(f"{setting:45} {statistics.median(found):5.1f} ms per crop ({min(found):.1f} to {max(found):.1f})")
        slower, faster = (statistics.median(found) for found in times.values())
        print(f"ratio of the medians {slower / faster:.2f}", flush=True)


if __name__ == "__main__":
    main()
