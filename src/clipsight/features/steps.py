"""How a method's cosines become its own scores, and the authors' settings for one data set."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScoreStep:
    """A step from cosines to a method's own scores; `clipsight.features.own_scores` runs them."""


@dataclass(frozen=True, kw_only=True)
class Feedback(ScoreStep):
    """ResCLIP's second pass: the first pass's labels weigh the attention of the last block anew.

    Attributes:
        gain: τ_s on the mixed scores. mix: λ_s, the part of the semantic map in them.
        threshold: pixels whose best probability is below it count as the first text.
        logit_scale: λ on cosines before the softmax over texts.
        path: let a pair's weight fall when the straight line between them leaves the label.
    """

    gain: float
    mix: float
    threshold: float
    logit_scale: float = 40.0
    path: bool = True


@dataclass(frozen=True, kw_only=True)
class KeySmoothing(ScoreStep):
    """MaskCLIP: unsure patches take the softmax scores of patches with like keys."""

    threshold: float = 1.0
    mode: Literal["paper", "compat"] = "paper"


@dataclass(frozen=True, kw_only=True)
class PromptDenoising(ScoreStep):
    """MaskCLIP: a text that is nowhere sure of itself is shut out."""

    threshold: float = 0.5


@dataclass(frozen=True, kw_only=True)
class AdjustTexts(ScoreStep):
    """RF-CLIP: of texts that are close to each other, the one that fits the picture best moves towards it."""

    move: float
    cut: float


@dataclass(frozen=True, kw_only=True)
class MixClass(ScoreStep):
    """RF-CLIP: `share` of the class token's cosine with the text in every patch's."""

    share: float


@dataclass(frozen=True, kw_only=True)
class FilterVocabulary(ScoreStep):
    """FreeCP: texts whose refined map disagrees with their raw one are taken out.

    Attributes:
        redundancy: a text is kept if the agreement exceeds it.
        ambiguity: texts whose maps overlap so much are decided between by looking at the crop alone.
    """

    redundancy: float
    ambiguity: float = 0.8


@dataclass(frozen=True, kw_only=True)
class LevelScores(ScoreStep):
    """CLIPer: shares of the softmax at every block's read-out, the last one spread by the balanced attention.

    Attributes:
        logit_scale: on cosines before the softmax over texts and distractors.
        threshold: of its own highest share, below which a patch of the last read-out counts as 0 before spreading.
    """

    logit_scale: float = 100.0
    threshold: float = 0.2


@dataclass(frozen=True, kw_only=True)
class DatasetSetting:
    """What the authors set for one data set and tower; segmentation reads it.

    Attributes:
        benchmark: "VOC21", "PC60", "COCO-Object", "VOC20", "PC59", "COCO-Stuff", "Cityscapes", "ADE20K".
        tower: the tower it was published for.
        short_side: pixels of the picture's short side.
        crop, stride: of the sliding window in pixels; crop 0 is the whole picture.
        logit_scale: on cosines before the softmax over names.
        prob_threshold: pixels whose best probability is below it are background; 0 for data sets without background.
        area_threshold: names with a smaller share of the foreground are taken out; 0 keeps all.
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
