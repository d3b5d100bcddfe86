"""Which words of a caption carry its match with a picture?

Tokens are attributed by `clipsight.attribution`, merged into words by
`clipsight.language.spans`, given roles by `clipsight.roles.extract`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, overload

from torch import Tensor

from clipsight.language.reading import read_captions
from clipsight.language.spans import Merge, find_phrases
from clipsight.language.tokens import check_texts
from clipsight.results import WordAttribution
from clipsight.roles.extract import CaptionRoles
from clipsight.scoring import pooled_similarity
from clipsight.session.encoded import EncodedPicture
from clipsight.session.engine import Engine
from clipsight.session.word_question import Units, WordQuestion
from clipsight.session.word_result import Roles, word_attribution
from clipsight.session.word_sanity import check as run_checks

Spans = Sequence[str | tuple[int, int]]


@overload
def words(seen: EncodedPicture, caption: str, *how: Any, **options: Any) -> WordAttribution: ...


@overload
def words(
    seen: EncodedPicture, caption: list[str] | tuple[str, ...], *how: Any, **options: Any
) -> list[WordAttribution]: ...


def words(
    seen: EncodedPicture,
    caption: str | list[str] | tuple[str, ...],
    method: str = "attention",
    against: str | Sequence[str] | None = None,
    spans: Spans | None = None,
    roles: Roles = "rules",
    *,
    units: Units = "words",
    merge: Merge = "sum",
    check: bool = False,
    **options: Any,
) -> WordAttribution | list[WordAttribution]:
    """Scores of a caption's words, or of each of a list; see `Lens.words` for the arguments."""
    found = attribute_captions(
        seen.engine,
        [caption] if isinstance(caption, str) else caption,
        seen,
        method=method,
        against=against,
        spans=spans,
        roles=roles,
        units=units,
        merge_by=merge,
        check=check,
        options=options,
    )
    return found[0] if isinstance(caption, str) else found


def attribute_captions(
    engine: Engine,
    captions: Sequence[str],
    seen: EncodedPicture | None = None,
    *,
    method: str = "attention",
    against: str | Sequence[str] | None = None,
    spans: Spans | None = None,
    roles: Roles = "rules",
    units: Units = "words",
    merge_by: Merge = "sum",
    check: bool = False,
    options: Mapping[str, Any] | None = None,
) -> list[WordAttribution]:
    """Word attributions of captions that share a picture, or have none; see `Lens.words` for the arguments."""
    asked = check_texts(captions)
    foils = () if against is None else check_texts([against] if isinstance(against, str) else against)
    if isinstance(roles, CaptionRoles) and roles.caption not in asked:
        raise ValueError(
            f"the roles given are those of {roles.caption!r:.60}, which is not asked about; extract them from the "
            "caption."
        )
    if seen is None and foils:
        raise ValueError("against compares matches with a picture; give one, or leave against out.")
    phrases = [find_phrases(caption, spans or ()) for caption in asked]
    tokenizer, context = engine.loaded.tokenizer, engine.text_view.context
    read = read_captions(tokenizer, asked, context)
    for one, mine in zip(read.found, phrases, strict=True):
        for phrase in mine:
            if phrase.end > one.seen:
                raise ValueError(
                    f"the span {phrase.text!r} lies beyond the {context} tokens that the model sees; shorten the "
                    "caption, or leave the span out."
                )
    read_foils = read_captions(tokenizer, foils, context) if foils else None
    feature = None if seen is None else seen.pooled()
    question = WordQuestion(engine, feature, read, read_foils, phrases, units)
    scores = question.ask(engine.text_view, method, options or {})
    checks = run_checks(question, scores, method, options or {}) if check else [{} for _ in asked]
    cosines: Sequence[Tensor] = ()
    if feature is not None and foils:
        cosines = tuple(pooled_similarity(feature, engine.encode_text(foils))[0])
    return [
        word_attribution(engine, seen, question, scores, row, merge_by, roles, foils, cosines, checks[row])
        for row in range(len(asked))
    ]
