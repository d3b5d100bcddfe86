"""Check the token ids that a text tower accepts."""

import torch
from jaxtyping import Int
from torch import Tensor


def checked_ids(
    ids: Int[Tensor, "T S"], context: int, vocabulary: int | None, device: torch.device
) -> Int[Tensor, "T S"]:
    """The ids on `device`.

    Raises:
        ValueError: more positions than `context`, or ids out of the vocabulary (None: it is not known).
    """
    if ids.shape[1] > context:
        raise ValueError(
            f"got {ids.shape[1]} token positions, this model has {context}; cut them and keep the end token."
        )
    low, high = (int(ids.min()), int(ids.max())) if ids.numel() else (0, 0)
    if low < 0 or high >= (vocabulary or high + 1):
        raise ValueError(
            f"token ids run from {low} to {high}, this model knows 0 to {(vocabulary or 0) - 1}; usual cause: they "
            "come from another model's tokenizer."
        )
    return ids.to(device)


def require_whole(ids: Int[Tensor, "T S"], context: int) -> None:
    """Refuse ids that do not fill the context, for a tower in which every position counts.

    Raises:
        ValueError: as said.
    """
    if ids.shape[1] != context:
        raise ValueError(
            f"this text tower reads all of its {context} positions, got {ids.shape[1]} ids per text; pad them as its "
            "tokenizer does."
        )
