"""How to treat pixels that show none of the names: a softmax assigns every pixel to some name."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Union

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clipsight.language.names import Names

Number = int | float

PRESENCE_LIMIT = 0.2
"""Names of less presence than this win no pixel under the policy "presence"; drawings call such a name absent."""

Policy = Union["Background", str, Number, Sequence[str], None]
"""How a user may say it; `Background.of` reads it."""


@dataclass(frozen=True, kw_only=True)
class Background:
    """The background policy of a segmentation; its parts may be joined.

    Attributes:
        words: texts that stand for everything else; they become a class of their own in front of the names.
        threshold: pixels whose best class is less likely than this are background, in [0, 1]. What is a good
            threshold depends on the number of queries, so one that was tuned for other names means nothing.
        presence: names of less presence in the whole picture win no pixel, in [0, 1]; None disables this. They stay in
            the softmax as rivals, so their pixels are uncertain and fall below a threshold, if there is one.

    Raises:
        ValueError: a number outside [0, 1].
    """

    words: tuple[str, ...] = ()
    threshold: Number = 0
    presence: Number | None = None

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        for name, value in (("threshold", self.threshold), ("presence", self.presence)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(
                    f"background {name}={value!r} is not in [0, 1]: it is compared with a probability after the "
                    "softmax, not with a cosine. Published thresholds lie between 0.1 and 0.4."
                )

    @classmethod
    def of(cls, policy: Policy) -> "Background":
        """The policy given by an argument.

        None or "none": every pixel has a name. A number: that threshold. A list of texts: background words.
        "presence": names that the picture as a whole does not show win nothing. A `Background`: several at once.
        """
        if isinstance(policy, Background):
            return policy
        if policy is None or policy == "none":
            return cls()
        if policy == "presence":
            return cls(presence=PRESENCE_LIMIT)
        if isinstance(policy, str):
            raise ValueError(
                f'background={policy!r} is unknown; give "none", "presence", a threshold such as 0.15, or a list of '
                f"words: [{policy!r}]."
            )
        if isinstance(policy, bool):
            raise TypeError(
                f'background={policy} says not how; give a threshold such as 0.15, words, or "none".'
            )
        if isinstance(policy, int | float):
            return cls(threshold=policy)
        if not (words := tuple(policy)):
            raise ValueError('background is an empty list; give words such as ["sky", "wall"], or "none".')
        return cls(words=words)

    def names(self, names: Names) -> Names:
        """The names, preceded by the background words if there are any."""
        return names.with_background(self.words) if self.words else names

    def allowed(self, names: Names, presence: Float[Tensor, " C"] | None) -> Bool[Tensor, " C"]:
        """Which classes may win pixels; a background class always may, and one whose presence is NaN.

        Args:
            names: with the background words.
            presence: of each class in the whole picture; for a background class it is not read.

        Raises:
            ValueError: presence counts and was not given.
        """
        if self.presence is None:
            return torch.ones(len(names), dtype=torch.bool)
        if presence is None or len(presence) != len(names):
            got = "none" if presence is None else f"{len(presence)} of them"
            raise ValueError(
                f"background by presence needs the presence of each of {len(names)} classes, got {got}; measure it "
                "with seen.explain(...).presence, or choose a threshold or words."
            )
        some = torch.tensor([isnan(value) or value >= self.presence for value in presence.tolist()])
        if names.background:
            some[0] = True
        return some
