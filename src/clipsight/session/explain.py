"""Where in a picture does the model see these words?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from clipsight.features import Recipe
from clipsight.language.tokens import check_texts
from clipsight.results import Explanation
from clipsight.scoring import pooled_similarity
from clipsight.scoring.choice import Contrast, choose_contrast
from clipsight.scoring.presence import MIN_NAMES
from clipsight.scoring.trust import trust_line
from clipsight.session.attributed import attributed, directions, facts_of, is_attribution
from clipsight.session.encoded import EncodedPicture, finite_notes
from clipsight.session.engine import Templates

_FLAT = 1e-7
"""Maps that vary by less are the same everywhere."""


@torch.no_grad()
def explain(
    seen: EncodedPicture,
    texts: Sequence[str],
    method: str | Recipe = "clip_surgery",
    contrast: Contrast = "auto",
    templates: Templates = "auto",
) -> Explanation:
    """Maps of texts; see `Lens.explain` for the arguments."""
    engine, asked = seen.engine, check_texts(texts)
    attribution = str(method) if is_attribution(method) else ""
    recipe = None if attribution else engine.recipe(method)
    prompts = engine.templates(templates, None)
    against = choose_contrast(contrast, len(asked), asked, engine.card.contrast_vocabulary)
    text_features = engine.encode_text(asked, prompts or None)
    others = engine.contrast_features(against.kind, against.names, prompts)
    made = against.kind
    if recipe is None:
        scored, pooled = _attributed(seen, attribution, directions(text_features, made, others))
        facts: dict[str, Any] = {"method": attribution, "settings": facts_of(attribution)}
    else:
        scored, features = seen.maps(recipe, text_features, made, others)
        pooled, facts = features.pooled, {"method": recipe.id, "settings": recipe.settings}
        if recipe.has_own_scores and made != "names":
            made = "none"  # its own scores are contrasted with nothing
    maps = scored[0].cpu()
    vocabulary = (
        against.names if len(against.names) >= MIN_NAMES else engine.card.contrast_vocabulary or against.names
    )
    presence, reason = engine.presence(pooled, asked, text_features, prompts, vocabulary)
    return Explanation(
        image=np.asarray(seen.picture),
        texts=asked,
        maps=maps,
        similarity=pooled_similarity(pooled, text_features)[0].cpu(),
        presence=presence,
        presence_reason=reason,
        trust=tuple(
            trust_line(
                float(present),
                names=len(vocabulary),
                contrast=made,
                contrasted=len(against.names),
                texts=len(asked),
                plain=recipe is not None and recipe.is_plain,
                constant=bool(one.max() - one.min() < _FLAT),
                finite=bool(one.isfinite().all()),
            )
            for present, one in zip(presence, maps, strict=True)
        ),
        source=seen.source,
        provenance=seen.provenance(
            recipe=recipe,
            texts=asked,
            notes=(*(() if recipe is None else seen.position_notes(recipe)), *finite_notes(maps)),
            **facts,
            templates=prompts,
            contrast=made,
            contrast_texts=against.names,
            grid=tuple(maps.shape[1:]),
        ),
    )


def _attributed(
    seen: EncodedPicture, method: str, along: Float[Tensor, "T E"]
) -> tuple[Float[Tensor, "1 T h w"], Float[Tensor, "1 E"]]:
    """Maps by an image attribution, and the pooled feature; what is exact is kept for further texts."""
    if method == "exact":
        whole = seen.shares()
        maps = rearrange(whole.along(along).patches, "B h w T -> B T h w")
        return maps / whole.feature.norm(dim=-1)[:, None, None, None], whole.feature
    answer = attributed(seen.engine, seen.pixels, along, method)
    return answer.maps, seen.pooled() if answer.pooled is None else answer.pooled
