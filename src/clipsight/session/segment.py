"""Which of these names fits each pixel best?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from clipsight.features import DatasetSetting, Recipe
from clipsight.language.names import Names, parse_names
from clipsight.refine import guided_upsample, pamr, propagate
from clipsight.results.segmentation import Segmentation
from clipsight.session.encoded import EncodedPicture
from clipsight.session.engine import Engine, Templates
from clipsight.tasks import (
    Background,
    Refinement,
    Windows,
    WindowScores,
    blocks,
    fit_windows,
    place_windows,
    segment_windows,
    window_scores,
)
from clipsight.tasks.background import Policy
from clipsight.towers.preprocess import to_pixels

Window = str | int | tuple[int, int] | None
Progress = Callable[[int, int], None]
GRID = 80
"""Cells a side of the grid that scores are propagated on; published, 224 for Cityscapes."""
LOGIT_SHARE = 0.4
"""Part of the model's logit scale that cosines of patches are multiplied by: the published 40 of OpenAI's 100."""


@dataclass(frozen=True, kw_only=True)
class SegmentationPlan:
    """How a picture is to be segmented, everything decided."""

    short_side: int
    crop: int
    stride: int
    logit_scale: float
    area: float
    background: Background


def segment(
    seen: EncodedPicture,
    names: Names | Sequence[str] | Mapping[str, str | Sequence[str] | None],
    recipe: str | Recipe | None = None,
    window: Window = "auto",
    background: Policy = None,
    refine: str | Refinement | None = None,
    *,
    templates: Templates = "auto",
    short_side: int | None = None,
    logit_scale: float | None = None,
    area: float | None = None,
    batch: int = 8,
    progress: Progress | None = None,
) -> Segmentation:
    """Labels of all pixels; see `Lens.segment` for the arguments."""
    engine, picture = seen.engine, seen.picture
    chosen = engine.recipe(default_recipe(engine) if recipe is None else recipe)
    engine.require_patches(chosen)
    refiner = _refinement_name(refine, chosen.setting)
    plan = plan_segmentation(
        engine, picture, chosen.setting, window, background, short_side, logit_scale, area
    )
    asked = plan.background.names(parse_names(names))
    prompts = engine.templates(templates, "IN80")
    texts = engine.encode_text(asked.queries, prompts or None)
    fitted, windows = lay_windows(engine, picture, plan)
    made = _scores(seen, chosen, texts, windows, batch, progress)
    present, why = None, ""
    if plan.background.presence is not None:
        present, why = _presence(seen, asked, texts, prompts)
    found = segment_windows(
        made.scores,
        windows,
        asked,
        (picture.height, picture.width),
        logit_scale=plan.logit_scale,
        background=plan.background,
        area=plan.area,
        presence=present,
        refine=None if refiner is None else refinement(refiner, engine, picture, texts, chosen.setting),
    )
    notes = [*fitted.notes, *asked.notes, *made.notes, *found.notes]
    if len(asked.queries) == 1:
        notes.append("One name alone has no rival and wins every pixel for certain; give further names.")
    if why:
        notes.append(f"Presence was not measured: {why}.")
    return Segmentation(
        image=np.asarray(picture),
        classes=asked.classes,
        words=asked.words,
        background=asked.background,
        labels=found.labels.cpu(),
        probability=found.probability.cpu(),
        scores=found.scores.cpu(),
        areas=found.areas.cpu(),
        source=seen.source,
        provenance=seen.provenance(
            recipe=chosen,
            size=fitted.size,
            notes=notes,
            method=chosen.id,
            settings={**chosen.settings, **_settings(plan, refiner)},
            templates=prompts,
            contrast="none",
            contrast_texts=(),
            grid=tuple(made.scores.shape[-2:]),
        ),
    )


def default_recipe(engine: Engine) -> str:
    """SC-CLIP where its block numbers are published, else a method of the last block that has none."""
    depth = 0 if engine.vision is None else len(engine.vision.blocks)
    return "sc_clip" if depth in (12, 24) else "naclip"


def plan_segmentation(
    engine: Engine,
    picture: Image.Image,
    setting: DatasetSetting | None,
    window: Window,
    background: Policy,
    short_side: int | None,
    logit_scale: float | None,
    area: float | None,
) -> SegmentationPlan:
    """What the arguments, the recipe's data-set setting and the model's size come to, the former before the latter."""
    native = min(engine.loaded.preprocess.size)
    if window == "auto" and setting is None and min(picture.size) <= native:
        window = "whole"  # windows would only enlarge what there is to see
    crop, stride = _window(window, setting, engine)
    policy = Background.of(background)
    if background is None and setting is not None:
        policy = replace(policy, threshold=setting.prob_threshold)
    own_scale = LOGIT_SHARE * engine.logit_scale if setting is None else setting.logit_scale
    default_side = (native if not crop else native * 3 // 2) if setting is None else setting.short_side
    return SegmentationPlan(
        short_side=default_side if short_side is None else short_side,
        crop=crop,
        stride=stride,
        logit_scale=float(own_scale if logit_scale is None else logit_scale),
        area=float((0.0 if setting is None else setting.area_threshold) if area is None else area),
        background=policy,
    )


def lay_windows(engine: Engine, picture: Image.Image, plan: SegmentationPlan) -> tuple[Any, Windows]:
    """The size at which the picture is seen, and the windows on it."""
    assert engine.vision is not None
    patch = engine.vision.patch
    fitted = fit_windows((picture.height, picture.width), plan.short_side, plan.crop, patch)
    return fitted, place_windows(fitted.size, plan.crop, plan.stride, patch)


def refinement(
    refine: str | Refinement,
    engine: Engine,
    picture: Image.Image,
    texts: Float[Tensor, "Q E"],
    setting: DatasetSetting | None = None,
) -> Refinement:
    """A refinement by name, guided by the picture at its own size.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(refine, Refinement):
        return refine
    known = ("pamr", "propagation", "guided")
    if refine not in known:
        raise ValueError(
            f"refine={refine!r} is unknown; give one of {', '.join(known)}, or a clipsight.tasks.Refinement."
        )
    guide = to_pixels(picture, (picture.height, picture.width), engine.loaded.preprocess).to(engine.device)
    if refine == "pamr":
        return Refinement(function=lambda maps: pamr(maps[None], guide)[0], name=refine)
    if refine == "guided":
        return Refinement(function=lambda maps: guided_upsample(maps[None], guide)[0], name=refine)
    grid = setting.propagation if setting is not None and setting.propagation else GRID
    small = F.avg_pool2d(guide.float(), blocks((picture.height, picture.width), grid))
    return Refinement(
        function=lambda maps: propagate(maps[None], small, texts.float(), grid=max(maps.shape[-2:]))[0],
        name=refine,
        grid=grid,
    )


@torch.no_grad()
def _scores(
    seen: EncodedPicture,
    recipe: Recipe,
    texts: Float[Tensor, "Q E"],
    windows: Windows,
    batch: int,
    progress: Progress | None,
) -> WindowScores:
    """Scores of the queries in the windows: the method's own where it has some, else cosines of its features.

    One window over the picture at the size at which it is seen already is what was encoded for other questions.
    """
    engine = seen.engine
    if len(windows) == 1 and windows.size == seen.size:
        scores = rearrange(seen.maps(recipe, texts)[0].float(), "1 Q h w -> Q 1 h w")
        if progress:
            progress(1, 1)
        return WindowScores(scores=scores)
    pixels = to_pixels(seen.picture, windows.size, engine.loaded.preprocess).to(engine.device, engine.dtype)
    return window_scores(
        pixels,
        windows,
        lambda x: engine.maps(x, texts, recipe, kind="none", contrast_texts=None),
        batch=batch,
        progress=progress,
    )


def _window(window: Window, setting: DatasetSetting | None, engine: Engine) -> tuple[int, int]:
    """(crop, stride) in pixels; crop 0 is the whole picture."""
    assert engine.vision is not None
    patch = max(engine.vision.patch)
    if window == "auto" and setting is not None:
        return setting.crop, setting.stride
    if window == "auto":
        crop = min(engine.loaded.preprocess.size) // patch * patch
        return crop, max(crop // 2, 1)
    if window is None or window == "whole" or window == 0:
        return 0, 0
    if isinstance(window, str):
        raise ValueError(
            f'window={window!r} is unknown; give "auto", "whole", the window\'s pixels, or (window, stride).'
        )
    if isinstance(window, int):
        return window, max(window // 2, 1)
    crop, stride = window
    return crop, stride


def _presence(
    seen: EncodedPicture, names: Names, texts: Float[Tensor, "Q E"], prompts: tuple[str, ...]
) -> tuple[Float[Tensor, " C"], str]:
    """How present each class is in the whole picture: as its most present word."""
    found, why = seen.engine.presence(seen.pooled(), names.queries, texts, prompts)
    best = torch.full((len(names),), -torch.inf)
    return best.scatter_reduce(0, torch.tensor(names.owner), found.float(), "amax"), why


def _refinement_name(
    refine: str | Refinement | None, setting: DatasetSetting | None
) -> str | Refinement | None:
    """What refines: as asked, else as the data-set variant says."""
    if refine is not None or setting is None:
        return None if refine == "none" else refine
    return "propagation" if setting.propagation else "pamr" if setting.pamr else None


def _settings(plan: SegmentationPlan, refine: str | Refinement | None) -> dict[str, Any]:
    """The plan as plain data for a result's provenance."""
    policy = plan.background
    return {
        "window": {"short_side": plan.short_side, "crop": plan.crop, "stride": plan.stride},
        "logit_scale": plan.logit_scale,
        "area_threshold": plan.area,
        "background": {"words": policy.words, "threshold": policy.threshold, "presence": policy.presence},
        "refine": refine.name if isinstance(refine, Refinement) else refine,
    }
