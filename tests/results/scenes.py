"""Made results for the tests of drawings and files: a textured picture and blob maps."""

from dataclasses import replace

import numpy as np
import torch

from clipsight.results import Explanation, Provenance

PROVENANCE = Provenance(
    model="clipsight-tiny",
    pretrained=None,
    fingerprint="3f9a12bc",
    method="clip_surgery",
    settings={"depth": 6, "maps": ("vv",)},
    templates=("a photo of a {}",),
    contrast="names",
    contrast_texts=("dog", "cat"),
    grid=(14, 14),
    size=(112, 112),
    versions={"clipsight": "0.1.0", "torch": "2.9"},
    notes=("The long side was limited.",),
)


def explanation(
    texts=("a dog", "a red car", "person"), *, grid=(14, 14), image=(96, 128), contrast="names", **fields
) -> Explanation:
    """Maps are one blob for each text over seeded noise, signed."""
    rng = np.random.default_rng(len(texts))
    h, w = grid
    rows, columns = np.mgrid[:h, :w]
    maps = rng.normal(-0.02, 0.01, (len(texts), h, w))
    for k in range(len(texts)):
        y, x = rng.integers(h), rng.integers(w)
        maps[k] += 0.25 * np.exp(-(((rows - y) / h * 5) ** 2 + ((columns - x) / w * 5) ** 2))
    made = {
        "image": rng.integers(0, 256, (*image, 3), dtype=np.uint8),
        "texts": tuple(texts),
        "maps": torch.tensor(maps, dtype=torch.float32),
        "similarity": torch.linspace(0.3, 0.1, len(texts)),
        "presence": torch.linspace(0.97, 0.05, len(texts)),
        "presence_reason": "",
        "trust": tuple(f"“{t}” is present." for t in texts),
        "source": "photo.jpg",
        "provenance": replace(PROVENANCE, grid=grid, contrast=contrast),
    }
    return Explanation(**made | fields)
