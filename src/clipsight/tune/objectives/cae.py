"""Composition attribution enhancement: training that raises the attribution of relations and attributes.

Reconstructed. CLIP-CAE (EMNLP 2024, 10.18653/v1/2024.emnlp-main.810) names four attributions, attention (AB), Grad-CAM
(GCB), perturbation (PB) and gradients (GB), and no code of its training is public: the losses and most options here are
our reading, each of them a switch. The attributions are those of `clipsight.attribution`, graph kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution import why_not
from clipsight.attribution.attention import attention as attention_scores
from clipsight.attribution.attention import attention_rows
from clipsight.attribution.gradcam import activated, gradcam
from clipsight.attribution.gradient import gradient
from clipsight.attribution.match import exact
from clipsight.attribution.perturbation import perturbation
from clipsight.attribution.question import Groups, Question, block_numbers
from clipsight.errors import Unsupported
from clipsight.towers.view import TextParts, TextView
from clipsight.tune.data.batch import ROLE_NUMBERS, Batch
from clipsight.tune.objectives.cae_losses import EPS, composition_losses
from clipsight.tune.objectives.cae_options import VARIANTS, CaeOptions
from clipsight.tune.objectives.objective import BaseObjective, Needs, Stage, StepInputs, Terms

_OBJECT, _ATTRIBUTE, _RELATION = (ROLE_NUMBERS[role] for role in ("object", "attribute", "relation"))


class Cae(BaseObjective):
    """Raise the attribution of relations and attributes in every caption.

    Example:
        >>> Cae(CaeOptions(variant="ab", loss="parity")).name
        'cae_ab'
    """

    def __init__(self, options: CaeOptions) -> None:
        self.options = options
        self.name = f"cae_{options.variant}" + ("_shuffled" if options.shuffled else "")

    def needs(self, view: TextView) -> Needs:
        """Roles, and what its attribution reads of the text pass.

        Raises:
            Unsupported: the tower cannot be looked into.
        """
        options = self.options
        if why := why_not(VARIANTS[options.variant], view, {"op": options.pb_op}):
            raise Unsupported(f"CAE {options.variant} cannot train this model: {why}")
        parts = view.parts()
        if not isinstance(parts, TextParts):
            raise Unsupported(
                f"CAE {options.variant} cannot train this model: its text tower, {type(view).__name__}, runs in one "
                "piece. open_clip's own text towers can be trained."
            )
        depth = len(parts.blocks)
        trace: dict[str, tuple[int, ...]] = {}
        if options.variant == "ab" and options.rollout:
            first = 0 if options.layers == "last" else block_numbers(options.layers, depth)[0]
            trace["weights"] = tuple(range(first, depth))
        elif options.variant == "ab":
            trace["rows"] = block_numbers(options.layers, depth)
        elif options.variant == "gcb":
            trace["normed"] = block_numbers(options.layer, depth)
        elif options.variant == "gb" and options.gb != "fd":
            trace["entered"] = (0,)
        return Needs(trace=trace, explicit=options.explicit, exact=options.takes_out, roles=True)

    def setup(self, stage: Stage) -> None:
        """Nothing: the loss has no parameters."""

    def counts(self, batch: Batch) -> Bool[Tensor, " B"]:
        """Captions with at least one object and one word of composition that the model sees."""
        composition, objects = _groups(batch)
        return composition.any(-1) & objects.any(-1)

    def loss(self, given: StepInputs) -> Terms:
        """The sum over the captions that count."""
        batch, options = given.batch, self.options
        roles = self._shuffled(batch, given.step) if options.shuffled else batch.roles
        question = self._question(given)
        width = question.ids.shape[1]
        roles, content = roles[:, :width], batch.content[:, :width]
        if options.takes_out and options.granularity == "word_sample":
            roles = self._drawn(batch, roles, given.step)
        scores = self._scores(question, roles)
        valid = (roles >= _ATTRIBUTE).any(-1) & (roles == _OBJECT).any(-1)
        each = torch.stack([self._of(one, roles, content) for one in scores]).mean(0)
        log = self._log(scores.detach().mean(0), roles, content, valid)
        # touches the graph also where nothing counts, so that every process has gradients
        return Terms(loss=each.sum() + 0.0 * given.features.text.float().sum(), log=log)

    def export(self) -> Mapping[str, Any]:
        """Its options, and what it is."""
        return {"what": "composition attribution enhancement, reconstructed", **asdict(self.options)}

    def _question(self, given: StepInputs) -> Question:
        question, features = given.question, given.features
        assert question is not None  # `needs` let no other tower through
        if self.options.image_grad:
            image = F.normalize(exact(features.image), dim=-1)
            question = replace(question, match=replace(question.match, image=image))
        if self.options.takes_out and features.text.dtype.itemsize < 4:
            # Under autocast the whole text is rounded and its variants are not: their difference would be the rounding.
            question = replace(question, shared=None)
        return question

    def _of(self, scores: Tensor, roles: Tensor, content: Tensor) -> Float[Tensor, " T"]:
        options, objects = self.options, roles == _OBJECT

        def one(composition: Tensor) -> Tensor:
            return composition_losses(
                scores,
                composition,
                objects,
                content,
                options.loss,
                rho=options.rho,
                margin=options.margin,
                object_side=options.side,
                normalise=options.normalise,
                reduce=options.reduce,
            )

        if options.split_rt:
            return (one(roles == _RELATION) + one(roles == _ATTRIBUTE)) / 2
        return one(roles >= _ATTRIBUTE)

    def _scores(self, question: Question, roles: Tensor) -> Float[Tensor, "P T S"]:
        """Scores of at least 0: one sheet, or one for each head."""
        options = self.options
        if options.variant == "ab":
            if options.heads != "per_head":
                answer = attention_scores(
                    question, layers=options.layers, heads=options.heads, rollout=options.rollout
                )
                return exact(answer.scores)[None]
            _, rows = attention_rows(question, options.layers)
            return rows.mean(0).transpose(0, 1)[..., : question.ids.shape[1]]
        if options.variant == "gcb":
            answer = gradcam(
                question,
                layer=options.layer,
                elementwise=options.elementwise,
                act=options.act or "softplus",
                alpha_grad=options.alpha_grad,
            )
            return exact(answer.scores)[None]
        if options.variant == "gb" and options.gb != "fd":
            return exact(gradient(question, kind=options.gb).scores)[None]
        return self._taken_out(question, roles)[None]

    def _taken_out(self, question: Question, roles: Tensor) -> Float[Tensor, "T S"]:
        """What the match loses without words: of perturbation, and of gradient by finite difference."""
        live = [_RELATION, _ATTRIBUTE] if self.options.split_rt else [(_RELATION, _ATTRIBUTE)]
        if self.options.side == "live":
            return self._act(self._lost(question, self._spans(roles, [*live, _OBJECT])), roles)
        raised = self._lost(question, self._spans(roles, live))
        # The objects' side is a number, not a path: it needs no graph.
        with torch.no_grad():
            still = replace(question, live=False, shared=_detached(question))
            held = self._lost(still, self._spans(roles, [_OBJECT]))
        return self._act(raised + held, roles)

    def _lost(self, question: Question, spans: Groups) -> Float[Tensor, "T S"]:
        asked, options = replace(question, spans=spans), self.options
        if options.variant == "gb":
            return exact(gradient(asked, kind="fd", eta=options.eta).scores)
        return exact(perturbation(asked, op=options.pb_op, measure=options.pb_score).scores)

    def _act(self, lost: Tensor, roles: Tensor) -> Float[Tensor, "T S"]:
        words = roles > 0
        return activated(lost, self.options.act or "softplus", words) * words

    def _spans(self, roles: Tensor, groups: Sequence[int | tuple[int, ...]]) -> Groups:
        """For each text the positions that are taken out together."""
        found = []
        for line in roles.tolist():
            mine = []
            for places in _places(line, groups):
                mine += [(place,) for place in places] if self.options.granularity == "words" else [places]
            found.append(tuple(mine))
        return tuple(found)

    def _drawn(self, batch: Batch, roles: Tensor, step: int) -> Tensor:
        """The roles of one token of each group, drawn; the others have none."""
        groups = [_RELATION, _ATTRIBUTE] if self.options.split_rt else [(_RELATION, _ATTRIBUTE)]
        kept = torch.zeros_like(roles)
        for row, (index, line) in enumerate(zip(batch.index.tolist(), roles.tolist(), strict=True)):
            rng = np.random.default_rng([self.options.seed, step, index if index >= 0 else row])
            for places in _places(line, [*groups, _OBJECT]):
                place = places[int(rng.integers(len(places)))]
                kept[row, place] = line[place]
        return kept

    def _shuffled(self, batch: Batch, step: int) -> Tensor:
        """The roles dealt out anew among the words of each caption."""
        dealt = batch.roles.clone()
        for row, index in enumerate(batch.index.tolist()):
            places = batch.content[row].nonzero()[:, 0]
            rng = np.random.default_rng([self.options.seed, step, index if index >= 0 else row])
            order = torch.from_numpy(rng.permutation(len(places))).to(places.device)
            dealt[row, places] = batch.roles[row, places[order]]
        return dealt

    def _log(self, scores: Tensor, roles: Tensor, content: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Sums over the captions that count; `gamma` is the mean log of S_O over S_C."""
        shares = scores * content / ((scores * content).sum(-1, keepdim=True) + EPS)
        objects, composition = roles == _OBJECT, roles >= _ATTRIBUTE

        def mean(group: Tensor) -> Tensor:
            return (shares * group).sum(-1) / group.sum(-1).clamp(min=1)

        gamma = ((mean(objects) + EPS) / (mean(composition) + EPS)).log()
        dead = ((scores <= EPS) & composition).sum(-1) / composition.sum(-1).clamp(min=1)
        start = scores[:, 0] / (scores.sum(-1) + EPS)
        said = {
            "log_gamma": gamma,
            "s_object": mean(objects),
            "s_relation": mean(roles == _RELATION),
            "s_attribute": mean(roles == _ATTRIBUTE),
            "dead_words": dead,
            "start_share": start,
        }
        return {name: (value * valid).sum() for name, value in said.items()}


def _places(line: list[int], groups: Sequence[int | tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Positions of each group of roles that the text has."""
    wanted = [group if isinstance(group, tuple) else (group,) for group in groups]
    found = [tuple(place for place, role in enumerate(line) if role in group) for group in wanted]
    return [places for places in found if places]


def _groups(batch: Batch) -> tuple[Tensor, Tensor]:
    return batch.roles >= _ATTRIBUTE, batch.roles == _OBJECT


def _detached(question: Question):  # noqa: ANN202 - a Pass or None
    shared = question.shared
    return None if shared is None else replace(shared, features=shared.features.detach())
