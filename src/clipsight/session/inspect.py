"""What is in a picture, and what is wrong with it: tags, anomalies, a sentence's words. `Lens` calls these."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from clipsight.features import Recipe
from clipsight.language.states import encode_poles, state_prompts
from clipsight.language.tokens import check_texts
from clipsight.results import Anomaly, Tags
from clipsight.scoring import pooled_similarity
from clipsight.scoring.choice import same_names
from clipsight.session.engine import Engine, Templates
from clipsight.tasks.adapt import Adaptation, PatchAdapter
from clipsight.tasks.anomaly import find_anomalies
from clipsight.tasks.sentence import SentenceView, explain_sentence
from clipsight.tasks.tags import tag_presence, tag_scores
from clipsight.tasks.views import AnomalyView, choose_views
from clipsight.towers.encode_texts import encode_texts
from clipsight.towers.preprocess import Resolution


@torch.no_grad()
def tag(
    engine: Engine,
    picture: Image.Image,
    source: str,
    labels: Sequence[str],
    *,
    templates: Templates = "auto",
    resolution: Resolution = "native",
) -> Tags:
    """Which of these labels are in the picture; see `Lens.tag`."""
    asked, prompts = check_texts(labels), engine.templates(templates, "IN80")
    fitted = engine.fit(picture, resolution)
    pooled = engine.encode_image(engine.pixels(picture, fitted))
    texts = engine.encode_text(asked, prompts or None)
    names = engine.card.contrast_vocabulary
    others = engine.encode_text(names, prompts or None) if names else None
    same = same_names(asked, names) if names else None
    new = others[~same.any(0)] if others is not None and same is not None else None
    present, why = tag_presence(pooled, texts, engine.logit_scale, others, same)
    return Tags(
        labels=asked,
        scores=tag_scores(pooled, texts, new)[0].float().cpu(),
        similarity=pooled_similarity(pooled, texts)[0].cpu(),
        presence=present[0].float().cpu(),
        presence_reason=why,
        source=source,
        image=np.asarray(picture),
        provenance=engine.provenance(
            method="tag",
            settings={"logit_scale": engine.logit_scale},
            templates=prompts,
            contrast="labels" if new is None else "names",
            contrast_texts=() if new is None else names,
            grid=engine.card.grid or (0, 0),
            size=fitted.size,
            notes=(*fitted.notes, *engine.card.notes, *engine.cut_notes(asked)),
        ),
    )


def anomaly(
    engine: Engine,
    picture: Image.Image,
    source: str,
    name: str,
    *,
    recipe: str | Recipe = "anoclip",
    domain: str | Sequence[str] = "auto",
    normal: Sequence[str] | None = None,
    abnormal: Sequence[str] | None = None,
    views: str | Sequence[AnomalyView] = "one",
    temperature: float | None = None,
    adaptation: Adaptation | None = None,
    tiles: bool = False,
    resolution: Resolution = "native",
) -> Anomaly:
    """Is this thing damaged, and where; see `Lens.anomaly`."""
    chosen, prompts = (
        engine.recipe(recipe),
        state_prompts(name, domain=domain, normal=normal, abnormal=abnormal),
    )
    engine.require_patches(chosen)
    seen_as = choose_views(views)
    poles = engine.remembered(
        prompts,
        lambda: encode_poles(
            lambda said: encode_texts(engine.text_view, engine.loaded.tokenizer, said), prompts
        ),
    )
    fitted = engine.fit(picture, resolution)
    found = find_anomalies(
        engine.pixels(picture, fitted),
        lambda x: engine.features(x, chosen),
        engine.encode_image,
        poles,
        views=seen_as,
        temperature=temperature,
        adapter=None if adaptation is None else PatchAdapter(poles, adaptation),
        tiles=tiles,
    )
    settings: dict[str, Any] = {**chosen.settings, "media": prompts.media, "tiles": tiles}
    if adaptation is not None:
        settings["adaptation"] = vars(adaptation)
    return Anomaly(
        image=np.asarray(picture),
        name=prompts.name,
        map=found.map.float().cpu(),
        score=found.score,
        view_scores=found.view_scores.float().cpu(),
        views=tuple(view.name for view in seen_as),
        temperature=temperature,
        normal=prompts.normal_states,
        abnormal=prompts.abnormal_states,
        losses=found.losses,
        source=source,
        provenance=engine.provenance(
            method=chosen.id,
            settings=settings,
            templates=(),
            contrast="none",
            contrast_texts=(),
            grid=engine.card.grid or (0, 0),
            size=fitted.size,
            notes=(*fitted.notes, *engine.fit_notes(chosen), *engine.card.notes),
        ),
    )


@torch.no_grad()
def sentence(
    engine: Engine,
    picture: Image.Image,
    text: str,
    *,
    recipe: str | Recipe = "clip_surgery",
    resolution: Resolution = "native",
) -> SentenceView:
    """Which words of a sentence does the picture bear out, and where; see `Lens.sentence`."""
    features = engine.features(engine.pixels(picture, engine.fit(picture, resolution)), engine.recipe(recipe))
    return explain_sentence(
        features.patches, features.pooled, engine.text_view, engine.loaded.tokenizer, text
    )
