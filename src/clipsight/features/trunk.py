"""The tower's own blocks, run once for all recipes that do not change them.

Most recipes change only what is read of the last blocks: the tokens that enter block 7 are the same for all of them. A
trunk runs the blocks as far as somebody asks and keeps what entered each, so that a second recipe goes on from there.
"""

from jaxtyping import Float
from torch import Tensor

from clipsight.towers.view import BlockView, PositionRule, VisionView


class Trunk:
    """The input of each block of an image tower, for a batch of pictures.

    Not safe to share between threads without a lock. Carries a graph when it is run with autograd on.

    Args:
        view: the image tower. images: normalised pixels.
        positions: the rule for other grids than the native one; only recipes with this rule share the trunk there.
        keep: bytes of tokens to keep besides the latest: the memory knob. The earliest are let go first, and are run
            again from the pixels, or from what is kept before them, when they are asked for. 0 keeps the latest alone.
    """

    def __init__(
        self, view: VisionView, images: Float[Tensor, "B 3 H W"], positions: PositionRule, keep: int = 0
    ) -> None:
        self.view = view
        self.positions: PositionRule = positions
        self.grid = view.grid(*images.shape[-2:])
        self.blocks = view.blocks_at(self.grid)
        self._pooled: Float[Tensor, "B E"] | None = None
        self._left: Float[Tensor, "B P D"] | None = None
        self._images, self._room = images, keep
        self._kept: dict[int, Tensor] = {}
        self._latest: tuple[int, Tensor] | None = None

    def serves(self, positions: PositionRule) -> bool:
        """Whether a recipe with this rule sees the same tokens; at the native grid all rules give the same."""
        return positions == self.positions or self.grid == self.view.native_grid

    def __contains__(self, number: int) -> bool:
        """Whether the tokens that enter a block are there without running anything."""
        return number in self._kept or (self._latest is not None and self._latest[0] == number)

    def entering(self, number: int, since: tuple[int, Tensor] | None = None) -> Float[Tensor, "B S D"]:
        """The tokens that enter a block, counted from 1; one more than there are blocks is what leaves the last.

        Args:
            number: of the block.
            since: number and tokens of an earlier block that the caller has at hand, to go on from if nothing nearer
                is kept.
        """
        known = [*self._kept.items(), *(one for one in (self._latest, since) if one is not None)]
        before = [one for one in known if one[0] <= number]
        if before:
            at, x = max(before, key=lambda one: one[0])
        else:
            at, x = 1, self.view.embed(self._images, self.positions)
            self.put(at, x)
        while at < number:
            at, x = at + 1, self.blocks[at - 1](x)
            self.put(at, x)
        return x

    def put(self, number: int, x: Float[Tensor, "B S D"]) -> None:
        """Store the tokens that enter a block, when the caller has computed them anyway."""
        self._latest = number, x
        self._kept.pop(number, None)
        size = x.numel() * x.element_size()
        earlier = sorted(one for one in self._kept if one < number)
        while earlier and self._held() + size > self._room:
            del self._kept[earlier.pop(0)]
        if self._held() + size <= self._room:
            self._kept[number] = x

    def left(
        self, since: tuple[int, Tensor] | None = None, normed: Float[Tensor, "B S D"] | None = None
    ) -> Float[Tensor, "B P D"]:
        """What the tower pools, after the last block; of towers that pool the class token the prefix alone.

        Args:
            since: see `entering`.
            normed: what enters the last block after its first norm, if the caller has it.
        """
        if self._left is None:
            depth = len(self.blocks)
            if self.view.pools != "class" or not depth or depth + 1 in self:
                self._left = self.entering(depth + 1, since)
            else:
                x, last = self.entering(depth, since), self.blocks[-1]
                y = last.norm1(x) if normed is None else normed
                prefix = slice(0, self.view.prefix)
                self._left = onward(last, x[:, prefix], last.merge(last.attend_rows(y[:, prefix], y)))
        return self._left

    def pooled(self, since: tuple[int, Tensor] | None = None) -> Float[Tensor, "B E"]:
        """The tower's own image feature (`encode_image`), made once."""
        if self._pooled is None:
            self._pooled = self.view.pool(self.left(since))
        return self._pooled

    def _held(self) -> int:
        return sum(x.numel() * x.element_size() for x in self._kept.values())


def onward(
    block: BlockView, x: Float[Tensor, "B S D"], merged: Float[Tensor, "B S _"]
) -> Float[Tensor, "B S _"]:
    """What leaves a block whose merged attention is `merged`: residual and network, or of a pool that alone."""
    if not block.residual:
        return merged
    x = x + merged
    return x + block.ffn(x)
