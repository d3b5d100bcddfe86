"""Masks in the formats of other programs: palette PNG, run lengths, polygons."""

import io
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from clipsight.draw.palette import Colour

Ring = list[list[float]]


def label_png(labels: Integer[np.ndarray, "H W"], colours: list[Colour], settings: str) -> bytes:
    """A PNG whose samples are the labels, 0 transparent, with `settings` in its text chunk "clipsight".

    Eight-bit palette for up to 255 classes, sixteen-bit grey without colours beyond.
    """
    info = PngInfo()
    info.add_text("Software", "clipsight")
    info.add_text("clipsight", settings)
    buffer = io.BytesIO()
    if len(colours) > 255:
        Image.fromarray(labels.astype(np.uint16)).save(buffer, "PNG", pnginfo=info)
        return buffer.getvalue()
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette([value for one in ((0, 0, 0), *colours) for value in one])
    picture.save(buffer, "PNG", pnginfo=info, transparency=0)
    return buffer.getvalue()


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    """COCO's uncompressed run lengths: {"size": [H, W], "counts": [...]}, column by column, absent pixels first.

    `pycocotools.mask.frPyObjects(value, H, W)` reads it.
    """
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=~flat[-1:])) if flat.size else np.zeros(0, int)
    counts = np.diff(edges, prepend=0)
    return {"size": list(mask.shape), "counts": counts.tolist()}


def compressed_run_lengths(mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    """COCO's compressed run lengths: {"size": [H, W], "counts": text}, as annotation files and pycocotools have them.

    Raises:
        ImportError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "compressed run lengths need pycocotools, which is not installed: pip install 'clipsight[bench]'. "
            'Without it, save as .json: its "rle" are the uncompressed run lengths, which COCO tools read as well.'
        ) from error
    counts: Any = coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    return {"size": list(mask.shape), "counts": counts.decode("ascii")}


def polygons(mask: Bool[np.ndarray, "H W"]) -> list[list[Ring]]:
    """Outlines in pixels (x to the right, y down, pixel (0, 0) covers 0…1): each an outer ring, then its holes.

    Lines run between the pixels and cut corners by half a pixel, so that the centre of a pixel lies inside if and
    only if it is in the mask. Rings are closed; touching corners are apart. Points within straight lines are left
    out.
    """
    from contourpy import FillType, contour_generator

    height, width = mask.shape
    framed = np.pad(mask.astype(np.float32), 1)
    at = np.arange(-1, max(height, width) + 1) + 0.5
    tracer = contour_generator(at[: width + 2], at[: height + 2], framed, fill_type=FillType.OuterOffset)
    found: Any = tracer.filled(0.5, 2.0)
    return [
        [_straightened(ring[start:stop]) for start, stop in pairwise(where)]
        for ring, where in zip(*found, strict=True)
    ]


def _straightened(ring: np.ndarray) -> Ring:
    """A closed ring without the points inside its straight lines."""
    open_ring = ring[:-1]
    before, after = open_ring - np.roll(open_ring, 1, 0), np.roll(open_ring, -1, 0) - open_ring
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0] != 0
    kept = open_ring[turns].tolist()
    return [*kept, kept[0]]


def box(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the first and last pixels in the mask, inclusive; the mask must have a pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
