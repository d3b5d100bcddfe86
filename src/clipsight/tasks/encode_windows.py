"""Encode a picture through sliding windows: several windows per pass; scores are kept, features are not."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from clipsight.errors import ClipsightWarning
from clipsight.scoring import similarity_maps
from clipsight.tasks.windows import Windows

Score = Callable[[Tensor], Tensor]
"""Pixels (B, 3, H, W) -> scores of all queries (B, Q, h, w)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowScores:
    """Scores of all queries in all windows, windows row by row, float32; and notes on deviations."""

    scores: Float[Tensor, "Q n h w"]
    notes: tuple[str, ...] = ()


def cosine_score(encode: Callable[[Tensor], Tensor], texts: Float[Tensor, "Q E"]) -> Score:
    """Cosines of patch features with texts as a function of pixels.

    Args:
        encode: pixels (B, 3, H, W) -> patch features (B, h, w, E) of any length, such as
            `lambda x: lens.patch_features(x, "sc_clip")`.
        texts: text features of any length, one for each query.
    """
    return lambda pixels: similarity_maps(encode(pixels), texts)


@torch.no_grad()
def window_scores(
    pixels: Float[Tensor, "1 3 H W"],
    windows: Windows,
    score: Score,
    *,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> WindowScores:
    """Scores of a picture's windows, `batch` of them in a pass.

    When an accelerator runs out of memory the batch is halved, with a warning and a note.

    Args:
        pixels: the normalised picture at the size that the windows lie on.
        windows: where they lie.
        score: see `cosine_score`; a method with scores of its own gives `lambda x: lens.maps(x, texts, method)`.
        batch: most windows in one pass.
        progress: called with (windows done, all windows) after each pass.

    Raises:
        ValueError: pixels of another size than the windows lie on, or no window in a pass.
    """
    if tuple(pixels.shape[-2:]) != windows.size or batch < 1:
        raise ValueError(
            f"windows on {windows.size} were asked of pixels of {tuple(pixels.shape[-2:])} (rows, columns), {batch} "
            "in a pass; resize the picture to windows.size, and take at least one."
        )
    places, made, notes = list(windows), [], []
    done = 0
    while done < len(places):
        part = places[done : done + batch]
        try:
            found = score(torch.cat([pixels[..., slice(*rows), slice(*columns)] for rows, columns in part]))
        except RuntimeError as error:  # torch.OutOfMemoryError is one; Apple's MPS raises it bare
            if len(part) == 1 or "out of memory" not in str(error):
                raise
            batch = len(part) // 2
            notes.append(f"Memory ran out with {len(part)} windows in a pass; went on with {batch}.")
            warnings.warn(notes[-1], ClipsightWarning, stacklevel=2)
            continue
        made.append(rearrange(found.float(), "n Q h w -> Q n h w"))
        done += len(part)
        if progress:
            progress(done, len(places))
    return WindowScores(scores=torch.cat(made, 1), notes=tuple(notes))
