"""Box smoothing: replace every cell by the mean of its neighbourhood."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def smooth_box(maps: Float[Tensor, "B T h w"]) -> Float[Tensor, "B T h w"]:
    """Maps whose cells are the mean of the 3 x 3 cells around them, float32, on the scale of `maps`.

    Beyond the border the nearest cell counts, so a constant map stays as it is. Used for anomaly maps of patches.
    """
    return F.avg_pool2d(F.pad(maps.float(), (1, 1, 1, 1), mode="replicate"), 3, stride=1)
