"""Where in a picture does the model see these words?"""

from collections.abc import Sequence

import numpy as np
import torch

from clipsight.features import Recipe
from clipsight.language.tokens import check_texts
from clipsight.results import Explanation
from clipsight.scoring import pooled_similarity
from clipsight.scoring.choice import Contrast, choose_contrast
from clipsight.scoring.presence import MIN_NAMES
from clipsight.scoring.trust import trust_line
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
    recipe, prompts = engine.recipe(method), engine.templates(templates, None)
    against = choose_contrast(contrast, len(asked), asked, engine.card.contrast_vocabulary)
    text_features = engine.encode_text(asked, prompts or None)
    others = engine.contrast_features(against.kind, against.names, prompts)
    scored, features = seen.maps(recipe, text_features, against.kind, others)
    maps = scored[0].cpu()
    made = against.kind
    if recipe.has_own_scores and made != "names":
        made = "none"  # its own scores are contrasted with nothing
    vocabulary = (
        against.names if len(against.names) >= MIN_NAMES else engine.card.contrast_vocabulary or against.names
    )
    presence, reason = engine.presence(features.pooled, asked, text_features, prompts, vocabulary)
    return Explanation(
        image=np.asarray(seen.picture),
        texts=asked,
        maps=maps,
        similarity=pooled_similarity(features.pooled, text_features)[0].cpu(),
        presence=presence,
        presence_reason=reason,
        trust=tuple(
            trust_line(
                float(present),
                names=len(vocabulary),
                contrast=made,
                contrasted=len(against.names),
                texts=len(asked),
                plain=recipe.is_plain,
                constant=bool(one.max() - one.min() < _FLAT),
                finite=bool(one.isfinite().all()),
            )
            for present, one in zip(presence, maps, strict=True)
        ),
        source=seen.source,
        provenance=seen.provenance(
            recipe=recipe,
            texts=asked,
            notes=finite_notes(maps),
            method=recipe.id,
            settings=recipe.settings,
            templates=prompts,
            contrast=made,
            contrast_texts=against.names,
            grid=tuple(maps.shape[1:]),
        ),
    )
