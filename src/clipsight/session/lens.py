"""A session with one model: encode a picture once, ask many questions.

`load` gives a `Lens`; `Lens.see` encodes a picture and gives a `Seen`; questions to it cost a fraction of the encoding.
Everything is safe to call from several threads at once, and the model is never changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch
from jaxtyping import Float, Int
from rich.console import Console
from torch import Tensor, nn

from clipsight.attribution.faithfulness import Faithfulness
from clipsight.attribution.variants import Operator
from clipsight.features import ImageFeatures, Recipe
from clipsight.language.names import Names
from clipsight.language.spans import Merge
from clipsight.language.tokens import check_texts
from clipsight.pictures import PictureSource, ValueRange, read_picture
from clipsight.report import render
from clipsight.results import (
    Anomaly,
    Classification,
    Explanation,
    Interaction,
    Points,
    Segmentation,
    SentenceView,
    Tags,
    WordAttribution,
)
from clipsight.scoring.choice import Contrast, choose_contrast
from clipsight.session.attributed import attributed, directions, is_attribution
from clipsight.session.batch import encode_together, see_all
from clipsight.session.engine import Engine, Templates
from clipsight.session.inputs import check_inputs
from clipsight.session.seen import Seen
from clipsight.session.segment import Progress, Window
from clipsight.session.word_question import Units
from clipsight.session.word_result import Roles
from clipsight.session.words import Spans, attribute_captions
from clipsight.tasks import Refinement
from clipsight.tasks.adapt import Adaptation
from clipsight.tasks.background import Policy
from clipsight.tasks.views import AnomalyView
from clipsight.towers.card import Card
from clipsight.towers.loading import Loaded
from clipsight.towers.preprocess import Resolution


class Lens:
    """A model with its two towers, its text cache and its card."""

    def __init__(self, loaded: Loaded) -> None:
        self._engine = Engine(loaded)

    def __reduce__(self) -> "tuple[type[Lens], tuple[Loaded]]":
        """Pickled as its model; caches and locks are recreated, so a lens can be sent to a spawned process."""
        return Lens, (self._engine.loaded,)

    def __repr__(self) -> str:
        return f"Lens({self._engine.loaded.name!r}, {self.card.family}, {self.device}, {self.dtype})"

    def show(self) -> None:
        """Print the card."""
        Console(highlight=False, markup=False, soft_wrap=True).print(str(self.card))

    def _repr_html_(self) -> str:
        return render("facts.notebook.j2", title=repr(self), image="", rows=self.card.rows())

    @property
    def card(self) -> Card:
        """The model in plain facts; print it."""
        return self._engine.card

    @property
    def module(self) -> nn.Module:
        """The open_clip model, as found."""
        return self._engine.loaded.module

    @property
    def loaded(self) -> Loaded:
        """The model as it was loaded: name, weights asked for, tokenizer, what it expects of its pictures."""
        return self._engine.loaded

    @property
    def fingerprint(self) -> str:
        """Short hash of the weights as they are now; the activation is no weight and does not count."""
        return self._engine.fingerprint

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self._engine.device

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines by before a softmax."""
        return self._engine.logit_scale

    @property
    def dtype(self) -> torch.dtype:
        """The number type it computes in."""
        return self._engine.dtype

    def preprocess(self, image: PictureSource, resolution: Resolution = "native") -> Float[Tensor, "1 3 H W"]:
        """Normalised pixels of a picture, in the model's dtype on its device.

        Args:
            image: path, PIL picture or uint8 array (H, W, 3).
            resolution: "native" short side at the training size, aspect kept, whole patches; an int that short side;
                (H, W) exactly; "square" the model's own size, picture stretched. Above 4,096 patches the long side
                is limited.

        Raises:
            PictureError: not a picture. ValueError: a resolution that cuts patches.
        """
        picture = read_picture(image)
        return self._engine.pixels(picture, self._engine.fit(picture, resolution))

    def encode_image(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B E"]:
        """Pooled feature, not L2-normalised; equals open_clip's `encode_image` of a model built at that size.

        Carries a graph only if `x` requires gradients. ValueError for no pictures, NaN or infinite pixels.
        """
        check_inputs(x, None)
        return self._engine.encode_image(x)

    def encode_text(
        self, texts: Sequence[str] | Int[Tensor, "T S"], templates: Templates = None
    ) -> Float[Tensor, "T E"]:
        """Text features, not L2-normalised; with templates the mean of the L2-normalised prompts.

        Args:
            texts: strings, or token ids (T, S) with the end token the largest id of its row.
            templates: None for the texts as given; a set ("IN80", "CS85", …); one template; several.

        Raises:
            TypeError, ValueError: no texts, blank texts, a string instead of a list, a template without "{}".
            Unsupported: strings for a model without a tokenizer.
        """
        return self._engine.encode_text(texts, templates)

    def features(
        self,
        x: Float[Tensor, "B 3 H W"],
        recipe: str | Recipe = "clip_surgery",
        texts: Float[Tensor, "T E"] | None = None,
    ) -> ImageFeatures:
        """Patch features as `patch_features`, and the pooled feature of the same pass.

        Args:
            x: normalised pixels.
            recipe: id or `Recipe`.
            texts: text features for methods with a second pass by their own labels (`resclip.*`); others do without.
        """
        check_inputs(x, self._engine.text_view.embed_dim, texts)
        return self._engine.features(x, self._engine.recipe(recipe), texts)

    def patch_features(
        self, x: Float[Tensor, "B 3 H W"], recipe: str | Recipe = "clip_surgery"
    ) -> Float[Tensor, "B h w E"]:
        """Patch features after the final norm and projection, not L2-normalised.

        Raises:
            ValueError: unknown recipe, a size that cuts patches; and as `features`. Unsupported: not for this tower.
        """
        return self.features(x, recipe).patches

    def maps(
        self,
        x: Float[Tensor, "B 3 H W"],
        t: Float[Tensor, "T E"],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = None,
    ) -> Float[Tensor, "B T h w"]:
        """Raw signed scores of every patch with every text feature, float32.

        Args:
            x: normalised pixels.
            t: text features of any length.
            method: recipe id, `Recipe`, or an image attribution such as "exact", shares of the whole picture's cosine.
            contrast: None raw cosines; "labels" feature surgery among `t`; "empty" against the empty prompt; a list of
                names as distractors; "auto" labels from eight texts up, below that the card's contrast vocabulary if
                there is one, else empty. Distractors are put into the card's templates, and all of them are used:
                unlike `explain`, features do not say which name they are. A method with scores of its own (`resclip.*`,
                `freecp`) takes the texts into its second step; of the contrast it takes the distractors.
        """
        check_inputs(x, self._engine.text_view.embed_dim, t)
        against = choose_contrast(contrast, len(t), vocabulary=self.card.contrast_vocabulary)
        others = self._engine.contrast_features(against.kind, against.names, self.card.templates)
        if is_attribution(method):
            return attributed(self._engine, x, directions(t, against.kind, others), str(method)).maps
        return self._engine.maps(x, t, self._engine.recipe(method), kind=against.kind, contrast_texts=others)

    def see(
        self, image: PictureSource, resolution: Resolution = "native", value_range: ValueRange | None = None
    ) -> Seen:
        """A picture for many questions, encoded at the first; arguments of `preprocess`, and of `read_picture`."""
        return Seen(self._engine, image, resolution, value_range)

    @overload
    def explain(
        self,
        image: PictureSource,
        texts: Sequence[str],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = "auto",
        resolution: Resolution = "native",
        templates: Templates = "auto",
        batch: int = 16,
    ) -> Explanation: ...

    @overload
    def explain(
        self,
        image: list[PictureSource] | tuple[PictureSource, ...],
        texts: Sequence[str],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = "auto",
        resolution: Resolution = "native",
        templates: Templates = "auto",
        batch: int = 16,
    ) -> list[Explanation]: ...

    def explain(
        self,
        image: PictureSource | list[PictureSource] | tuple[PictureSource, ...],
        texts: Sequence[str],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = "auto",
        resolution: Resolution = "native",
        templates: Templates = "auto",
        batch: int = 16,
    ) -> Explanation | list[Explanation]:
        """Where in the picture does the model see these words?

        Args:
            image: path, PIL picture, uint8 array; or a list of them, which gives a list of results.
            texts: what to look for.
            method: recipe id, `Recipe`, or an image attribution such as "exact".
            contrast: as in `maps`; None or "none" is raw.
            resolution: as in `preprocess`.
            templates: "auto" takes the card's templates, or the texts as given if it has none; else as in
                `encode_text`.
            batch: most pictures in one pass; halved when an accelerator runs out of memory. Methods that go on with
                the texts (`resclip.*`, `freecp`, …) take one picture after another.

        Returns:
            `Explanation`: raw signed maps, cosines, presence, trust lines, provenance.

        Raises:
            PictureError: not a picture. Of a list every picture is read before any is encoded, and one error names
                all that cannot be read; the command line goes on without them instead.

        Not claimed: that a bright spot means the thing is there. Read `presence`.

        Example:
            >>> from clipsight.world import make_scene
            >>> ex = load("clipsight-tiny").explain(make_scene(0).image, ["a dog", "a car"])
            >>> tuple(ex.maps.shape)
            (2, 14, 14)
        """
        if not isinstance(image, list | tuple):
            return self.see(image, resolution).explain(texts, method, contrast, templates)
        # What can be refused is refused before the work.
        asked = check_texts(texts, self._engine.loaded.tokenizer)
        choose_contrast(contrast, len(asked), asked, self.card.contrast_vocabulary)
        recipe = None if is_attribution(method) else self._engine.recipe(method)
        with self._engine.asked():
            seen = see_all(image, lambda one: self.see(one, resolution))
            if recipe and not recipe.needs_texts:  # else passes are large, each picture's goes on alone
                encode_together(self._engine, seen, recipe, batch)
            # Each lets go of its passes when it is done.
            return [seen.pop(0).explain(texts, method, contrast, templates) for _ in image]

    def classify(
        self,
        image: PictureSource,
        labels: Sequence[str],
        templates: Templates = "auto",
        resolution: Resolution = "native",
    ) -> Classification:
        """Which label fits the whole picture best? Softmax of the scaled cosines, as CLIP classifies.

        Args:
            image: path, PIL picture or uint8 array.
            labels: names; duplicates share their probability.
            templates: "auto" takes the card's templates, or IN80 if it has none; None the labels as given.
            resolution: as in `preprocess`.
        """
        return self.see(image, resolution).classify(labels, templates)

    def segment(
        self,
        image: PictureSource,
        names: Names | Sequence[str] | Mapping[str, str | Sequence[str] | None],
        recipe: str | Recipe | None = None,
        window: Window = "auto",
        background: Policy = None,
        refine: str | Refinement | None = None,
        *,
        templates: Templates = "auto",
        short_side: int | None = None,
        logit_scale: float | None = None,
        area: float | None = None,
        batch: int = 8,
        progress: Progress | None = None,
    ) -> Segmentation:
        """Which of these names fits each pixel best?

        Args:
            image: path, PIL picture or uint8 array.
            names: what to tell apart; "person: man, woman" is one class of three words (`parse_names`).
            recipe: id or `Recipe`; None is "sc_clip" on towers of the depths it was published for (12 and 24 blocks),
                "naclip" on others. A data-set variant such as "naclip.voc21-b16" brings its authors' window, scale and
                thresholds, which the arguments below override.
            window: "auto" sees a picture no larger than the model's own size whole, and slides windows of that size by
                half of it over a larger one, at one and a half times the size; "whole"; pixels of a window; or
                (window, stride).
            background: None, every pixel has a name; a probability below which a pixel has none; background words;
                "presence", names that the picture as a whole does not show win nothing; or a `Background`.
            refine: "pamr", "guided", "propagation", or a `Refinement`; applied to scores before the softmax. None is
                what a data-set variant says (PEARL's propagate), else nothing; "none" is nothing.
            templates: as in `explain`; "auto" without a card's own is IN80.
            short_side: pixels of the picture's short side as the windows see it.
            logit_scale: factor on cosines before the softmax; None is 0.4 of the model's (the published 40 of 100).
            area: names with this share or less of the foreground are removed.
            batch: most windows in one pass.
            progress: called with (windows done, all windows).

        Returns:
            `Segmentation` at the picture's own size.

        Not claimed: that a name is there because it has pixels; a softmax gives every pixel to somebody. Read its
        score.

        Example:
            >>> from clipsight.world import make_scene
            >>> seg = load("clipsight-tiny").segment(make_scene(0).image, ["dog", "car"], recipe="naclip")
            >>> seg.labels.shape
            torch.Size([112, 112])
        """
        return self.see(image).segment(
            names,
            recipe,
            window,
            background,
            refine,
            templates=templates,
            short_side=short_side,
            logit_scale=logit_scale,
            area=area,
            batch=batch,
            progress=progress,
        )

    def tag(
        self,
        image: PictureSource,
        labels: Sequence[str],
        templates: Templates = "auto",
        resolution: Resolution = "native",
    ) -> Tags:
        """Which of these things are in the picture? Several may be, or none.

        Scores are cosines of the whole picture after feature surgery; presence is measured against names that are
        absent (the card's contrast vocabulary, else the other labels if there are twenty).

        Args: as in `classify`.
        """
        return self.see(image, resolution).tag(labels, templates)

    def anomaly(
        self,
        image: PictureSource,
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
        resolution: Resolution = "native",
    ) -> Anomaly:
        """Is this thing damaged, and where? AnoCLIP: two poles of prompts, whole and damaged.

        Args:
            image: path, PIL picture or uint8 array.
            name: what it shows, such as "bottle".
            recipe: who makes the patch features.
            domain: "objects", "textures", "auto", or kinds of pictures in your own words.
            normal, abnormal: states with "{}" where the name goes; None takes the paper's seven.
            views: "one" or "all" of the paper's 22, for the score; the map is of the picture as it is.
            temperature: None as the paper: values order places and pictures but are no probabilities.
            adaptation: `Adaptation(steps=5)` trains a small layer on this picture's patches; the model stays as it is.
            tiles: squares along the long side, for long pictures.
            resolution: as in `preprocess`.

        Not claimed: a decision. Where "damaged" begins must be learnt from pictures known to be whole.
        """
        return self.see(image, resolution).anomaly(
            name,
            recipe,
            domain=domain,
            normal=normal,
            abnormal=abnormal,
            views=views,
            temperature=temperature,
            adaptation=adaptation,
            tiles=tiles,
        )

    def sentence(
        self,
        image: PictureSource,
        text: str,
        recipe: str | Recipe = "clip_surgery",
        resolution: Resolution = "native",
    ) -> SentenceView:
        """Which words of a sentence does the picture support, and where? CLIP Surgery's multimodal view.

        Args:
            image: path, PIL picture or uint8 array.
            text: a sentence; its own tokens are the texts.
            recipe: who makes the patch features.
            resolution: as in `preprocess`.

        Returns:
            Words with their characters, scores and maps.
        """
        return self.see(image, resolution).sentence(text, recipe)

    def interact(
        self,
        image: PictureSource,
        caption: str,
        method: str = "exact",
        spans: Spans | None = None,
        roles: Roles = "rules",
        resolution: Resolution = "native",
    ) -> Interaction:
        """Which word of the caption is matched by which region of the picture?

        Args:
            image, caption, spans, roles, resolution: as in `words`.
            method: "exact", shares of the cosine that add up; "clip_surgery", every token asked by itself.

        Not claimed: that the pixels of a patch alone bring its share. A token has mixed with others when it is read.
        """
        return self.see(image, resolution).interact(caption, method, spans, roles)

    @overload
    def points(self, image: PictureSource, text: str, *how: Any, **options: Any) -> Points: ...

    @overload
    def points(
        self, image: PictureSource, text: list[str] | tuple[str, ...], *how: Any, **options: Any
    ) -> list[Points]: ...

    def points(
        self,
        image: PictureSource,
        text: str | list[str] | tuple[str, ...],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = "auto",
        templates: Templates = "auto",
        resolution: Resolution = "native",
        *,
        threshold: float = 0.8,
        downsample: int = 2,
    ) -> Points | list[Points]:
        """Where should a promptable segmenter such as SAM look for these words?

        Args:
            image: path, PIL picture or uint8 array.
            text: a text, or a list of them, which gives a list of results. "dog+cat" points at both together: what is
                on one of them is not called off the other.
            method, contrast, templates, resolution: as in `explain`; the texts of a list are asked together.
            threshold: share of the map's range, in (0, 1], from which a place is on the thing.
            downsample: how many times coarser the map is made first; larger gives fewer points.

        Returns:
            `Points`: (x, y) in pixels of the picture, label 1 on the thing and 0 off it; none without a clear peak.

        Raises:
            ValueError: a threshold outside (0, 1], or `downsample` below 1.

        Not claimed: that the thing is there. Read `presence` of `explain` first.
        """
        seen = self.see(image, resolution)
        return seen.points(text, method, contrast, templates, threshold=threshold, downsample=downsample)

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
            units: what methods that remove words remove at once: "words" (punctuation as a word of its own),
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
            >>> from clipsight.world import make_scene
            >>> scene = make_scene(0)
            >>> w = load("clipsight-tiny").words(scene.image, scene.captions[0].text, method="perturbation")
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
            return self.see(image, resolution).words(caption, method, merge=merge, **how, **options)
        captions = [caption] if isinstance(caption, str) else caption
        found = attribute_captions(
            self._engine, captions, method=method, merge_by=merge, options=options, **how
        )
        return found[0] if isinstance(caption, str) else found

    def faithfulness(
        self, image: PictureSource, attribution: WordAttribution, removal: Operator = "zero_emb"
    ) -> Faithfulness:
        """Do a word attribution's scores say what becomes of the match when words go?

        Insertion, deletion, comprehensiveness, sufficiency and agreement with leaving out one word, over the words of
        the caption; punctuation is never removed. Do not compare numbers of different removals; a method that removes
        words itself scores well with its own removal.

        Args:
            image: the picture of the attribution.
            attribution: of this model; without foils, since the match that is measured is the plain similarity.
            removal: how a word is removed: "zero_emb", "mask_token", "drop" or "key_block".

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
        return self.see(image).faithfulness(attribution, removal)
