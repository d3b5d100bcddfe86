"""Maps and labels inside given masks: one vote, or one mean, per mask.

Masks come from the caller, for instance from a promptable segmenter; `sam_masks` asks SAM or SAM 2 through
transformers, where that is installed. A mask whose pixels do not agree can be refused: then the coarse labels stand
there, and the result says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from clipsight.checkpoints.transformers_files import check_folder
from clipsight.errors import Unsupported


@dataclass(frozen=True, kw_only=True, eq=False)
class Voted:
    """Labels after the vote.

    Attributes:
        labels: at every pixel; outside all accepted masks as they were.
        winners: label of each mask, -1 where it had no pixel that votes.
        agreement: share of the voting pixels that had it, NaN without any.
        accepted: whether the mask was used.
    """

    labels: Int[Tensor, "H W"]
    winners: Int[Tensor, " M"]
    agreement: Float[Tensor, " M"]
    accepted: Bool[Tensor, " M"]


def mask_vote(
    labels: Int[Tensor, "H W"],
    masks: Bool[Tensor, "M H W"],
    *,
    least: float | int = 0.0,
    ignore: int | None = None,
) -> Voted:
    """Every pixel of a mask takes the label that most of the mask's pixels have.

    Votes are counted on the labels as they came. Where masks overlap the smaller one is on top: a part is drawn over
    its whole.

    Args:
        labels: 0 or more.
        masks: of the same size, any number.
        least: the share of the voting pixels that a winner must have; below it the mask is refused. Of tied labels the
            smallest wins.
        ignore: a label that does not vote, such as 255 for "unknown".

    Raises:
        ValueError: another size of masks, a negative label, or a share outside [0, 1].
    """
    _check_masks(masks, (labels.shape[0], labels.shape[1]))
    if not 0 <= least <= 1:
        raise ValueError(f"least={least} is a share of a mask's pixels; give 0 … 1, such as 0.5.")
    if labels.numel() and int(labels.min()) < 0:
        raise ValueError(
            f"labels run from {int(labels.min())}, but count from 0; write unlabelled pixels as 255 and pass "
            "ignore=255."
        )
    painted, masks = labels.clone(), masks.to(labels.device)
    winners = torch.full((len(masks),), -1, dtype=torch.long)
    agreement = torch.full((len(masks),), torch.nan)
    for index, mask in enumerate(masks):
        votes = labels[mask]
        votes = votes if ignore is None else votes[votes != ignore]
        if len(votes):
            counts = torch.bincount(votes.long())
            winners[index] = int(counts.argmax())
            agreement[index] = float(counts.max()) / len(votes)
    accepted = agreement >= least
    for index in _large_to_small(masks):
        if accepted[index]:
            painted[masks[index]] = winners[index].to(painted)
    return Voted(labels=painted, winners=winners, agreement=agreement, accepted=accepted)


def mask_mean(
    maps: Float[Tensor, "T H W"], masks: Bool[Tensor, "M H W"]
) -> tuple[Float[Tensor, "T H W"], Float[Tensor, "M T"]]:
    """Maps whose pixels take the mean of their mask, and the means; float32, on the scale of `maps`.

    Outside all masks the maps are as they were. Where masks overlap the smaller one is on top. An empty mask has the
    mean NaN and changes nothing.

    Raises:
        ValueError: another size of masks.
    """
    _check_masks(masks, (maps.shape[1], maps.shape[2]))
    painted, values, masks = maps.float().clone(), maps.float(), masks.to(maps.device)
    # one mask at a time: all of them as numbers would take four bytes for every mask and pixel
    means = (
        torch.stack([values[:, mask].mean(1) for mask in masks])
        if len(masks)
        else values.new_zeros(0, len(maps))
    )
    for index in _large_to_small(masks):
        if masks[index].any():
            painted[:, masks[index]] = rearrange(means[index], "T -> T 1")
    return painted, means


@dataclass(frozen=True, kw_only=True, eq=False)
class SamMasks:
    """Candidate masks of one object, best first, made by a segmenter from points."""

    masks: Bool[Tensor, "M H W"]
    scores: Float[Tensor, " M"]  # what the segmenter itself thinks of each, about its overlap with the truth


def sam_masks(
    image: Image.Image,
    xy: Int[np.ndarray, "P 2"],
    labels: Int[np.ndarray, " P"],
    *,
    model: str = "facebook/sam-vit-base",
    device: str | torch.device = "cpu",
    loaded: Sequence[Any] | None = None,
) -> SamMasks:
    """Masks of the object marked by these points, by SAM or SAM 2 through transformers.

    Args:
        image: RGB.
        xy: (x, y) pixels of the picture; `explanation.points(text).xy`.
        labels: 1 on the thing, 0 off it.
        model: name or folder of a SAM or SAM 2 checkpoint in transformers' format.
        device: where it runs.
        loaded: (model, processor) that are there already, to ask again without loading; `model` is then not read.

    Returns:
        All candidates of the segmenter at the size of the picture, on the CPU.

    Raises:
        Unsupported: transformers is not installed or too old for SAM 2, or `model` is of another kind.
        ValueError: no points, or as many labels as points are not there. OSError: weights that cannot be had.
    """
    if not len(xy) or len(xy) != len(labels):
        raise ValueError(
            f"{len(xy)} points and {len(labels)} labels; a segmenter needs at least one point and a label for each. A "
            "map without a clear peak gives no points: do not ask then."
        )
    network, processor = load_sam(model, device) if loaded is None else loaded
    points, marks = np.asarray(xy).tolist(), np.asarray(labels).tolist()
    second = _is_second(network.config.model_type)
    # picture → (SAM 2: object →) point → (x, y)
    asked = ([[points]], [[marks]]) if second else ([points], [marks])
    inputs = processor(images=image, input_points=asked[0], input_labels=asked[1], return_tensors="pt").to(
        device
    )
    with torch.no_grad():
        outputs = network(**inputs)
    sizes = inputs["original_sizes"].cpu()
    if second:
        made = processor.post_process_masks(outputs.pred_masks.cpu(), sizes)
    else:
        seen = inputs["reshaped_input_sizes"].cpu()
        made = processor.image_processor.post_process_masks(outputs.pred_masks.cpu(), sizes, seen)
    masks = rearrange(made[0], "one M H W -> (one M) H W").bool()
    scores = outputs.iou_scores.detach().float().cpu().flatten()
    order = scores.argsort(descending=True, stable=True)
    return SamMasks(masks=masks[order], scores=scores[order])


def load_sam(model: str, device: str | torch.device = "cpu") -> tuple[Any, Any]:
    """(model, processor) of a SAM or SAM 2 checkpoint, for `sam_masks(loaded=…)`; errors as there."""
    try:
        library: Any = import_module("transformers")
    except ImportError:
        raise Unsupported(
            f"masks were asked of {model}, which runs through transformers, and that is not installed; type "
            "`pip install 'clipsight[hf]'`, or pass masks of your own to mask_vote."
        ) from None
    if Path(model).is_dir():
        check_folder(Path(model))
    kind = library.AutoConfig.from_pretrained(model, trust_remote_code=False).model_type
    names = ("Sam2Model", "Sam2Processor") if _is_second(kind) else ("SamModel", "SamProcessor")
    if kind != "sam" and not _is_second(kind):
        raise Unsupported(
            f"{model} is of the kind {kind!r}, not a SAM or SAM 2; give one such as facebook/sam-vit-base or "
            "facebook/sam2.1-hiera-tiny."
        )
    if not all(hasattr(library, name) for name in names):
        raise Unsupported(
            f"{model} is a SAM 2, and the installed transformers {library.__version__} has none; type "
            "`pip install -U transformers` (4.56 or newer)."
        )
    network, processor = (
        getattr(library, name).from_pretrained(model, trust_remote_code=False) for name in names
    )
    return network.to(device).eval(), processor


def _is_second(kind: str) -> bool:
    """Whether a model type of transformers is SAM 2; its checkpoints call themselves sam2_video."""
    return kind in ("sam2", "sam2_video")


def _check_masks(masks: Tensor, size: tuple[int, int]) -> None:
    if tuple(masks.shape[1:]) != size:
        raise ValueError(
            f"masks of {tuple(masks.shape[1:])} pixels (rows, columns) do not lie on maps of {size}; bring the maps to "
            "the masks' size first."
        )


def _large_to_small(masks: Bool[Tensor, "M H W"]) -> list[int]:
    return masks.sum((1, 2)).argsort(descending=True, stable=True).tolist()
