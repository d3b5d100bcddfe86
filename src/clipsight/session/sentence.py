"""Which words of a sentence does the picture support, and where?"""

import numpy as np
import torch

from clipsight.features import Recipe
from clipsight.language.reading import read_captions
from clipsight.language.tokens import check_texts
from clipsight.results import SentenceView, SentenceWord
from clipsight.session.encoded import EncodedPicture
from clipsight.tasks.sentence import token_maps, word_maps


@torch.no_grad()
def sentence(seen: EncodedPicture, text: str, recipe: str | Recipe = "clip_surgery") -> SentenceView:
    """Words with maps and scores; see `Lens.sentence` for the arguments."""
    engine = seen.engine
    chosen = engine.recipe(recipe)
    (read,) = read_captions(engine.loaded.tokenizer, check_texts([text]), engine.text_view.context).each
    features = seen.features(chosen)
    matrix = token_maps(features.patches, features.pooled, engine.text_view, read)
    words, table = [], []
    for part, group, shares in zip(read.parts, read.groups, read.table, strict=True):
        if shares.any():
            kind = "word" if part.kind == "word" else "mark"
            span = (part.start, part.end)
            words.append(SentenceWord(text=part.text, span=span, tokens=tuple(group), kind=kind))
            table.append(shares)
    if not words:
        raise ValueError(f"the model reads no word in {text!r:.60}; write one.")
    return SentenceView(
        image=np.asarray(seen.picture),
        sentence=text,
        tokens=read.found.tokens[: read.used],
        words=tuple(words),
        matrix=matrix.float().cpu(),
        maps=word_maps(matrix, torch.stack(table)).float().cpu(),
        source=seen.source,
        provenance=seen.provenance(
            recipe=chosen,
            texts=(text,),
            method=chosen.id,
            settings=chosen.settings,
            templates=(),
            contrast="labels",
            contrast_texts=(),
            grid=tuple(matrix.shape[1:]),
        ),
    )
