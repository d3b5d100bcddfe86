"""Refine maps by the picture or by the similarity of patches: pure functions, independent of any model."""

from clipsight.refine.box import smooth_box
from clipsight.refine.cluster_vote import (
    ClusterRule,
    auto_radius,
    cluster_patches,
    cluster_setting,
    cluster_vote,
    denoise_correlation,
    region_map,
    vote,
)
from clipsight.refine.feedback import feedback_map, patch_labels, semantic_map
from clipsight.refine.guided import bilateral_upsample, guided_upsample
from clipsight.refine.mask_vote import SamMasks, Voted, load_sam, mask_mean, mask_vote, sam_masks
from clipsight.refine.pamr import pamr
from clipsight.refine.propagation import Coupling, propagate, text_coupling

__all__ = [
    "ClusterRule",
    "Coupling",
    "SamMasks",
    "Voted",
    "auto_radius",
    "bilateral_upsample",
    "cluster_patches",
    "cluster_setting",
    "cluster_vote",
    "denoise_correlation",
    "feedback_map",
    "guided_upsample",
    "load_sam",
    "mask_mean",
    "mask_vote",
    "pamr",
    "patch_labels",
    "propagate",
    "region_map",
    "sam_masks",
    "semantic_map",
    "smooth_box",
    "text_coupling",
    "vote",
]
