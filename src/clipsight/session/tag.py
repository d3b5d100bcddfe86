"""Which of these things are in the picture?"""

from collections.abc import Sequence

import numpy as np
import torch

from clipsight.language.tokens import check_texts
from clipsight.results import Tags
from clipsight.scoring import pooled_similarity
from clipsight.scoring.choice import same_names
from clipsight.session.encoded import EncodedPicture
from clipsight.session.engine import Templates
from clipsight.tasks.tags import tag_presence, tag_scores


@torch.no_grad()
def tag(seen: EncodedPicture, labels: Sequence[str], templates: Templates = "auto") -> Tags:
    """Scores and presence of labels; see `Lens.tag` for the arguments."""
    engine, asked = seen.engine, check_texts(labels)
    prompts, pooled = engine.templates(templates, "IN80"), seen.pooled()
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
        source=seen.source,
        image=np.asarray(seen.picture),
        provenance=seen.provenance(
            texts=asked,
            method="tag",
            settings={"logit_scale": engine.logit_scale},
            templates=prompts,
            contrast="labels" if new is None else "names",
            contrast_texts=() if new is None else names,
        ),
    )
