"""S7: extra memory of feature surgery at 512 px with 171 labels against its 4-D definition; target <= 1/100."""

import resource
import subprocess
import sys

import torch
from timing import report

from clipsight.scoring import feature_surgery

GRID, LABELS, WIDTH = 32, 171, 512


def definition(patches: torch.Tensor, pooled: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """The formula of arXiv 2304.05653: the (N, T, E) product, its mean over texts taken away, summed over E."""
    image, text = (torch.nn.functional.normalize(x, dim=-1) for x in (patches.reshape(-1, WIDTH), texts))
    p = (2 * torch.nn.functional.normalize(pooled, dim=-1) @ text.T).softmax(-1)
    product = image[:, None] * text[None] * (p / p.mean())[0, None, :, None]
    return (product - product.mean(1, keepdim=True)).sum(-1)


def peak(which: str) -> int:
    """Bytes by which the peak of a fresh process rises while it scores."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(1, GRID, GRID, WIDTH, generator=generator)
    pooled, texts = (
        torch.randn(1, WIDTH, generator=generator),
        torch.randn(LABELS, WIDTH, generator=generator),
    )
    (feature_surgery if which == "ours" else definition)(
        patches[:, :2, :2], pooled, texts
    )  # libraries load their buffers
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (feature_surgery if which == "ours" else definition)(patches, pooled, texts)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


if len(sys.argv) > 1 and sys.argv[1] in ("ours", "definition"):
    print(peak(sys.argv[1]))
else:
    ours, theirs = (
        int(
            subprocess.run(
                [sys.executable, __file__, which], capture_output=True, text=True, check=True
            ).stdout
        )
        for which in ("ours", "definition")
    )
    report("S7", [{"work": "feature surgery, 512 px, 171 labels", "baseline": "4-D definition", "ours_MB": ours / 1e6,
                   "baseline_MB": theirs / 1e6, "ratio": ours / theirs, "target": 0.01}])  # fmt: skip
