"""Steps of a method after the cosines: from patch features and texts to scores.

A recipe names its steps, and a step knows how to run itself. `clipsight.features.own_scores` calls first `features` of
all steps, then `apply` of all, in their order. A new step is a class here or in the file of the recipe that brings it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, Protocol

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.features.branches import Bias, Branch, Kernel
from clipsight.features.context import Context
from clipsight.features.image_features import ImageFeatures
from clipsight.features.maps import Given
from clipsight.scoring import pooled_similarity, similarity_maps
from clipsight.scoring.denoising import key_smoothing, prompt_denoising
from clipsight.towers.view import BlockView, VisionView

SEMANTIC = Given("semantic")
"""Map of patches in [0, 1] that the caller brings: how far two patches share a label."""


class ScoredPass(Context, Protocol):
    """What a step can request from the pass that made the features, in addition to maps; see `ImagePass`."""

    view: VisionView
    blocks: Sequence[BlockView]
    recipe: Any

    def keys(self) -> Float[Tensor, "B K N d"]:
        """Keys of the patches in the last block."""
        ...

    def features(self, recipe: Any = None, given: Any = None) -> ImageFeatures:
        """Features, of another recipe on the same trunk if one is given."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What a step works with.

    Attributes:
        run: the pass. images: its normalised pixels.
        texts: those asked about, then distractors; features of any length. count: how many are asked about.
        logit_scale: the model's own factor on cosines.
    """

    run: ScoredPass
    images: Float[Tensor, "B 3 H W"]
    texts: Float[Tensor, "T E"]
    count: int
    logit_scale: float | int

    def map_of_patches(self) -> Float[Tensor, "B N N"]:
        """The recipe's one further map, mean over heads, patches alone."""
        (wanted,) = self.run.recipe.maps
        return self.run.map(wanted).mean(1)[:, self.run.prefix :, self.run.prefix :]


@dataclass(frozen=True)
class ScoreStep:
    """A step towards a method's scores; a subclass overrides one of the two methods."""

    gives_scores: ClassVar[bool] = True
    """False for a step that changes features alone, which are scored like any other afterwards."""
    begins_anew: ClassVar[bool] = False
    """True for a step that makes scores from features, so that those of steps before it would be lost."""

    def features(self, first: ImageFeatures, asked: Asked) -> ImageFeatures:
        """Features of a further pass."""
        return first

    def apply(
        self, scores: Float[Tensor, "B T h w"], features: ImageFeatures, asked: Asked
    ) -> Float[Tensor, "B _ h w"]:
        """The scores after this step; at first they are cosines of all texts."""
        if self.gives_scores:
            raise TypeError(
                f"{type(self).__name__} is not a step: it says nowhere how it scores; give it an `apply`."
            )
        return scores


@dataclass(frozen=True, kw_only=True)
class Feedback(ScoreStep):
    """ResCLIP's second pass: the labels of the first pass reweight the attention of the last block.

    Attributes:
        gain: τ_s on the mixed scores. mix: λ_s, the part of the semantic map in them.
        threshold: pixels whose best probability is below it count as the first text.
        logit_scale: λ on cosines before the softmax over texts.
        path: let a pair's weight fall when the straight line between them leaves the label.
    """

    gives_scores: ClassVar[bool] = False
    gain: float
    mix: float
    threshold: float
    logit_scale: float = 40.0
    path: bool = True

    def kernel(self, kernel: Kernel) -> Kernel:
        """Scores E become τ ((1 - λ) E + λ S), with S the semantic map; biases are added after that, as before."""
        bias = Bias(SEMANTIC, gain=self.gain * self.mix)
        branches = tuple(
            replace(one, gain=one.gain * self.gain * (1 - self.mix), bias=(*one.bias, bias))
            if isinstance(one, Branch)
            else one
            for one in kernel.branches
        )
        return replace(kernel, branches=branches)

    def features(self, first: ImageFeatures, asked: Asked) -> ImageFeatures:
        """Which patches share a label of the first pass enters the last block's scores."""
        from clipsight.refine import feedback_map

        cosines = similarity_maps(first.patches, asked.texts).detach()
        _, together = feedback_map(
            cosines,
            asked.images.detach(),
            logit_scale=self.logit_scale,
            threshold=self.threshold,
            path=self.path,
        )
        highest = together.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(together.dtype).tiny)
        second = replace(asked.run.recipe, kernel=self.kernel(asked.run.recipe.kernel))
        return asked.run.features(second, given={SEMANTIC.name: (together / highest)[:, None]})


@dataclass(frozen=True, kw_only=True)
class KeySmoothing(ScoreStep):
    """MaskCLIP: uncertain patches take over the softmax scores of patches with similar keys."""

    threshold: float = 1.0
    mode: Literal["paper", "compat"] = "paper"

    def apply(
        self, scores: Float[Tensor, "B T h w"], features: ImageFeatures, asked: Asked
    ) -> Float[Tensor, "B T h w"]:
        """Probabilities, smoothed."""
        keys, projected = asked.run.keys(), self.mode == "compat"
        keys = asked.run.blocks[-1].merge(keys) if projected else rearrange(keys, "B K N d -> B N (K d)")
        return key_smoothing(scores, keys, threshold=self.threshold, mode=self.mode)


@dataclass(frozen=True, kw_only=True)
class PromptDenoising(ScoreStep):
    """MaskCLIP: a text that is nowhere probable is excluded."""

    threshold: float = 0.5

    def apply(
        self, scores: Float[Tensor, "B T h w"], features: ImageFeatures, asked: Asked
    ) -> Float[Tensor, "B T h w"]:
        """Scores without such texts."""
        return prompt_denoising(scores, threshold=self.threshold)


@dataclass(frozen=True, kw_only=True)
class AdjustTexts(ScoreStep):
    """RF-CLIP: among similar texts, the one that fits the picture best is moved towards it."""

    begins_anew: ClassVar[bool] = True
    move: float
    cut: float

    def apply(
        self, scores: Float[Tensor, "B T h w"], features: ImageFeatures, asked: Asked
    ) -> Float[Tensor, "B T h w"]:
        """Cosines with the texts as adjusted for each picture."""
        from clipsight.scoring.text_adjust import adjust_texts

        patches = rearrange(features.patches, "B h w E -> B (h w) E")
        moved = adjust_texts(asked.texts, patches, features.pooled, move=self.move, cut=self.cut)
        each = zip(features.patches.split(1), moved, strict=True)
        return torch.cat([similarity_maps(one, texts) for one, texts in each])


@dataclass(frozen=True, kw_only=True)
class MixClass(ScoreStep):
    """RF-CLIP: `share` of the class token's cosine with the text in every patch's."""

    share: float

    def apply(
        self, scores: Float[Tensor, "B T h w"], features: ImageFeatures, asked: Asked
    ) -> Float[Tensor, "B T h w"]:
        """The mixed cosines."""
        from clipsight.scoring.text_adjust import mix_class

        return mix_class(scores, features.pooled, asked.texts, share=self.share)


@dataclass(frozen=True, kw_only=True)
class FilterVocabulary(ScoreStep):
    """FreeCP: texts whose refined map disagrees with their raw map are removed.

    Attributes:
        redundancy: a text is kept if the agreement exceeds it.
        ambiguity: texts whose maps overlap so much are decided between by looking at the crop alone.
    """

    redundancy: float
    ambiguity: float = 0.8

    def apply(
        self, scores: Float[Tensor, "B T h w"], features: ImageFeatures, asked: Asked
    ) -> Float[Tensor, "B T h w"]:
        """Scores without such texts."""
        from clipsight.scoring.filter_vocabulary import affinity, filter_vocabulary

        return filter_vocabulary(
            scores,
            affinity(asked.map_of_patches()),
            redundancy=self.redundancy,
            ambiguity=self.ambiguity,
            scale=asked.logit_scale,
            winner=partial(_winner_of_crop, asked),
        )


@torch.no_grad()
def _winner_of_crop(asked: Asked, index: int, box: tuple[int, int, int, int], group: Sequence[int]) -> int:
    """Which text of the group fits the box of patches best when the tower looks at that alone, at half its own size."""
    view = asked.run.view
    top, left, bottom, right = (side * view.patch[i % 2] for i, side in enumerate(box))
    size = [max(round(side / 2 / p), 1) * p for side, p in zip(view.native_size, view.patch, strict=True)]
    crop = asked.images[index : index + 1, :, top:bottom, left:right]
    crop = F.interpolate(crop, size, mode="bilinear", align_corners=False)
    pooled = view.encode(crop, asked.run.recipe.positions)
    return group[int(pooled_similarity(pooled, asked.texts[list(group)]).argmax())]


@dataclass(frozen=True, kw_only=True)
class LevelScores(ScoreStep):
    """CLIPer: shares of the softmax at every block's read-out, the last one spread by the balanced attention.

    Attributes:
        logit_scale: on cosines before the softmax over texts and distractors, which are its background.
        threshold: of its own highest share, below which a patch of the last read-out counts as 0 before spreading.
    """

    begins_anew: ClassVar[bool] = True
    logit_scale: float = 100.0
    threshold: float = 0.2

    def apply(
        self, scores: Float[Tensor, "B T h w"], features: ImageFeatures, asked: Asked
    ) -> Float[Tensor, "B F h w"]:
        """Shares of the texts that are asked about."""
        from clipsight.scoring.cliper import cliper_scores

        assert features.levels is not None  # the recipe reads every block out
        return cliper_scores(
            features.levels,
            asked.map_of_patches(),
            asked.texts[: asked.count],
            asked.texts[asked.count :],
            logit_scale=self.logit_scale,
            attention_threshold=self.threshold,
        )
