"""The sprites of the emoji world: one RGBA picture per everyday noun.

Rendered once from Noto Color Emoji (Debian package fonts-noto-color-emoji; font under the SIL Open Font License 1.1,
artwork under the Apache License 2.0, Copyright Google Inc.) by `scripts/make_atlas.py`.
"""

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

Damage = Literal["scratch", "hole", "stain"]
DAMAGES: tuple[Damage, ...] = ("scratch", "hole", "stain")

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 40),
    "orange": (250, 140, 20),
    "yellow": (250, 220, 40),
    "green": (45, 170, 65),
    "blue": (40, 90, 230),
    "purple": (140, 50, 190),
    "pink": (250, 130, 190),
    "gray": (135, 135, 140),
}


@dataclass(frozen=True)
class _Atlas:
    cell: int
    names: tuple[str, ...]
    pixels: UInt8[np.ndarray, "S c c 4"]


@cache
def _atlas() -> _Atlas:
    folder = files("clipsight") / "assets"
    index = json.loads((folder / "emoji_atlas.json").read_text(encoding="utf-8"))
    sheet = np.asarray(Image.open(BytesIO((folder / "emoji_atlas.png").read_bytes())).convert("RGBA"))
    cell, columns = index["cell"], index["columns"]
    names = tuple(row["name"] for row in index["sprites"])
    pixels = np.stack(
        [
            sheet[
                i // columns * cell : (i // columns + 1) * cell, i % columns * cell : (i % columns + 1) * cell
            ]
            for i in range(len(names))
        ]
    )
    return _Atlas(cell, names, pixels)


def nouns() -> tuple[str, ...]:
    """The names of all sprites, singular English, in the order of the atlas."""
    return _atlas().names


def article(phrase: str) -> str:
    """The indefinite article of a phrase: "an" before a vowel sound ("a unicorn" is the exception here)."""
    return "an" if phrase[0] in "aeiou" and not phrase.startswith("uni") else "a"


def plural(noun: str) -> str:
    """The plural of a sprite's name."""
    irregular = {"mouse": "mice", "maple leaf": "maple leaves"}
    unchanged = ("fish", "shrimp", "sheep", "corn", "broccoli", "squid")
    if noun in irregular:
        return irregular[noun]
    if noun.endswith(unchanged):
        return noun
    if noun.endswith(("s", "x", "ch", "sh", "tomato", "potato")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


@lru_cache(maxsize=2048)
def sprite(name: str, color: str | None = None) -> UInt8[np.ndarray, "c c 4"]:
    """The sprite of a noun, tinted when a colour is given. RGBA, read-only.

    A tint keeps the shading and replaces hue and saturation, so that a blue tomato is blue all over.

    Raises:
        ValueError: unknown noun or colour.
    """
    atlas = _atlas()
    if name not in atlas.names:
        raise ValueError(
            f"no sprite named {name!r}; clipsight.world.nouns() lists the {len(atlas.names)} names"
        )
    if color is not None and color not in COLORS:
        raise ValueError(f"no colour named {color!r}; known: {', '.join(COLORS)}")
    pixels = atlas.pixels[atlas.names.index(name)].copy()
    if color is not None:
        pixels[..., :3] = _tint(pixels, np.array(COLORS[color], np.float32))
    pixels.setflags(write=False)
    return pixels


def _tint(pixels: UInt8[np.ndarray, "c c 4"], color: Float[np.ndarray, "3"]) -> UInt8[np.ndarray, "c c 3"]:
    light = pixels[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    inked = light[pixels[..., 3] > 128]
    low, high = np.quantile(inked, [0.02, 0.98])
    light = np.clip((light - low) / max(high - low, 0.05), 0, 1)[..., None]
    shaded = color * (0.3 + 0.8 * light)
    shine = np.clip(light - 0.75, 0, 1) * 0.8
    return np.clip(shaded * (1 - shine) + 255 * shine, 0, 255).astype(np.uint8)


def damage(
    pixels: UInt8[np.ndarray, "c c 4"], kind: Damage, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "c c 4"], UInt8[np.ndarray, "c c"]]:
    """Scratch, pierce or stain a sprite; returns the new sprite and where it was changed (0 or 255).

    The damage lies around a random inked pixel and only on ink. A hole is transparent with a dark rim.
    """
    cell = pixels.shape[0]
    rows, columns = np.nonzero(pixels[..., 3] > 200)
    inner = (abs(rows - cell / 2) < cell * 0.3) & (abs(columns - cell / 2) < cell * 0.3)
    if inner.any():
        rows, columns = rows[inner], columns[inner]
    pick = rng.integers(len(rows))
    x, y = float(columns[pick]), float(rows[pick])
    out = Image.fromarray(pixels.copy())
    where = Image.new("L", out.size)
    mark, paint = ImageDraw.Draw(where), ImageDraw.Draw(out)
    if kind == "scratch":
        angle = rng.uniform(0, np.pi)
        for shift in rng.uniform(-0.11, 0.11, 3):
            length = rng.uniform(0.28, 0.42) * cell
            dx, dy = np.cos(angle) * length, np.sin(angle) * length
            ox, oy = -np.sin(angle) * shift * cell, np.cos(angle) * shift * cell
            line = (x + ox - dx, y + oy - dy, x + ox + dx, y + oy + dy)
            paint.line(line, fill=(25, 20, 20, 255), width=5)
            paint.line(line, fill=(250, 248, 240, 255), width=2)
            mark.line(line, fill=255, width=5)
    else:
        radius = rng.uniform(0.15, 0.2) * cell
        turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        wobble = radius * (1 + 0.22 * np.sin(3 * turns + rng.uniform(0, 6)) + 0.1 * rng.standard_normal(24))
        blob = [(x + r * np.cos(t), y + r * np.sin(t)) for r, t in zip(wobble, turns, strict=True)]
        if kind == "hole":
            paint.polygon(blob, fill=(0, 0, 0, 0), outline=(20, 15, 15, 255), width=3)
        else:
            paint.polygon(blob, fill=(74, 52, 18, 255), outline=(48, 34, 10, 255), width=2)
        mark.polygon(blob, fill=255)
    result, changed = np.asarray(out).copy(), np.asarray(where).copy()
    bare = pixels[..., 3] < 128
    result[bare] = pixels[bare]
    changed[bare] = 0
    return result, changed
