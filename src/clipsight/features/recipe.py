"""The recipe language: a dense-feature method as data.

A recipe says which attention maps replace a block's own (`kernel`), over which blocks and token streams (`path`,
`streams`), and what of the block around them is kept (`residual`, `ffn`). `clipsight.features.executor` runs every
recipe; a value that it cannot run cannot be written down: construction refuses it and names the broken rule.
"""

import re
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from math import isfinite
from typing import Any, ClassVar, Literal

from clipsight.features.blocks import walk
from clipsight.features.branches import Applied, Bias, Branch, Kernel
from clipsight.features.citation import Citation, Published
from clipsight.features.context import Record, TokenMap
from clipsight.features.context import TokenStream as TokenSource
from clipsight.features.dataset_setting import DatasetSetting
from clipsight.features.edit import TrunkEdit
from clipsight.features.maps import Given, Smooth
from clipsight.features.repair import ClassFocus
from clipsight.features.rules import broken
from clipsight.features.steps import ScoreStep
from clipsight.features.token_streams import Entered
from clipsight.towers.positions import POSITION_RULES
from clipsight.towers.view import PositionRule


@dataclass(frozen=True)
class LastBlock:
    """The kernel works in the last block only, on the recipe's streams."""

    kind: ClassVar[str] = "last"

    def count(self, depth: int) -> int:
        """How many last blocks the kernel works in."""
        return min(1, depth)


@dataclass(frozen=True)
class Accumulate:
    """The kernel works in each of the last `blocks` blocks, on the original stream; the outputs are summed.

    The stream is what entered the first of them; it is never fed to a block, so no feed-forward network acts on it.

    Attributes:
        blocks: how many; None is all that the tower has.
    """

    kind: ClassVar[str] = "accumulate"
    blocks: int | None

    def __post_init__(self) -> None:
        if self.blocks is not None and self.blocks < 1:
            cause = "at least one block is replaced"
            raise broken("accumulate-blocks", f"blocks={self.blocks!r}", cause, "Accumulate(6)")

    def count(self, depth: int) -> int:
        """How many last blocks the kernel works in."""
        return depth if self.blocks is None else self.blocks


@dataclass(frozen=True)
class EveryBlock:
    """One read-out for each block: the normed input of block l, normed again by the last block, through its values.

    `Features.levels` holds all of them, the patch features are those of the last.
    """

    kind: ClassVar[str] = "every"

    def count(self, depth: int) -> int:
        """How many last blocks the kernel works in."""
        return min(1, depth)


Path = LastBlock | Accumulate | EveryBlock


@dataclass(frozen=True)
class ClassToken:
    """Instead of the residual, `share` of the stream's class token as it was before any repair or smoothing."""

    share: float


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One set of tokens that goes through the last block; the outputs of all streams are summed.

    Attributes:
        source: the tokens.
        before: smoothing of the patches before the block's first norm.
        after: smoothing of the block's output, residual included.
        kernel: None is the recipe's.
        weight: factor on the output.
    """

    source: TokenSource = Entered()  # noqa: RUF009 - frozen
    before: Smooth | None = None
    after: Smooth | None = None
    kernel: Kernel | None = None
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method that makes patch features, as data.

    Attributes:
        id: lower-case name, dots before variants: `naclip`, `resclip.sclip`.
        summary: one sentence for tables and help texts.
        kernel: the attention maps that replace the block's own.
        path: in which blocks, and how their outputs are joined.
        residual: `keep` adds the stream that the outputs belong to, `drop` leaves the attention outputs alone,
            `ClassToken(share)` adds a share of the class token.
        ffn: `keep` runs the last block's feed-forward network after the attention, `skip` does not.
        positions: the authors' rule for other grids than the native one.
        streams: the tokens that go through the last block.
        edit: a change of the trunk itself.
        maps: further maps that `scoring` reads; passes for patch features alone leave them out.
        scoring: steps that turn cosines into the method's own scores; `lens.maps` and `explain` take them.
        setting: the authors' setting for one data set, in variants such as `naclip.voc21-b16`.
        written_for: number of blocks that the block numbers were published for; None when they count from the end.
        others: the method as published for towers of each depth, its own included; kernel, streams and residual are
            taken from there where they were not changed.
        elsewhere: at depths nobody published, run "as written" where the tower has the blocks, or "scaled".
        on_pool: the method's form for towers whose only attention is the pooling layer of a ResNet; None where the
            recipe itself says enough.
        variant_of: id of the recipe that this one is an option of, "" for a method of its own.
        source, published, differences: its source, its published numbers, and differences from the released code.

    Raises:
        ValueError: a combination that no executor can run; the message names the rule.
    """

    id: str
    summary: str
    kernel: Kernel
    path: Path = LastBlock()
    residual: Literal["keep", "drop"] | ClassToken
    ffn: Literal["keep", "skip"]
    positions: PositionRule
    streams: tuple[Stream, ...] = (Stream(),)
    edit: TrunkEdit | None = None
    maps: tuple[TokenMap, ...] = ()
    scoring: tuple[ScoreStep, ...] = ()
    setting: DatasetSetting | None = None
    written_for: int | None = None
    others: tuple["Recipe", ...] = ()
    elsewhere: Literal["as written", "scaled"] = "as written"
    on_pool: "Recipe | None" = None
    variant_of: str = ""
    source: Citation | None = None
    published: tuple[Published, ...] = ()
    differences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_words(self)
        where = f" in recipe {self.id!r}"
        if self.ffn == "keep" and isinstance(self.path, Accumulate):
            cause = "an accumulated stream never enters a block, so no feed-forward network belongs to it"
            got = f"path={self.path} with ffn='keep'{where}"
            raise broken("accumulate-skips-ffn", got, cause, 'ffn="skip" or path=LastBlock()')
        if self.ffn == "keep" and self.residual != "keep":
            cause = "the feed-forward network reads the residual stream, which was dropped"
            got = f"residual={self.residual!r} with ffn='keep'{where}"
            raise broken("ffn-needs-residual", got, cause, 'residual="keep" or ffn="skip"')
        if not self.streams:
            raise broken(
                "streams", f"streams=(){where}", "something must go through the block", "streams=(Stream(),)"
            )
        if self.written_for is not None and self.written_for < 1:
            cause = "a tower has at least one block"
            raise broken("written-for", f"written_for={self.written_for}{where}", cause, "written_for=12")
        for stream in self.streams:
            if not isfinite(stream.weight) or stream.weight == 0:
                cause = "a weight is finite and not 0"
                raise broken(
                    "stream-weights", f"weight={stream.weight!r}{where}", cause, "leave the stream out"
                )
        own = [step for step in self.scoring if step.gives_scores]
        if any(step.begins_anew for step in own[1:]):
            cause = "it makes scores anew from features, so that the steps before it would be lost"
            raise broken("score-order", f"scoring={self.scoring}{where}", cause, "it first")
        if not isinstance(self.path, LastBlock):
            self._check_single_stream(where)
        for kernel in self.kernels:
            self._check_kernel(kernel, where)

    def _check_single_stream(self, where: str) -> None:
        if self.streams != (Stream(),) or self.edit is not None or not isinstance(self.residual, str):
            cause = "it works on the original stream alone: no other streams, no edit, no share of the class token"
            got = f"path={self.path} with streams, edit or residual of its own{where}"
            raise broken("original-stream", got, cause, "path=LastBlock()")
        if isinstance(self.path, Accumulate):
            self._check_accumulating(where)
        if isinstance(self.path, EveryBlock) and (self.residual, self.ffn) != ("drop", "skip"):
            cause = "a read-out of an earlier block has no residual stream of the last"
            raise broken(
                "every-block", f"residual={self.residual!r}{where}", cause, 'residual="drop", ffn="skip"'
            )

    def _check_accumulating(self, where: str) -> None:
        if any(isinstance(piece, Record | Entered) for piece in walk((self.kernel, self.maps))):
            cause = "an accumulating kernel runs in many blocks, so maps of single ones do not belong to it"
            got = f"path={self.path} with maps of blocks{where}"
            raise broken("accumulate-records", got, cause, "path=LastBlock()")
        if self.kernel.keys != "all":
            cause = "the original stream that it works on holds the class token as a key"
            got = f"path={self.path}, keys={self.kernel.keys!r}{where}"
            raise broken("accumulate-keys", got, cause, 'keys="all"')

    def _check_kernel(self, kernel: Kernel, where: str) -> None:
        if kernel.keys != "all" and self.residual == "keep":
            cause = "with the class token shut out its row is no residual stream of the block"
            got = f"keys={kernel.keys!r} with residual='keep'{where}"
            raise broken("patch-keys", got, cause, 'residual="drop" or ClassToken(0.3)')
        for piece in walk(kernel):
            if isinstance(piece, Applied) and piece.by.over == "patches" and kernel.keys != "patches":
                cause = "a map of patches says nothing of the class token"
                raise broken(
                    "patch-maps",
                    f"{type(piece.by).__name__} with keys={kernel.keys!r}{where}",
                    cause,
                    'keys="patches"',
                )

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Kernels of all streams."""
        return tuple(self.kernel if stream.kernel is None else stream.kernel for stream in self.streams)

    @property
    def records(self) -> tuple[Record, ...]:
        """What must be recorded while the trunk runs, besides what enters the last block."""
        return tuple(
            dict.fromkeys(
                one for one in walk((self.kernel, self.streams, self.maps)) if isinstance(one, Record)
            )
        )

    @property
    def given(self) -> tuple[Given, ...]:
        """The maps that the caller must supply."""
        pieces = walk((self.kernel, self.streams, self.maps))
        return tuple(dict.fromkeys(piece for piece in pieces if isinstance(piece, Given)))

    @property
    def needs_given(self) -> tuple[str, ...]:
        """Names of the maps that the caller must supply."""
        return tuple(dict.fromkeys(one.name for one in self.given))

    @property
    def needs_weights(self) -> bool:
        """True when some attention map must be made in full, which takes memory of N² for each head."""
        pieces = walk((self.kernel, self.streams, self.edit))
        explicit = any(
            isinstance(piece, Applied) or (isinstance(piece, Record) and not piece.reads_after)
            for piece in pieces
        )
        changed = self.edit is not None and self.edit.changes_attention
        return explicit or changed or any(one.heads is not None or one.keys == "cut" for one in self.kernels)

    @property
    def needs_texts(self) -> bool:
        """True when the method needs the texts: for a second pass with its own labels, or for its own scores."""
        return bool(self.scoring)

    @property
    def has_own_scores(self) -> bool:
        """True when the method has its own scores, which are not cosines of features."""
        return any(step.gives_scores for step in self.scoring)

    @property
    def needs_class_token(self) -> bool:
        """True when a token for the whole picture takes part besides what its own attention gives it."""
        pieces = walk((self.kernel, self.streams, self.residual, self.maps))
        return any(isinstance(piece, ClassToken | ClassFocus) for piece in pieces)

    @property
    def is_plain(self) -> bool:
        """True when the recipe describes the tower's own forward pass."""
        own = Kernel(branches=(Branch(left="q", right="k"),))
        head = (self.kernel, self.path, self.residual, self.ffn, self.streams, self.edit)
        return head == (own, LastBlock(), "keep", "keep", (Stream(),), None)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain dicts, lists, strings and numbers, for JSON; fields with default values are omitted."""
        return _plain(self)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the result, without prose: plain data for a result's provenance."""
        prose = ("summary", "source", "published", "differences", "others", "on_pool", "variant_of")
        return {name: value for name, value in self.to_dict().items() if name not in prose}


def with_depth(recipe: Recipe, blocks: int) -> Recipe:
    """The same recipe over the last `blocks` blocks.

    Raises:
        ValueError: the recipe does not accumulate over blocks, or `blocks` is below 1.
    """
    if not isinstance(recipe.path, Accumulate):
        cause = "only recipes with path=Accumulate(n) have a depth"
        raise broken("depth", f"depth {blocks} for recipe {recipe.id!r}", cause, 'method="clip_surgery"')
    return replace(recipe, path=Accumulate(blocks))


def with_bias(kernel: Kernel, bias: Bias) -> Kernel:
    """The same kernel with a map added to the scores of each of its attentions."""
    branches = tuple(
        replace(one, bias=(*one.bias, bias)) if isinstance(one, Branch) else one for one in kernel.branches
    )
    return replace(kernel, branches=branches)


def _check_words(recipe: Recipe) -> None:
    where = f" in recipe {recipe.id!r}"
    if not re.fullmatch(r"[a-z0-9]\w*(\.[a-z0-9][\w-]*)*", recipe.id):
        raise broken(
            "recipe-id", f"id={recipe.id!r}", "ids are lower-case words joined by _ and dots", '"my_method"'
        )
    if recipe.residual not in ("keep", "drop") and not isinstance(recipe.residual, ClassToken):
        cause = "it is 'keep', 'drop' or ClassToken(share)"
        raise broken("residual", f"residual={recipe.residual!r}{where}", cause, 'residual="keep"')
    if recipe.ffn not in ("keep", "skip"):
        raise broken("ffn", f"ffn={recipe.ffn!r}{where}", "it is 'keep' or 'skip'", 'ffn="skip"')
    if recipe.positions not in POSITION_RULES:
        cause = f"it is one of {', '.join(POSITION_RULES)}"
        raise broken("positions", f"positions={recipe.positions!r}{where}", cause, 'positions="bilinear"')
    if recipe.elsewhere not in ("as written", "scaled"):
        cause = "it is 'as written' or 'scaled'"
        raise broken("elsewhere", f"elsewhere={recipe.elsewhere!r}{where}", cause, 'elsewhere="scaled"')


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = {} if isinstance(value, Recipe) else {"kind": getattr(value, "kind", type(value).__name__)}
        return kind | {
            field.name: _plain(getattr(value, field.name))
            for field in fields(value)
            if field.default is MISSING or getattr(value, field.name) != field.default
        }
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
