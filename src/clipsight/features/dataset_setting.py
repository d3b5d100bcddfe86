"""The authors' settings of a method for one data set and tower."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DatasetSetting:
    """The authors' settings for one data set and tower; segmentation uses them.

    Attributes:
        benchmark: "VOC21", "PC60", "COCO-Object", "VOC20", "PC59", "COCO-Stuff", "Cityscapes", "ADE20K".
        tower: the tower it was published for.
        short_side: pixels of the picture's short side.
        crop, stride: of the sliding window in pixels; crop 0 is the whole picture.
        logit_scale: on cosines before the softmax over names.
        prob_threshold: pixels whose best probability is below it are background; 0 for data sets without background.
        area_threshold: names with a smaller share of the foreground are removed; 0 keeps all.
        names: "S" SCLIP's class files with synonyms, "P" plain names.
        prompts: template set.
        pamr: steps of pixel-adaptive mask refinement, dilations 8 and 16; 0 is none.
        propagation: side of the grid of text-aware Laplacian propagation; 0 is none.
    """

    benchmark: str
    tower: str = "ViT-B-16"
    short_side: int = 336
    crop: int = 224
    stride: int = 112
    logit_scale: float = 40.0
    prob_threshold: float = 0.0
    area_threshold: float = 0.0
    names: Literal["S", "P"] = "S"
    prompts: str = "IN80"
    pamr: int = 0
    propagation: int = 0


KEYS = {
    "voc21": "VOC21",
    "pc60": "PC60",
    "object": "COCO-Object",
    "voc20": "VOC20",
    "pc59": "PC59",
    "stuff": "COCO-Stuff",
    "city": "Cityscapes",
    "ade": "ADE20K",
}
"""What a data set is called in the id of a variant."""
