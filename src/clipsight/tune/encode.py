"""The towers of a model in training: a batch in, features with their graph out, and the text pass that made them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clipsight.attribution import Question, opened
from clipsight.attribution.marks import marks_of
from clipsight.attribution.match import Match, exact
from clipsight.attribution.passes import TextPass, Trace, run
from clipsight.errors import Unsupported
from clipsight.towers.families import is_transformers
from clipsight.towers.view import TextParts, TextView
from clipsight.tune.data.batch import Batch
from clipsight.tune.objectives.objective import Needs, StepFeatures


class TrainingTowers:
    """A model's towers as a step runs them.

    Args:
        module: an open_clip model, in training mode.
        text: its text tower as clipsight sees it.
        needs: of all objectives together.
        autocast: what the towers run under; second-order passes of the text tower run in full precision.

    Raises:
        Unsupported: a model of another library, or a text tower that cannot give what is needed.
    """

    def __init__(
        self,
        module: nn.Module,
        text: TextView,
        needs: Needs,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        if is_transformers(module):
            raise Unsupported(
                "models of transformers are read, not trained; convert the weights to open_clip, or train them there."
            )
        self.module, self.text, self.needs, self.autocast = module, text, needs, autocast
        self.parts = opened(text)
        if (needs.trace or needs.explicit) and not isinstance(self.parts, TextParts):
            raise Unsupported("the text tower runs in one piece; its passes keep no trace.")

    def __call__(self, batch: Batch, *, keep: bool = True) -> tuple[StepFeatures, Question | None]:
        """Features and the pass of the texts.

        Args:
            keep: False leaves out the trace, for passes whose features alone are read.
        """
        module: Any = self.module
        with self.autocast():
            image = module.encode_image(batch.images)
        texts, question = self._texts(batch, exact(image.detach()), keep=keep)
        foils = None
        if batch.foil_ids is not None and self.needs.foils:
            with self.autocast():
                flat = batch.foil_ids.flatten(0, 1)
                foils = self._plain(flat).unflatten(0, batch.foil_ids.shape[:2])
        bias = getattr(module, "logit_bias", None)
        features = StepFeatures(
            image=image,
            text=texts,
            scale=module.logit_scale.exp(),
            foils=foils,
            foil_valid=batch.foil_valid,
            bias=bias,
        )
        return features, question

    def _texts(
        self, batch: Batch, image: Float[Tensor, "B E"], *, keep: bool
    ) -> tuple[Float[Tensor, "B E"], Question | None]:
        if not isinstance(self.parts, TextParts):
            with self.autocast():
                return self._plain(batch.ids), None
        ids = batch.ids[:, : self._length(batch.ids)]
        trace = Trace(**self.needs.trace) if keep else Trace()
        explicit = keep and self.needs.explicit
        with nullcontext() if self.needs.explicit or self.needs.exact else self.autocast():
            features = run(self.parts, ids, trace=trace, explicit=explicit)
        question = Question(
            view=self.text,
            parts=self.parts,
            ids=ids,
            given_ids=batch.ids,
            marks=marks_of(self.parts, batch.ids, batch.content).of(slice(None), ids.shape[1]),
            match=Match(image=F.normalize(image, dim=-1)),
            live=True,
            shared=TextPass(features=features, trace=trace, explicit=explicit),
        )
        return features, question

    def _plain(self, ids: Int[Tensor, "N S"]) -> Float[Tensor, "N E"]:
        if isinstance(self.parts, TextParts):
            ids = ids[:, : self._length(ids)]
            return run(self.parts, ids)
        return self.text.encode(ids)

    def _length(self, ids: Int[Tensor, "N S"]) -> int:
        """Positions that these texts need."""
        parts = self.parts
        if not isinstance(parts, TextParts) or not parts.cuttable:
            return ids.shape[1]
        ends = parts.ends(ids)
        return ids.shape[1] if ends is None else int(ends.max()) + 1


def joined_needs(all_needs: Iterable[Needs]) -> Needs:
    """What serves all of them: every trace, the most foils."""
    trace: dict[str, set[int]] = {}
    several = tuple(all_needs)
    for needs in several:
        for kind, numbers in needs.trace.items():
            trace.setdefault(kind, set()).update(numbers)
    return Needs(
        trace={kind: tuple(sorted(numbers)) for kind, numbers in trace.items()},
        explicit=any(needs.explicit for needs in several),
        exact=any(needs.exact for needs in several),
        roles=any(needs.roles for needs in several),
        foils=max((needs.foils for needs in several), default=0),
        foil_kinds=tuple(dict.fromkeys(kind for needs in several for kind in needs.foil_kinds)),
    )


@contextmanager
def patch_dropout(module: nn.Module, share: float) -> Iterator[None]:
    """Leave out a share of the patches of every training picture (arXiv 2212.00794); as it was afterwards.

    Raises:
        ValueError: a share outside [0, 1).
        Unsupported: an image tower that has no such layer.
    """
    if not 0 <= share < 1:
        raise ValueError(f"patch dropout is {share}; it is at least 0 and below 1.")
    if share == 0:
        yield
        return
    visual: Any = module.get_submodule("visual")
    if not isinstance(getattr(visual, "patch_dropout", None), nn.Module):
        raise Unsupported(
            f"patch dropout needs a vision transformer of open_clip's own; this image tower is a "
            f"{type(visual).__name__}."
        )
    from open_clip.transformer import PatchDropout

    before = visual.patch_dropout
    visual.patch_dropout = PatchDropout(share).train(visual.training)
    try:
        yield
    finally:
        visual.patch_dropout = before
