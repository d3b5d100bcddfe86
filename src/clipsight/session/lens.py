"""A session with one model: encode a picture once, ask many questions.

`load` gives a `Lens`; `Lens.see` encodes a picture and gives a `Seen`; questions to it cost a fraction of the encoding.
Everything is safe to call from several threads at once, and the model is never changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import overload

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clipsight.attribution import attribution_ids
from clipsight.checkpoints.locate import model_ids
from clipsight.features import ImageFeatures, Recipe, recipe_ids
from clipsight.language.names import Names
from clipsight.language.tokens import check_texts
from clipsight.pictures import PictureSource, ValueRange, picture_name, read_noted, read_picture
from clipsight.results import Anomaly, Classification, Explanation, Segmentation, Tags
from clipsight.scoring.choice import Contrast, choose_contrast
from clipsight.session.engine import Engine, Templates
from clipsight.session.inputs import check_features, check_pixels
from clipsight.session.inspect import anomaly, sentence, tag
from clipsight.session.lens_words import LensWords
from clipsight.session.seen import Seen, encode_together, see_all
from clipsight.session.segment import Progress, Window, segment
from clipsight.tasks import Refinement
from clipsight.tasks.adapt import Adaptation
from clipsight.tasks.background import Policy
from clipsight.tasks.sentence import SentenceView
from clipsight.tasks.views import AnomalyView
from clipsight.towers.card import Card
from clipsight.towers.loading import Loaded, load_model
from clipsight.towers.preprocess import Resolution


def load(
    model: str | PathLike[str] | nn.Module,
    pretrained: str | PathLike[str] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quick_gelu: bool | None = None,
    *,
    trust_program: bool = False,
    tokenizer: str | PathLike[str] | Callable[..., Tensor] | None = None,
) -> "Lens":
    """Open a model.

    Args:
        model: open_clip name, path of a weight file or of an open_clip model-config .json, "local-dir:PATH",
            "hf-hub:org/name", "hf:org/name" or "hf:FOLDER" (transformers), "clipsight-tiny" (bundled, offline), or a
            live module of open_clip's or transformers'.
        pretrained: open_clip tag or path of a weight file; None with any model that has its own weights. "#ema" behind
            a path takes the averaged weights of a training checkpoint, "#NAME" its entry NAME.
        device: None takes CUDA, else MPS, else the CPU.
        dtype: None is float32.
        quick_gelu: None takes what the tag, the configuration or the weight file says.
        trust_program: read TorchScript archives too, such as OpenAI's original release. They are programs.
        tokenizer: None takes the model's own. For a model that came without one, or with another: the name of an
            open_clip architecture ("ViT-B-16-SigLIP"), "hf:org/name" or a folder of transformers', or a callable
            `tokenizer(texts, context_length=…)` that gives integer ids (texts, positions).

    Raises:
        ValueError, CheckpointError, HubUnreachable, Unsupported: see `clipsight.towers.loading.load_model`.

    Example:
        >>> import clipsight
        >>> lens = clipsight.load("clipsight-tiny")
        >>> lens.card.family
        'open_clip ViT'
    """
    return Lens(
        load_model(
            model, pretrained, device, dtype, quick_gelu, trust_program=trust_program, tokenizer=tokenizer
        )
    )


def recipes() -> tuple[str, ...]:
    """Ids of the methods that make patch features."""
    return recipe_ids()


def attributions() -> tuple[str, ...]:
    """Ids of the methods that say which words carry a match: the four of CLIP-CAE first."""
    return attribution_ids()


def models() -> tuple[str, ...]:
    """Names that `load` takes: the bundled model, then every architecture that the installed open_clip lists."""
    return model_ids()


class Lens(LensWords):
    """A model with its two towers, its text cache and its card.

    Attributes:
        card: the model in plain facts: family, grid, context, activation, contrast vocabulary, templates, methods.
        module: the open_clip model, as found.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._engine = Engine(loaded)

    def __reduce__(self) -> "tuple[type[Lens], tuple[Loaded]]":
        """Pickled as its model; caches and locks are made anew, so a lens can go to a spawned process."""
        return Lens, (self._engine.loaded,)

    def __repr__(self) -> str:
        return f"Lens({self._engine.loaded.name!r}, {self.card.family}, {self.device}, {self.dtype})"

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

        Carries a graph only if `x` requires gradients.

        Raises:
            TypeError, ValueError: no pictures, another shape, NaN or infinite pixels.
        """
        check_pixels(x)
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

        Raises:
            TypeError, ValueError: pixels or text features of another shape, none, or with NaN or infinite numbers.
        """
        check_pixels(x)
        if texts is not None:
            check_features(texts, self._engine.text_view.embed_dim)
        return self._engine.features(x, self._engine.recipe(recipe), texts)

    def patch_features(
        self, x: Float[Tensor, "B 3 H W"], recipe: str | Recipe = "clip_surgery"
    ) -> Float[Tensor, "B h w E"]:
        """Patch features after the final norm and projection, not L2-normalised.

        Raises:
            TypeError, ValueError: unknown recipe, a size that cuts patches; and as `features`. Unsupported: not for
                this tower.
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
            method: recipe id or `Recipe`.
            contrast: None raw cosines; "labels" feature surgery among `t`; "empty" against the empty prompt; a list of
                names as distractors; "auto" labels from eight texts up, below that the card's contrast vocabulary if
                there is one, else empty. Distractors are put into the card's templates, and all of them are used:
                unlike `explain`, features do not say which name they are. A method with scores of its own (`resclip.*`,
                `freecp`) takes the texts into its second step; of the contrast it takes the distractors.

        Raises:
            TypeError, ValueError: pixels or text features of another shape, none, or with NaN or infinite numbers.
        """
        check_pixels(x)
        check_features(t, self._engine.text_view.embed_dim)
        against = choose_contrast(contrast, len(t), vocabulary=self.card.contrast_vocabulary)
        others = self._engine.contrast_features(against.kind, against.names, self.card.templates)
        return self._engine.maps(x, t, self._engine.recipe(method), kind=against.kind, contrast_texts=others)

    def see(
        self,
        image: PictureSource,
        resolution: Resolution = "native",
        value_range: ValueRange | None = None,
    ) -> Seen:
        """A picture for many questions, encoded at the first.

        Args:
            image, resolution: as in `preprocess`.
            value_range: (black, white) in the picture's own samples, for grey files of more than eight bits and arrays
                of any numbers: (0, 4095) for twelve bits in sixteen. What lies beyond is clipped, and noted.
        """
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
            method: recipe id or `Recipe`.
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
        recipe = self._engine.recipe(method)
        seen = see_all(self._engine, image, resolution)
        if not recipe.needs_texts:  # else its passes are large, and each picture's goes on by itself
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
            area: names with this share or less of the foreground are taken out.
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
        picture, notes = read_noted(image)
        result = segment(
            self._engine,
            picture,
            picture_name(image),
            names,
            recipe=recipe,
            window=window,
            background=background,
            refine=refine,
            templates=templates,
            short_side=short_side,
            logit_scale=logit_scale,
            area=area,
            batch=batch,
            progress=progress,
        )
        return replace(result, provenance=result.provenance.noting(notes))

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
        picture, notes = read_noted(image)
        result = tag(
            self._engine,
            picture,
            picture_name(image),
            labels,
            templates=templates,
            resolution=resolution,
        )
        return replace(result, provenance=result.provenance.noting(notes))

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
        picture, notes = read_noted(image)
        result = anomaly(
            self._engine,
            picture,
            picture_name(image),
            name,
            recipe=recipe,
            domain=domain,
            normal=normal,
            abnormal=abnormal,
            views=views,
            temperature=temperature,
            adaptation=adaptation,
            tiles=tiles,
            resolution=resolution,
        )
        return replace(result, provenance=result.provenance.noting(notes))

    def sentence(
        self,
        image: PictureSource,
        text: str,
        recipe: str | Recipe = "clip_surgery",
        resolution: Resolution = "native",
    ) -> SentenceView:
        """Which words of a sentence does the picture bear out, and where? CLIP Surgery's multimodal view.

        Args:
            image: path, PIL picture or uint8 array.
            text: a sentence; its own tokens are the texts.
            recipe: who makes the patch features.
            resolution: as in `preprocess`.

        Returns:
            Words with their characters, scores and maps.
        """
        return sentence(self._engine, read_picture(image), text, recipe=recipe, resolution=resolution)
