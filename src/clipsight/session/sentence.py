"""Which words of a sentence does the picture bear out, and where?"""

import torch

from clipsight.features import Recipe
from clipsight.session.encoded import EncodedPicture
from clipsight.tasks.sentence import SentenceView, explain_sentence


@torch.no_grad()
def sentence(seen: EncodedPicture, text: str, recipe: str | Recipe = "clip_surgery") -> SentenceView:
    """Words with maps and scores; see `Lens.sentence` for the arguments."""
    engine, features = seen.engine, seen.features(recipe)
    return explain_sentence(
        features.patches, features.pooled, engine.text_view, engine.loaded.tokenizer, text
    )
