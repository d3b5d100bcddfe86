"""The exact map of the image side: what the pooled feature takes from each patch, as its share of the score."""

from einops import rearrange

from clipsight.attribution.exact.image import image_shares
from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.sources import DIRECT_EFFECTS, EXACT
from clipsight.errors import Unsupported
from clipsight.towers.view import VisionView


def _needs(view: VisionView) -> str:
    try:
        view.pooling()
    except Unsupported as error:
        return str(error)
    return ""


@image_attribution(
    "exact",
    summary="Ours: what the pooled feature read from each patch, as its share of the cosine; an identity.",
    unit="share of the cosine", signed=True, linear=True, gradients=False, needs=_needs,
    sources=(EXACT, DIRECT_EFFECTS),
)  # fmt: skip
def exact(question: ImageQuestion) -> ImageAnswer:
    """Shares of s; those of class token, networks and constants, which are no patch's, are left out.

    See `clipsight.attribution.exact`: with them the shares add up to s.
    """
    shares = image_shares(
        question.view,
        question.images,
        question.directions,
        differentiable=question.live,
        tokens=question.tokens,
    )
    length = shares.feature.norm(dim=-1)[:, None, None, None]
    return ImageAnswer(maps=rearrange(shares.patches, "B h w T -> B T h w") / length, pooled=shares.feature)
