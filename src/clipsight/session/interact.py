"""Which word of a caption is matched by which region of a picture?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution import opened
from clipsight.attribution.exact import directions_of, joined, text_shares
from clipsight.errors import Unsupported
from clipsight.language.reading import ReadCaption, read_captions
from clipsight.language.spans import CaptionPart, find_phrases, shares
from clipsight.language.tokens import check_texts
from clipsight.results import Interaction, WordScore
from clipsight.roles.extract import CaptionRoles, extract_roles
from clipsight.scoring import feature_surgery, pooled_similarity
from clipsight.session.encoded import EncodedPicture
from clipsight.towers.view import OnePieceText

METHODS = ("exact", "clip_surgery")
_EXACT = (
    "Shares of pairs and the rest add up to the cosine. A share says from which position the model read what counts, "
    "not what those pixels alone contain."
)
_SURGERY = (
    "CLIP Surgery's multimodal view: every token is asked by itself, and what all have in common is subtracted. The "
    "values do not add up to the cosine, and a token's own feature was not trained to mean something."
)


def joint_ids() -> tuple[str, ...]:
    """Ids of the methods that attribute to pairs of a token and a patch."""
    return METHODS


@torch.no_grad()
def interact(
    seen: EncodedPicture,
    caption: str,
    method: str = "exact",
    spans: Sequence[str | tuple[int, int]] | None = None,
    roles: str | CaptionRoles | None = "rules",
) -> Interaction:
    """An interaction of the picture with a caption; see `Lens.interact` for the arguments."""
    engine = seen.engine
    (asked,) = check_texts([caption], engine.loaded.tokenizer)
    phrases = find_phrases(asked, spans or ())
    (read,) = read_captions(engine.loaded.tokenizer, [asked], engine.text_view.context).each
    if method == "exact":
        matrix, facts = _exact(seen, read)
    elif method == "clip_surgery":
        matrix, facts = _surgery(seen, read)
    else:
        raise ValueError(f"no joint method is called {method!r}; there are {', '.join(METHODS)}.")
    return _result(seen, read, phrases, roles, method, matrix.float().cpu(), facts)


def _exact(seen: EncodedPicture, read: ReadCaption) -> tuple[Float[Tensor, "S h w"], dict[str, Any]]:
    engine = seen.engine
    parts = opened(engine.text_view)
    if parts is None:
        raise Unsupported(
            f"exact needs the inside of the text tower, and {type(engine.text_view).__name__} takes whole texts alone."
        )
    device = engine.text_view.device
    used = read.used if isinstance(parts, OnePieceText) or parts.cuttable else len(read.ids)
    ids, content = read.ids[None, :used].to(device), read.content[None, :used].to(device)
    text = text_shares(parts, ids)
    image = seen.shares()
    found = joined(image.along(directions_of(text, content)), text, content)
    return found.matrix[0, 0][content[0]], {
        "cosine": float(found.cosine[0, 0]),
        "rest": {name: float(value[0, 0]) for name, value in found.rest.items()},
        "trust": (_EXACT,),
    }


def _surgery(seen: EncodedPicture, read: ReadCaption) -> tuple[Float[Tensor, "S h w"], dict[str, Any]]:
    engine, features = seen.engine, seen.features("clip_surgery")
    tokens = engine.text_view.token_features(read.ids[None].to(engine.text_view.device))[0, : read.used]
    maps = feature_surgery(features.patches, features.pooled, tokens.to(features.patches))[0]
    whole = engine.encode_text([read.caption])
    return maps[read.content[: read.used].to(maps.device)], {
        "cosine": float(pooled_similarity(features.pooled, whole)[0, 0]),
        "additive": False,
        "unit": "cosine difference",
        "trust": (_SURGERY,),
    }


def _result(
    seen: EncodedPicture,
    read: ReadCaption,
    phrases: Sequence[CaptionPart],
    roles: str | CaptionRoles | None,
    method: str,
    matrix: Float[Tensor, "S h w"],
    facts: Mapping[str, Any],
) -> Interaction:
    found, parts, own = read.found, read.parts, read.content
    additive = facts.get("additive", True)
    table = read.table[:, own].float()
    phrase_table = shares(found, phrases)[:, own].float()
    if not additive:  # what does not add up is averaged over a word's tokens
        table, phrase_table = (
            one / one.sum(1, keepdim=True).clamp_min(1e-12) for one in (table, phrase_table)
        )
    rows = matrix.flatten(1)
    totals = rows.sum(1) if additive else rows.mean(1)
    labels = None if roles in (None, "none") else roles
    if isinstance(labels, str):
        labels = extract_roles(found.caption, labels)
    named = iter(labels.roles if isinstance(labels, CaptionRoles) else ())
    scored = [_scored(part, line, totals) for part, line in zip(parts, table, strict=True)]
    words = [k for k, part in enumerate(parts) if part.kind == "word"]
    return Interaction(
        image=np.asarray(seen.picture),
        caption=found.caption,
        tokens=tuple(token for token, keep in zip(found.tokens, own.tolist(), strict=True) if keep),
        places=tuple(place or (0, 0) for place, keep in zip(found.places, own.tolist(), strict=True) if keep),
        matrix=matrix,
        table=table[words],
        words=tuple(WordScore(**{**vars(scored[k]), "role": next(named, "")}) for k in words),
        marks=tuple(one for k, one in enumerate(scored) if k not in words and one.tokens),
        spans=tuple(_scored(part, line, totals) for part, line in zip(phrases, phrase_table, strict=True)),
        roles_by="" if not isinstance(labels, CaptionRoles) else f"{labels.extractor} {labels.version}",
        dropped=found.dropped,
        source=seen.source,
        provenance=seen.provenance(
            texts=(found.caption,),
            method=method,
            settings={"unit": facts.get("unit", "share of the cosine")},
            templates=(),
            contrast="none",
            contrast_texts=(),
            grid=tuple(matrix.shape[1:]),
        ),
        **facts,
    )


def _scored(part: CaptionPart, line: Float[Tensor, " S"], totals: Float[Tensor, " S"]) -> WordScore:
    return WordScore(
        text=part.text,
        start=part.start,
        end=part.end,
        score=float(line @ totals),
        tokens=tuple(line.nonzero().flatten().tolist()),
    )
