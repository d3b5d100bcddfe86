"""Is this thing damaged, and where?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipsight.features import Recipe
from clipsight.language.states import encode_poles, state_prompts
from clipsight.results import Anomaly
from clipsight.session.encoded import EncodedPicture
from clipsight.tasks.adapt import Adaptation, PatchAdapter
from clipsight.tasks.anomaly import find_anomalies
from clipsight.tasks.views import AnomalyView, choose_views
from clipsight.towers.encode_texts import encode_texts


def anomaly(
    seen: EncodedPicture,
    name: str,
    recipe: str | Recipe = "anoclip",
    *,
    domain: str | Sequence[str] = "auto",
    normal: Sequence[str] | None = None,
    abnormal: Sequence[str] | None = None,
    views: str | Sequence[AnomalyView] = "one",
    temperature: float | None = None,
    adaptation: Adaptation | None = None,
    tiles: bool = False,
) -> Anomaly:
    """A map and a score of damage; see `Lens.anomaly` for the arguments."""
    engine = seen.engine
    chosen = engine.recipe(recipe)
    prompts = state_prompts(name, domain=domain, normal=normal, abnormal=abnormal)
    engine.require_patches(chosen)
    seen_as = choose_views(views)
    poles = engine.remembered(
        prompts,
        lambda: encode_poles(
            lambda texts: encode_texts(engine.text_view, engine.loaded.tokenizer, texts), prompts
        ),
    )
    found = find_anomalies(
        seen.pixels,
        lambda x: engine.features(x, chosen),
        engine.encode_image,
        poles,
        views=seen_as,
        temperature=temperature,
        adapter=None if adaptation is None else PatchAdapter(poles, adaptation),
        tiles=tiles,
        known=None if tiles else seen.features(chosen),
    )
    settings: dict[str, Any] = {**chosen.settings, "media": prompts.media, "tiles": tiles}
    if adaptation is not None:
        settings["adaptation"] = vars(adaptation)
    return Anomaly(
        image=np.asarray(seen.picture),
        name=prompts.name,
        map=found.map.float().cpu(),
        score=found.score,
        view_scores=found.view_scores.float().cpu(),
        views=tuple(view.name for view in seen_as),
        temperature=temperature,
        normal=prompts.normal_states,
        abnormal=prompts.abnormal_states,
        losses=found.losses,
        source=seen.source,
        provenance=seen.provenance(
            recipe=chosen,
            method=chosen.id,
            settings=settings,
            templates=(),
            contrast="none",
            contrast_texts=(),
        ),
    )
