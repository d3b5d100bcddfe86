"""The executor of all recipes: pixels to patch features in one pass of the tower.

Order of steps, the same for every recipe: embed; trunk (the tower's own blocks, edited and recorded where the recipe
says so); streams (sources, repairs, maps, made when they are asked for); head (the blocks in which the kernel works);
residual and feed-forward network; read-out. The original path always runs on, so the pooled feature is the tower's own.
In the last block only the class token needs it: that single row, and nothing else, takes the block's own attention and
network there.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.features.adapt_to_depth import Fitted, adapt_to_depth, why_not
from clipsight.features.branches import Heads, Kernel
from clipsight.features.context import BlockStep, Detector, Record, TokenMap, TokenStream
from clipsight.features.image_features import ImageFeatures
from clipsight.features.recipe import Accumulate, ClassToken, EveryBlock, Recipe, Stream
from clipsight.features.registry import get_recipe
from clipsight.features.trunk import Trunk, onward
from clipsight.towers.view import VisionView


def run(
    view: VisionView,
    images: Float[Tensor, "B 3 H W"],
    recipe: str | Recipe,
    given: Mapping[str, Tensor] | None = None,
) -> ImageFeatures:
    """Patch features of `images` by a recipe, and the pooled feature of the same pass.

    Args:
        view: the image tower; nothing of it is changed.
        images: normalised pixels, both sides multiples of the patch, any aspect.
        recipe: an id of `recipe_ids()`, fitted to the tower's depth (`adapt_to_depth`), or a `Recipe`, taken as it is.
        given: maps that the recipe names with `Given`.

    Returns:
        Features that carry gradients when autograd is on.

    Raises:
        ValueError: unknown recipe, a size that cuts patches, or a map that was not given.
        Unsupported: the recipe wants more blocks than the tower has.
    """
    return ImagePass(view, images, recipe, given).features()


class ImagePass:
    """The trunk run once for a recipe, with all that was kept of it: features, maps, flagged patches.

    Arguments as in `run`; given a `Trunk` of the same images, a recipe that leaves it alone goes on from what is kept
    there. A recipe's pieces are values, so what a method saw on its way can be asked for by name:
    `ImagePass(view, images, "sc_clip").flags(LocalOutliers(Entered()))` are the patches that SC-CLIP repairs. It keeps
    what it makes, so one thread at a time may ask it.

    Attributes:
        recipe: as it runs. notes: what fitting it to the tower had to say, one sentence each.
        grid: (h, w) in patches. entered: what entered the blocks that the kernel works in.
    """

    def __init__(
        self,
        view: VisionView,
        images: Float[Tensor, "B 3 H W"],
        recipe: str | Recipe,
        given: Mapping[str, Tensor] | None = None,
        trunk: Trunk | None = None,
    ) -> None:
        self.view = view
        fitted = adapt_to_depth(get_recipe(recipe), view) if isinstance(recipe, str) else Fitted(recipe)
        self.recipe, self.notes = fitted.recipe, fitted.notes
        self.grid = view.grid(*images.shape[-2:])
        self.blocks = view.blocks_at(self.grid)
        self.prefix, self.depth, self.level = view.prefix, len(self.blocks), len(self.blocks)
        self.edited, self.batch = False, len(images)
        self.scratch: dict[Any, Any] = {}
        self.entered: Tensor
        self._given = dict(given or {})
        self._sums: dict[Record, Tensor] = {}
        self._tokens: dict[TokenStream, Tensor] = {}
        self._maps: dict[TokenMap, Tensor] = {}
        self._flags: dict[Detector, Tensor] = {}
        self._normed: list[Tensor] = []
        self._check()
        positions = self.recipe.positions
        if trunk is not None and not trunk.serves(positions):
            raise ValueError(
                f"recipe {self.recipe.id!r} places patches by {positions!r}, and the trunk by {trunk.positions!r}: "
                "give one of its own."
            )
        own = Trunk(view, images, positions)
        self._trunk = own if trunk is None or self.recipe.edit is not None else trunk
        self._run_trunk()
        self._plain = trunk or (Trunk(view, images, positions) if self.edited else self._trunk)

    def features(
        self, recipe: Recipe | None = None, given: Mapping[str, Tensor] | None = None
    ) -> ImageFeatures:
        """Patch and pooled features.

        Args:
            recipe: another recipe of the same trunk, such as one that weighs the last block by feedback; None is the
                pass's own.
            given: maps for it.
        """
        if recipe is not None:
            return self._beside(recipe, given or {}).features()
        stream, pooled, h = self._head("patches"), self.pooled(), self.grid[0]
        if not isinstance(self.recipe.path, EveryBlock):
            patches = rearrange(self.view.readout(stream), "B (h w) E -> B h w E", h=h)
            return ImageFeatures(patches=patches, pooled=pooled)
        every = rearrange(self.view.readout(stream), "(L B) (h w) E -> L B h w E", L=self.depth, h=h)
        return ImageFeatures(patches=every[-1], pooled=pooled, levels=every)

    def pooled(self) -> Float[Tensor, "B E"]:
        """The tower's own image feature, independent of the recipe; computed once per trunk."""
        return self._plain.pooled(None if self.edited else self._since)

    def class_token(self) -> Float[Tensor, "B E"]:
        """The class token's own row of the recipe's last block, read out; what some programs return beside the patches.

        It is not the pooled feature: the kernel made it. Of a recipe that shuts the class token out it is the trunk's.

        Raises:
            Unsupported: the tower has no class token.
        """
        if not self.view.class_token or not self.blocks:
            raise Unsupported(
                f"the class token's row was asked of {self.recipe.id}, and this tower has no class token; features() "
                "has the pooled feature."
            )
        recipe, last = self.recipe, self.blocks[-1]
        if any(kernel.keys != "all" for kernel in recipe.kernels):
            return self.view.readout(self._trunk.left(self._since))[:, 0]
        if isinstance(recipe.path, EveryBlock):
            rows = last.merge(recipe.kernel.output(self._heads(self.entered, recipe.kernel, "all")))
        else:
            rows = self._head("all")
        return self.view.readout(rows[:, : self.prefix])[:, 0]

    def weights(self) -> Float[Tensor, "B K R S"]:
        """The kernel's map in the last block, first stream, float32; of patches alone if only these are keys."""
        self._refuse_accumulating("weights")
        kernel = self.recipe.kernels[0]
        return kernel.weights(self._heads(self._entering(self.recipe.streams[0]), kernel, "all"))

    def keys(self) -> Float[Tensor, "B K N d"]:
        """Keys of the patches in the last block."""
        self._refuse_accumulating("keys")
        return self.blocks[-1].qkv(self._entered_normed, "k")[0][:, :, self.prefix :]

    def _refuse_accumulating(self, what: str) -> None:
        if isinstance(self.recipe.path, Accumulate):
            raise Unsupported(
                f"{what} of one block were asked of {self.recipe.id}, which works in several; start a pass with a "
                "recipe of the last block, such as 'naclip'."
            )

    def recorded(self, record: Record) -> Tensor:
        """What a record summed.

        Raises:
            ValueError: the pass's recipe does not name it, so it was not kept.
        """
        if record not in self._sums:
            raise ValueError(
                f"{record} was not recorded in this pass: only what its recipe names is kept. Start a pass with a "
                "recipe that names it."
            )
        return self._sums[record]

    def tokens(self, source: TokenStream) -> Float[Tensor, "B S D"]:
        """Tokens of a source, made once."""
        if source not in self._tokens:
            self._tokens[source] = source.tokens(self)
        return self._tokens[source]

    def map(self, kind: TokenMap) -> Float[Tensor, "B _ R C"]:
        """A map in float32, made once; on the way through the levels of `EveryBlock` nothing is kept."""
        if self.level < self.depth:
            return kind.build(self)
        if kind not in self._maps:
            self._maps[kind] = kind.build(self)
        return self._maps[kind]

    def flags(self, detector: Detector) -> Bool[Tensor, "B N"]:
        """Flagged patches, found once."""
        if detector not in self._flags:
            self._flags[detector] = detector.flags(self)
        return self._flags[detector]

    def given(self, name: str) -> Tensor:
        """A map that the caller supplied."""
        return self._given[name]

    def _beside(self, recipe: Recipe, given: Mapping[str, Tensor]) -> "ImagePass":
        """The same trunk with another recipe; everything that depends on given maps is recomputed."""
        other = copy(self)
        other.recipe, other._given = recipe, {**self._given, **given}
        other._maps, other._tokens, other._flags, other.scratch = {}, {}, dict(self._flags), {}
        other._check()
        return other

    def _check(self) -> None:
        recipe = self.recipe
        missing = [name for name in recipe.needs_given if name not in self._given]
        if missing:
            raise ValueError(
                f"recipe {recipe.id!r} takes maps from outside, and {', '.join(missing)} is missing; bring them to "
                f"clipsight.features.run(view, images, recipe, given={{{missing[0]!r}: tensor}})."
            )
        patches = self.grid[0] * self.grid[1]
        for one in recipe.given:
            side = patches if one.over == "patches" else patches + self.prefix
            shape = tuple(self._given[one.name].shape)
            if len(shape) != 4 or shape[2:] != (side, side) or shape[0] not in (1, self.batch):
                raise ValueError(
                    f"the map given as {one.name!r} has the shape {shape}; for {self.batch} pictures of {self.grid[0]} "
                    f"× {self.grid[1]} patches a map over {one.over} is ({self.batch} or 1, heads or 1, {side}, "
                    f"{side})."
                )
        if reason := why_not(recipe, self.view):
            raise Unsupported(f"recipe {recipe.id!r} cannot run on this image tower: {reason}")

    def _run_trunk(self) -> None:
        """Run the blocks before the head, and the last one too if something is recorded of it."""
        recipe = self.recipe
        due = {record: record.span.indices(self.depth) for record in recipe.records}
        before_head = self.depth - recipe.path.count(self.depth)
        every_block = isinstance(recipe.path, EveryBlock)
        last = max([before_head, *(indices[-1] for indices in due.values())])
        for number in range(1, last + 1):
            if number == before_head + 1:
                self.entered = self._trunk.entering(number)
            elif every_block:
                self._normed.append(self.blocks[number - 1].norm1(self._trunk.entering(number)))
            records = [record for record, indices in due.items() if number in indices]
            if records or recipe.edit is not None:
                self._step(number, records)
        if last == before_head:
            self.entered = self._trunk.entering(before_head + 1)

    def _step(self, number: int, records: Sequence[Record]) -> None:
        """One block of the trunk, edited, with what is recorded of it."""
        trunk, edit, block = self._trunk, self.recipe.edit, self.blocks[number - 1]
        x = trunk.entering(number)
        step = BlockStep(block, x, self.prefix)
        made = {record: record.read(step) for record in records if not record.reads_after}
        in_parts = bool(made) or (edit is not None and edit.changes_attention)
        if in_parts and number + 1 not in trunk:
            trunk.put(number + 1, onward(block, x, block.merge(self._own_attention(step))))
        if edit is not None:
            after = trunk.entering(number + 1)
            patches = after[:, self.prefix :]
            changed = edit.patches(patches, self.grid)
            if changed is not patches:
                self.edited = True
                trunk.put(number + 1, torch.cat([after[:, : self.prefix], changed], dim=1))
        if edit is not None or len(made) < len(records):
            step.after = trunk.entering(number + 1)
        for record in records:
            new = made[record] if record in made else record.read(step)
            self._sums[record] = self._sums[record] + new if record in self._sums else new

    def _own_attention(self, step: BlockStep) -> Float[Tensor, "B K S d"]:
        edit, weights = self.recipe.edit, step.made_weights()
        if edit is not None and edit.changes_attention and step.block is not self.blocks[-1]:
            weights, self.edited = edit.attention(step.weights("q", "k"), self.prefix), True
        if weights is not None:
            return weights.to(step.parts["v"].dtype) @ step.parts["v"]
        q, k, v = step.parts.values()
        return F.scaled_dot_product_attention(q, k, v, scale=step.block.scale)

    def _head(self, rows: str) -> Float[Tensor, "BL R D"]:
        """What is read out as patches; with rows="all" the prefix's own rows before them."""
        recipe = self.recipe
        if recipe.is_plain:
            x = self._trunk.entering(self.depth + 1, self._since)
            return x if rows == "all" else x[:, self.prefix :]
        if isinstance(recipe.path, Accumulate):
            return self._accumulated(recipe.path.count(self.depth), rows)
        if isinstance(recipe.path, EveryBlock):
            return self._every_block()
        total: Tensor | None = None
        for stream, kernel in zip(recipe.streams, recipe.kernels, strict=True):
            out = self._through_last(stream, kernel, rows)
            out = out if stream.weight == 1 else stream.weight * out
            total = out if total is None else total + out
        assert total is not None  # a recipe has at least one stream
        return total

    def _through_last(self, stream: Stream, kernel: Kernel, rows: str) -> Float[Tensor, "B R D"]:
        recipe, last = self.recipe, self.blocks[-1]
        x = self._entering(stream)
        heads = self._heads(x, kernel, rows)
        out = last.merge(kernel.output(heads))
        if recipe.residual == "keep" and last.residual:
            out = x[:, heads.first :] + out
        elif isinstance(recipe.residual, ClassToken):
            out = out + recipe.residual.share * self.tokens(stream.source)[:, :1]
        if recipe.ffn == "keep" and last.residual:
            out = out + last.ffn(out)
        if stream.after is None:
            return out
        first = out.shape[1] - self.grid[0] * self.grid[1]
        return torch.cat([out[:, :first], stream.after.apply(out[:, first:], self)], dim=1)

    def _entering(self, stream: Stream) -> Float[Tensor, "B S D"]:
        """The stream's tokens as they go into the last block."""
        x = self.tokens(stream.source)
        if stream.before is None:
            return x
        return torch.cat([x[:, : self.prefix], stream.before.apply(x[:, self.prefix :], self)], dim=1)

    def _heads(self, x: Float[Tensor, "B S D"], kernel: Kernel, rows: str) -> Heads:
        normed = self._entered_normed if x is self.entered else self.blocks[-1].norm1(x)
        patch_keys = kernel.keys == "patches"
        return Heads(self.blocks[-1], normed, self, patch_keys=patch_keys, rows=rows, letters=kernel.letters)

    @cached_property
    def _entered_normed(self) -> Float[Tensor, "B S D"]:
        return self.blocks[-1].norm1(self.entered)

    @property
    def _since(self) -> tuple[int, Tensor]:
        """Number and tokens of the first block of the head."""
        return self.depth - self.recipe.path.count(self.depth) + 1, self.entered

    def _every_block(self) -> Float[Tensor, "LB N D"]:
        """Read-outs of all blocks, the first block's pictures first."""
        last, kernel = self.blocks[-1], self.recipe.kernel
        made = []
        try:
            for self.level, x in enumerate((*self._normed, self.entered), start=1):  # noqa: B020
                made.append(last.merge(kernel.output(self._heads(x, kernel, "patches"))))
        finally:
            self.level = self.depth
        return torch.cat(made)

    def _accumulated(self, count: int, rows: str) -> Float[Tensor, "B R D"]:
        """The kernel's outputs over the last `count` blocks, beside the original path."""
        recipe, trunk, total = self.recipe, self._trunk, None
        first = 0 if rows == "all" else self.prefix
        for number in range(self.depth - count + 1, self.depth + 1):
            block, x = self.blocks[number - 1], trunk.entering(number, self._since)
            y = block.norm1(x)
            only_prefix = number == self.depth and self.view.pools == "class"
            goes_on = not only_prefix and number + 1 not in trunk
            letters = "qkv" if goes_on else recipe.kernel.letters
            heads = Heads(block, y, self, patch_keys=False, rows=rows, letters=letters)
            new = block.merge(recipe.kernel.output(heads))
            total = new if total is None else total + new
            if goes_on:
                q, k, v = (heads.part(letter) for letter in "qkv")
                own = F.scaled_dot_product_attention(q, k, v, scale=block.scale)
                trunk.put(number + 1, onward(block, x, block.merge(own)))
            elif only_prefix:
                trunk.left(normed=y)
        assert total is not None  # every path has at least one block
        return self.entered[:, first:] + total if recipe.residual == "keep" else total
