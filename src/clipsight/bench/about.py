"""Which model was measured, and in which state."""

from dataclasses import asdict, dataclass
from typing import Any

from clipsight.session.lens import Lens


@dataclass(frozen=True, kw_only=True)
class About:
    """Which model in which state: everything that changes its features.

    Attributes:
        activation: "quick_gelu" or "gelu"; the fingerprint does not hold it, and a wrong one moves scores by points.
        view: what of a picture it is shown, see `clipsight.bench.composition.views`.
        size: (H, W) pixels it is shown.
    """

    model: str
    pretrained: str | None
    fingerprint: str
    activation: str
    dtype: str
    device: str
    view: str
    size: tuple[int, int]

    @classmethod
    def of(cls, lens: Lens, view: str = "native", size: tuple[int, int] | None = None) -> "About":
        """A lens that is shown pictures in this way, of its own size unless another is given."""
        return cls(
            model=lens.loaded.name,
            pretrained=lens.loaded.pretrained,
            fingerprint=lens.fingerprint,
            activation=lens.card.activation,
            dtype=str(lens.dtype).removeprefix("torch."),
            device=lens.device.type,
            view=view,
            size=size or lens.loaded.preprocess.size,
        )

    @property
    def mark(self) -> str:
        """A name for features that were made in the same way, wherever they were computed."""
        height, width = self.size
        return f"{self.fingerprint}-{self.activation}-{self.dtype}-{self.view}-{height}x{width}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "size": list(self.size)}
