"""The recipe language: a dense-feature method as data.

A recipe says which attention maps replace a block's own (`kernel`), over which blocks their outputs are summed
(`path`), and what of the block around them is kept (`residual`, `ffn`). `clipsight.surgery.executor` runs every
recipe; a value that it cannot run cannot be written down: construction refuses it and names the broken rule.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from clipsight.towers.positions import POSITION_RULES
from clipsight.towers.view import PositionRule

Operand = Literal["q", "k", "v"]
Grade = Literal["read", "second-hand", "derived"]
"""`read`: in the method's own repository, code or result image. `second-hand`: from another paper's table.
`derived`: by arithmetic from listed numbers."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One attention over all tokens, `softmax(scale · left rightᵀ) v`, with the scale of the block's own heads.

    `Branch(left="q", right="k")` is the block's own attention, `Branch(left="v", right="v")` CLIP Surgery's.
    """

    left: Operand
    right: Operand
    weight: float = 1.0

    def __post_init__(self) -> None:
        for side, operand in (("left", self.left), ("right", self.right)):
            if operand not in get_args(Operand):
                raise _broken(
                    "branch-operands",
                    f"{side}={operand!r}",
                    "a branch compares q, k or v",
                    'Branch(left="v", right="v")',
                )
        if not math.isfinite(self.weight) or self.weight == 0:
            raise _broken(
                "branch-weights",
                f"weight={self.weight!r}",
                "a weight is finite and not 0",
                "leave the branch out",
            )


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Weighted sum of branches. Weights are used as they stand: two branches of weight 1 are a sum, not a mean."""

    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        if not self.branches:
            raise _broken(
                "kernel-branches",
                "branches=()",
                "a kernel has at least one branch",
                'Branch(left="q", right="k")',
            )

    @property
    def operands(self) -> frozenset[str]:
        """Which of q, k, v the maps and their output need."""
        return frozenset("v").union(*({branch.left, branch.right} for branch in self.branches))


@dataclass(frozen=True)
class LastBlock:
    """The kernel works in the last block only; the stream is what entered that block."""

    kind: ClassVar[str] = "last"

    @property
    def blocks(self) -> int:
        """How many last blocks the kernel works in."""
        return 1


@dataclass(frozen=True)
class Accumulate:
    """The kernel works in each of the last `blocks` blocks, on the original stream; the outputs are summed.

    The stream is what entered the first of them; it is never fed to a block, so no feed-forward network acts on it.
    """

    kind: ClassVar[str] = "accumulate"
    blocks: int

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise _broken(
                "accumulate-blocks",
                f"blocks={self.blocks!r}",
                "at least one block is replaced",
                "Accumulate(6)",
            )


Path = LastBlock | Accumulate


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a method comes from and at which commit its code was read."""

    title: str
    arxiv: str
    venue: str
    repository: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """A number that somebody published for the method; never one of ours."""

    benchmark: str
    metric: str
    value: float
    setting: str
    grade: Grade
    where: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method that makes patch features, as data.

    Attributes:
        id: lower-case name, dots before variants: `naclip`, `resclip.sclip`.
        summary: one sentence for tables and help texts.
        kernel: the attention maps that replace the block's own.
        path: in which blocks, and how their outputs are joined.
        residual: `keep` adds the stream that the outputs belong to, `drop` leaves the attention outputs alone.
        ffn: `keep` runs the last block's feed-forward network after the attention, `skip` does not.
        positions: the authors' rule for other grids than the native one.
        source, published, differences: what it is drawn from, which numbers stand behind it, and where this one departs
            from the released code.

    Raises:
        ValueError: a combination that no executor can run; the message names the rule.
    """

    id: str
    summary: str
    kernel: Kernel
    path: Path
    residual: Literal["keep", "drop"]
    ffn: Literal["keep", "skip"]
    positions: PositionRule
    source: Source | None = None
    published: tuple[Published, ...] = ()
    differences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f" in recipe {self.id!r}"
        if not re.fullmatch(r"[a-z0-9]\w*(\.[a-z0-9][\w-]*)*", self.id):
            raise _broken(
                "recipe-id", f"id={self.id!r}", "ids are lower-case words joined by _ and dots", '"my_method"'
            )
        if self.residual not in ("keep", "drop"):
            raise _broken(
                "residual", f"residual={self.residual!r}{where}", "it is 'keep' or 'drop'", 'residual="keep"'
            )
        if self.ffn not in ("keep", "skip"):
            raise _broken("ffn", f"ffn={self.ffn!r}{where}", "it is 'keep' or 'skip'", 'ffn="skip"')
        if self.positions not in POSITION_RULES:
            known = ", ".join(POSITION_RULES)
            raise _broken(
                "positions",
                f"positions={self.positions!r}{where}",
                f"it is one of {known}",
                'positions="bilinear"',
            )
        if self.ffn == "keep" and isinstance(self.path, Accumulate):
            cause = "an accumulated stream never enters a block, so no feed-forward network belongs to it"
            raise _broken(
                "accumulate-skips-ffn",
                f"path={self.path} with ffn='keep'{where}",
                cause,
                'ffn="skip" or path=LastBlock()',
            )
        if self.ffn == "keep" and self.residual == "drop":
            cause = "the feed-forward network reads the residual stream, which was dropped"
            raise _broken(
                "ffn-needs-residual",
                f"residual='drop' with ffn='keep'{where}",
                cause,
                'residual="keep" or ffn="skip"',
            )

    @property
    def is_plain(self) -> bool:
        """True when the recipe describes the tower's own forward pass."""
        own = Kernel(branches=(Branch(left="q", right="k"),))
        return (
            self.kernel == own and self.path == LastBlock() and (self.residual, self.ffn) == ("keep", "keep")
        )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain dicts, lists, strings and numbers, for JSON."""
        plain = _plain(asdict(self))
        plain["path"] = {"kind": self.path.kind, "blocks": self.path.blocks}
        return plain

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the numbers, without the prose: plain data for a result's provenance."""
        prose = ("summary", "source", "published", "differences")
        return {name: value for name, value in self.to_dict().items() if name not in prose}


def with_depth(recipe: Recipe, blocks: int) -> Recipe:
    """The same recipe over the last `blocks` blocks.

    Raises:
        ValueError: the recipe does not accumulate over blocks, or `blocks` is below 1.
    """
    if not isinstance(recipe.path, Accumulate):
        cause = "only recipes with path=Accumulate(n) have a depth"
        raise _broken("depth", f"depth {blocks} for recipe {recipe.id!r}", cause, 'method="clip_surgery"')
    return replace(recipe, path=Accumulate(blocks))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _broken(rule: str, got: str, cause: str, instead: str) -> ValueError:
    return ValueError(f"recipe rule {rule!r} is broken: got {got}, but {cause}. Write {instead}.")
