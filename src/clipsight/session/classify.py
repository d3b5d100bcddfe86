"""Which label fits the whole picture best?"""

from collections.abc import Sequence

import numpy as np
import torch

from clipsight.language.tokens import check_texts
from clipsight.results import Classification
from clipsight.scoring import pooled_similarity
from clipsight.session.encoded import EncodedPicture, finite_notes
from clipsight.session.engine import Templates


@torch.no_grad()
def classify(seen: EncodedPicture, labels: Sequence[str], templates: Templates = "auto") -> Classification:
    """Probabilities of labels; see `Lens.classify` for the arguments."""
    engine, asked = seen.engine, check_texts(labels)
    prompts, scale = engine.templates(templates, "IN80"), engine.logit_scale
    bias = engine.logit_bias
    cosines = pooled_similarity(seen.pooled(), engine.encode_text(asked, prompts or None))[0]
    return Classification(
        labels=asked,
        probabilities=(scale * cosines).softmax(-1).cpu(),
        similarity=cosines.cpu(),
        sigmoid=None if bias is None else (scale * cosines + bias).sigmoid().cpu(),
        source=seen.source,
        image=np.asarray(seen.picture),
        provenance=seen.provenance(
            texts=asked,
            notes=finite_notes(cosines),
            method="classify",
            settings={"logit_scale": scale} | ({} if bias is None else {"logit_bias": bias}),
            templates=prompts,
            contrast="none",
            contrast_texts=(),
        ),
    )
