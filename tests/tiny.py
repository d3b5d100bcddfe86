"""Small random open_clip models for tests: milliseconds per pass, the same numbers on every run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import jaxtyping
import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

TINY_VISION = {"image_size": 64, "patch_size": 16, "width": 64, "head_width": 32, "layers": 6}
TINY_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3}


def tiny_clip(
    seed: int = 0,
    *,
    quick_gelu: bool = True,
    embed_dim: int = 32,
    text: Mapping[str, Any] | None = None,
    **vision: Any,
) -> open_clip.CLIP:
    """A random CLIP (grid 4 × 4, six image blocks, ordinary vocabulary), in eval mode.

    `vision` and `text` override the two configurations. No parameter is left at a special value such as a zero bias or
    a unit norm weight, so that a forgotten one shows.
    """
    needs_options(vision, text or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(
            embed_dim,
            CLIPVisionCfg(**{**TINY_VISION, **vision}),
            CLIPTextCfg(**{**TINY_TEXT, **(text or {})}),
            quick_gelu=quick_gelu,
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name == "visual.positional_embedding":
                    parameter.normal_(std=0.5)
                elif parameter.ndim <= 1 and name != "logit_scale":
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def pixels(batch: int = 2, height: int = 64, width: int = 64, seed: int = 1) -> torch.Tensor:
    """Normalised random pictures, (B, 3, H, W)."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def needs_options(*settings: Mapping[str, Any]) -> None:
    """Skip a test of options that the installed open_clip does not have: the oldest supported one lacks some."""
    known = {field.name for kind in (CLIPVisionCfg, CLIPTextCfg) for field in fields(kind)}
    if missing := {name for one in settings for name in one} - known - {"quick_gelu"}:
        pytest.skip(f"open_clip {open_clip.__version__} has no {', '.join(sorted(missing))}")


@contextmanager
def past_type_checks() -> Iterator[None]:
    """Call the package as a user's script does, without the type checks that only tests have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
