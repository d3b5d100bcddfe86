"""The exact map: split a cosine into the contribution of each token and each patch, without gradients.

A pre-norm tower adds to its pooled row what that row reads from every position, what its networks make of it, and
constants. With the last norm's deviation held at what it is, the feature is the sum of these parts through one matrix:
an identity, with rounding as its only error. The parts of both sides together give the share of every pair of a token
and a patch.
"""

from clipsight.attribution.exact.image import ImageShares, image_shares
from clipsight.attribution.exact.joint import JointShares, directions_of, joined, joint_shares
from clipsight.attribution.exact.text import TextShares, text_shares

__all__ = [
    "ImageShares",
    "JointShares",
    "TextShares",
    "directions_of",
    "image_shares",
    "joined",
    "joint_shares",
    "text_shares",
]
