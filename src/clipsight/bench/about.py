"""Which model was measured, and in which state."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from clipsight.session.lens import Lens
from clipsight.store import code_of, key_of
from clipsight.towers.identity import model_identity, tokenizer_identity


@dataclass(frozen=True, kw_only=True)
class About:
    """Which model in which state: everything that changes its features.

    Attributes:
        activation: "quick_gelu" or "gelu"; the fingerprint does not hold it, and a wrong one moves scores by points.
        view: what of a picture it is shown, see `clipsight.bench.composition.views`.
        size: (H, W) pixels it is shown.
        made_by: hash of everything else that determines its features: architecture, settings, weights in full,
            preprocessing, libraries and their code; None where no hash could promise that, and nothing is kept on disk.
        width: E of its features; None where it is not known before.
    """

    model: str
    pretrained: str | None
    fingerprint: str
    activation: str
    dtype: str
    device: str
    view: str
    size: tuple[int, int]
    made_by: str | None = ""
    width: int | None = None

    @classmethod
    def of(
        cls,
        lens: Lens,
        view: str = "native",
        size: tuple[int, int] | None = None,
        shown: Mapping[str, Any] | None = None,
    ) -> "About":
        """A lens that is shown pictures in this way, of its own size unless another is given.

        Args:
            shown: what else of the view determines features.
        """
        return cls(
            model=lens.loaded.name,
            pretrained=lens.loaded.pretrained,
            fingerprint=lens.fingerprint,
            activation=lens.card.activation,
            dtype=str(lens.dtype).removeprefix("torch."),
            device=lens.device.type,
            view=view,
            size=size or lens.loaded.preprocess.size,
            made_by=_made_by(lens, shown or {}),
            width=lens.card.embed_dim,
        )

    @property
    def mark(self) -> str:
        """A name for features that were made in the same way, wherever they were computed."""
        height, width = self.size
        made_by = "" if not self.made_by else f"-{self.made_by[:16]}"
        return f"{self.fingerprint}-{self.activation}-{self.dtype}-{self.view}-{height}x{width}{made_by}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "size": list(self.size)}


def _made_by(lens: Lens, shown: Mapping[str, Any]) -> str | None:
    loaded = lens.loaded
    if (model := model_identity(loaded.module)) is None:
        return None
    return key_of(
        "encoder",
        {
            "model": model,
            "preprocess": asdict(loaded.preprocess),
            "view": dict(shown),
            "tokenizer": tokenizer_identity(loaded.tokenizer),
            "code": code_of("bench/composition", "pictures", "session"),
            "versions": [version(name) for name in ("pillow", "numpy", "torch", "open_clip_torch")],
        },
    )
