"""What a `Lens` answers about the words of captions."""

from collections.abc import Sequence
from typing import Any, overload

from clipsight.pictures import PictureSource
from clipsight.results import WordAttribution
from clipsight.session.engine import Engine
from clipsight.session.seen import Seen
from clipsight.session.words import (
    Faithfulness,
    Merge,
    Operator,
    Picture,
    Roles,
    Spans,
    Units,
    attribute_caption,
)
from clipsight.towers.preprocess import Resolution


class LensWords:
    """The part of `Lens` that weighs words."""

    _engine: Engine

    @overload
    def words(
        self, image: PictureSource | None, caption: str, *how: Any, **options: Any
    ) -> WordAttribution: ...

    @overload
    def words(
        self, image: PictureSource | None, caption: list[str] | tuple[str, ...], *how: Any, **options: Any
    ) -> list[WordAttribution]: ...

    def words(
        self,
        image: PictureSource | None,
        caption: str | list[str] | tuple[str, ...],
        method: str = "attention",
        against: str | Sequence[str] | None = None,
        spans: Spans | None = None,
        roles: Roles = "rules",
        *,
        units: Units = "words",
        merge: Merge = "sum",
        check: bool = False,
        resolution: Resolution = "native",
        **options: Any,
    ) -> WordAttribution | list[WordAttribution]:
        """Which words of the caption carry its match with the picture?

        Args:
            image: path, PIL picture or uint8 array; None for methods that can do without: "attention", and
                "perturbation" and "shapley", which then measure how the text's own feature changes.
            caption: one text, or a list of them, which gives a list of results.
            method: one of `clipsight.attributions()`.
            against: a foil or several; the scores then say which words make the caption match better than these.
            spans: phrases to add up as well: substrings, or (first character, the one after the last).
            roles: "rules" (nothing to install), "textblob", "spacy", None, or the `CaptionRoles` of the caption.
            units: what methods that take something out take out together: "words" (punctuation as a word of its own),
                "tokens", or "spans", each span as a whole.
            merge: "sum" keeps totals from tokens to words; "mean" over a word's tokens, for scores that are norms.
            check: also measure sanity: rank correlation with the scores of randomised text towers, and agreement with
                a second method. Costs five copies of the text tower, one after the other.
            resolution: as in `preprocess`.
            options: the method's own, such as `layers="all"` of "attention" or `op="drop"` of "perturbation".

        Returns:
            `WordAttribution`: words, tokens and spans with raw signed scores, roles, trust lines, provenance.

        Raises:
            ValueError: unknown method, a span that is not in the caption, no picture where one is needed.
            TypeError: an option that the method does not have.
            Unsupported: not for this text tower, or a tokenizer that says nothing of its tokens.

        Not claimed: that a word of a high score is true of the picture. The default method does not even look at it.

        Example:
            >>> import clipsight
            >>> from clipsight.world import make_scene
            >>> scene = make_scene(0)
            >>> w = clipsight.load("clipsight-tiny").words(scene.image, scene.captions[0].text, method="perturbation")
            >>> len(w.scores) == len(w.words)
            True
        """
        how: dict[str, Any] = {
            "against": against,
            "spans": spans,
            "roles": roles,
            "units": units,
            "check": check,
        }
        if image is not None:
            return Seen(self._engine, image, resolution).words(caption, method, merge=merge, **how, **options)
        captions = [caption] if isinstance(caption, str) else caption
        found = attribute_caption(
            self._engine,
            captions,
            Picture(feature=None),
            method=method,
            merge_by=merge,
            options=options,
            **how,
        )
        return found[0] if isinstance(caption, str) else found

    def faithfulness(
        self, image: PictureSource, attribution: WordAttribution, removal: Operator = "zero_emb"
    ) -> Faithfulness:
        """Do a word attribution's scores say what becomes of the match when words go?

        Insertion, deletion, comprehensiveness, sufficiency and agreement with leaving out one word, over the words of
        the caption; marks stay where they are. Numbers of different removals do not compare, and a method that removes
        words itself is judged well by its own.

        Args:
            image: the picture of the attribution.
            attribution: of this model; without foils, since the match that is measured is the plain similarity.
            removal: what becomes of a word that is taken away: "zero_emb", "mask_token", "drop" or "key_block".

        Raises:
            ValueError: scores that are not finite, or an attribution of another model's words.
            Unsupported: a text tower that does not show what the removal changes.

        Example:
            >>> import clipsight
            >>> from clipsight.world import make_scene
            >>> scene, lens = make_scene(0), clipsight.load("clipsight-tiny")
            >>> w = lens.words(scene.image, scene.captions[0].text, method="perturbation")
            >>> lens.faithfulness(scene.image, w).removal
            'zero_emb'
        """
        return Seen(self._engine, image).faithfulness(attribution, removal)
