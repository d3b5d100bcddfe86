"""Both sides together: the contribution of every pair of a token and a patch to a cosine."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.exact.image import ImageShares, image_shares
from clipsight.attribution.exact.text import TextShares, text_shares
from clipsight.towers.view import OnePieceText, TextParts, VisionView


@dataclass(frozen=True, kw_only=True, eq=False)
class JointShares:
    """The cosines of B pictures with T texts, in parts: `matrix` and `rest` add up to `cosine`.

    Attributes:
        matrix: what token s and patch (y, x) carry together; zero at tokens that are no word's.
        rest: by name, (B, T) each. "class token": read from the class token and registers. "special tokens": read from
            patches, with start token, end token, padding. "image networks" and "text networks": of the networks that
            the pooled rows went through. "constants": biases, and what entered the first block at the pooled rows.
        cosine: of the pooled features.
    """

    matrix: Float[Tensor, "B T S h w"]
    rest: dict[str, Float[Tensor, "B T"]]
    cosine: Float[Tensor, "B T"]

    @property
    def error(self) -> Float[Tensor, "B T"]:
        """|sum of all parts − cosine|: rounding, about 1e-6 in float32."""
        rest = torch.stack(list(self.rest.values())).sum(0)
        return (self.matrix.sum((-3, -2, -1)) + rest - self.cosine).abs()


def joint_shares(
    vision: VisionView,
    parts: TextParts | OnePieceText,
    images: Float[Tensor, "B 3 H W"],
    ids: Int[Tensor, "T S"],
    content: Bool[Tensor, "T S"],
    *,
    differentiable: bool = False,
) -> JointShares:
    """Which token is matched by which patch, and how much of the cosine belongs to no pair?

    One pass of each tower.

    Args:
        vision: the image tower. parts: the text tower, opened.
        images: normalised pixels.
        ids: token ids; may be cut behind the last end token where the tower is `cuttable`.
        content: True at the tokens of words.
        differentiable: keep the graph.

    Raises:
        Unsupported: one of the towers has no affine end; the message says why.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable):
        text = text_shares(parts, ids, differentiable=differentiable)
        directions = directions_of(text, content)
        image = image_shares(vision, images, directions, differentiable=differentiable)
        return joined(image, text, content)


def directions_of(text: TextShares, content: Bool[Tensor, "T S"]) -> Float[Tensor, "C E"]:
    """Directions along which to read a picture for these texts: word tokens, then four parts of each text."""
    words = F.pad(content, (0, text.tokens.shape[1] - content.shape[1]))[..., None]
    everything = text.tokens.sum(1)
    word_sum = (text.tokens * words).sum(1)
    tokens = text.tokens[:, : content.shape[1]][content]
    return torch.cat([tokens, word_sum, everything - word_sum, text.networks, text.constant])


def joined(image: ImageShares, text: TextShares, content: Bool[Tensor, "T S"]) -> JointShares:
    """The joint shares of pictures that were read along `directions_of` the texts."""
    texts, count = len(content), int(content.sum())
    scale = text.feature.norm(dim=-1) * image.feature.norm(dim=-1)[:, None]  # (B, T)
    patches, prefix, networks, constant = (
        rearrange(part[..., count:], "B (part T) -> part B T", T=texts) / scale
        for part in (image.patches.sum((1, 2)), image.prefix, image.networks, image.constant)
    )
    words, special, text_networks, fixed = range(4)
    owner = content.nonzero()[:, 0]
    pairs = rearrange(image.patches[..., :count], "B h w M -> B M h w") / scale[:, owner, None, None]
    matrix = pairs.new_zeros(len(pairs), *content.shape, *pairs.shape[2:])
    matrix[:, content] = pairs
    read, known = patches + prefix, [words, special, fixed]
    return JointShares(
        matrix=matrix,
        rest={
            "class token": prefix[words] + prefix[special],
            "special tokens": patches[special],
            "image networks": networks.sum(0),
            "text networks": read[text_networks] + constant[text_networks],
            "constants": constant[known].sum(0) + read[fixed],
        },
        cosine=F.cosine_similarity(image.feature[:, None], text.feature[None], dim=-1),
    )
