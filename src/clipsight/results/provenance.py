"""How a result was made: everything needed to reproduce it, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clipsight.draw.wording import printable
from clipsight.untrusted import strings

MOST_NAMES = 12  # of a contrast, in a table; the .json has all
CONTRASTS = ("none", "labels", "empty", "names")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Answers "which model, method, words and versions made this?".

    Two results with equal provenance, picture and texts hold equal maps on the same machine.
    `settings` is passed through JSON once, so that it compares equal after saving and loading
    (tuples become lists). Errors: ValueError when a field is not plain data.
    """

    model: str  # as it was asked for: "clipsight-tiny", "ViT-B-16"
    pretrained: str | None
    fingerprint: str  # short hash of the weights
    method: str  # recipe id
    settings: Mapping[str, Any]  # the recipe as plain data
    templates: tuple[str, ...]  # prompt templates; () means that texts were taken as given
    contrast: str  # one of CONTRASTS
    contrast_texts: tuple[str, ...]  # the names that the maps were contrasted with; () if none
    grid: tuple[int, int]  # (h, w) patches
    size: tuple[int, int]  # (H, W) pixels that the model saw
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()  # fallbacks, limits and warnings, one plain sentence each
    noise_level: float | int = (
        0.0  # size of scores where nothing is; drawings' scales are no narrower; 0 if unknown
    )
    activation: str = ""  # what ran and who said so: "QuickGELU, by the tag 'openai'"; "" in old files

    def __post_init__(self) -> None:
        """Bring containers to plain data and refuse what JSON cannot hold."""
        if self.contrast not in CONTRASTS:
            raise ValueError(
                f"contrast {self.contrast!r} is not one of {', '.join(CONTRASTS)}; "
                'record what was done to the scores, "none" for raw cosines.'
            )
        for name in ("settings", "versions"):
            try:
                plain = json.loads(json.dumps(dict(getattr(self, name)), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"provenance.{name} must be plain data that JSON can hold, but {error}; "
                    "give str, int, finite float, bool, None, list and dict only."
                ) from error
            object.__setattr__(self, name, plain)
        for name in ("templates", "contrast_texts", "notes"):
            object.__setattr__(self, name, strings(getattr(self, name), f"provenance.{name}"))
        for name in ("grid", "size"):
            h, w = getattr(self, name)
            object.__setattr__(self, name, (int(h), int(w)))

    @property
    def unit(self) -> str:
        """Unit of the scores: "cosine" or what the method says of itself, its difference where there was a contrast."""
        said = str(self.settings.get("unit", "cosine"))
        return said if self.contrast == "none" else f"{said} difference"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is its inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Provenance":
        """Read what `to_dict` wrote; a missing field raises KeyError, unknown fields are ignored."""
        h, w = data["grid"]
        height, width = data["size"]
        return cls(
            model=data["model"],
            pretrained=data["pretrained"],
            fingerprint=data["fingerprint"],
            method=data["method"],
            settings=data["settings"],
            templates=strings(data["templates"], "templates"),
            contrast=data["contrast"],
            contrast_texts=strings(data["contrast_texts"], "contrast_texts"),
            grid=(h, w),
            size=(height, width),
            versions=data["versions"],
            notes=strings(data.get("notes", ()), "notes"),
            activation=data.get("activation", ""),
            noise_level=float(data.get("noise_level", 0.0)),
        )

    def rows(self) -> list[tuple[str, str]]:
        """(name, value) of everything, for a table that people read."""
        h, w = self.grid
        height, width = self.size
        names = ", ".join(map(printable, self.contrast_texts[:MOST_NAMES]))
        more = len(self.contrast_texts) - MOST_NAMES
        names += f" and {more} more" if more > 0 else ""
        rows = [
            ("model", f"{self.model} {self.pretrained or ''}".strip()),
            ("weights", self.fingerprint),
            ("method", self.method),
            ("settings", json.dumps(self.settings, ensure_ascii=False)),
            ("contrast", self.contrast + (f": {names}" if names else "")),
            ("templates", " | ".join(self.templates) or "texts as given"),
            ("grid", f"{h} rows × {w} columns"),
            ("seen at", f"{width} × {height} px"),
            *([("noise level", f"{self.noise_level:.3g}")] if self.noise_level else []),
            ("versions", ", ".join(f"{k} {v}" for k, v in self.versions.items())),
        ]
        return rows + [("note", note) for note in self.notes]

    def line(self) -> str:
        """One line for the foot of a drawing."""
        model = f"{self.model} ({self.pretrained})" if self.pretrained else self.model
        h, w = self.grid
        height, width = self.size
        contrast = {
            "none": "no contrast",
            "labels": "contrast among the texts",
            "empty": "contrast with the empty prompt",
            "names": f"contrast with {len(self.contrast_texts)} names",
        }[self.contrast]
        parts = [model, self.method, contrast, f"grid {h} × {w} (rows × columns)"]
        if self.activation:
            kind, _, reason = self.activation.partition(", ")
            parts.append(f"{kind} (assumed)" if reason.startswith("assumed") else kind)
        parts += [f"seen at {width} × {height} px", f"weights {self.fingerprint or 'unknown'}"]
        parts += [f"clipsight {v}" for k, v in self.versions.items() if k == "clipsight"]
        return " · ".join(parts)
