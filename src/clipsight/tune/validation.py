"""Figures of a model between steps: whether pictures and captions that it is not trained on still find each other."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.tune.data.collate import Collate
from clipsight.tune.data.example import Example
from clipsight.tune.trainer import Encode


class Halves(NamedTuple):
    """N examples as a model sees them: unit features, and which picture and which caption each has, by number."""

    images: Float[Tensor, "N E"]
    texts: Float[Tensor, "N E"]
    picture: Int[Tensor, " N"]
    caption: Int[Tensor, " N"]


@torch.no_grad()
def halves(
    encode: Encode, collate: Collate, rows: Sequence[tuple[int, Example]], device: torch.device, batch: int
) -> Halves:
    """Examples encoded, equal pictures and equal captions under one number."""
    images, texts = [], []
    pictures: dict[int, int] = {}
    captions: dict[str, int] = {}
    picture, caption = [], []
    for start in range(0, len(rows), batch):
        made = collate(rows[start : start + batch])
        features, _ = encode(made.to(device), keep=False)
        images.append(F.normalize(features.image.float(), dim=-1))
        texts.append(F.normalize(features.text.float(), dim=-1))
        for pixels in made.images:
            picture.append(pictures.setdefault(hash(pixels.numpy().tobytes()), len(pictures)))
        for _, example in rows[start : start + batch]:
            caption.append(captions.setdefault(example.caption, len(captions)))
    numbers = (torch.tensor(one, device=device) for one in (picture, caption))
    return Halves(torch.cat(images), torch.cat(texts), *numbers)


def retrieval(
    images: Float[Tensor, "N E"],
    texts: Float[Tensor, "N E"],
    picture: Int[Tensor, " N"],
    caption: Int[Tensor, " N"],
) -> dict[str, float]:
    """R@1 both ways among examples; what has the same picture or the very same caption counts as found."""
    right = (picture[:, None] == picture) | (caption[:, None] == caption)
    similarity = images @ texts.T
    i2t = right.gather(1, similarity.argmax(1, keepdim=True))
    t2i = right.gather(0, similarity.argmax(0, keepdim=True))
    return {"i2t": float(i2t.float().mean()), "t2i": float(t2i.float().mean())}
