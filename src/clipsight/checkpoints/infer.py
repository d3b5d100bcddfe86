"""Which architecture do these weights have? Read from the shapes, named where open_clip has a name for it.

Shapes show widths, depths, patches, positions and vocabulary. They do not show how many heads an attention has, which
activation runs between two matrices, or how tokens are pooled. An architecture that open_clip lists settles all but the
activation; otherwise CLIP's own habits are taken (heads of 64 channels, a class token) and said.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import open_clip
from torch import Tensor

from clipsight.checkpoints.build import build_shapes
from clipsight.checkpoints.fit_weights import align, differences, first_names, foreign
from clipsight.errors import CheckpointError

_HEAD = 64
"""Channels of a head in every CLIP of OpenAI's (arXiv 2103.00020, tables 19 and 20) and in most of open_clip's."""

_RESNET_STRIDE = 32
_UNLIKE = ("width", "layers", "patch_size", "vocab_size")
"""Settings by which two listed architectures are told apart before their shapes are compared one by one."""

Shapes = Mapping[str, tuple[int, ...]]
Config = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """An architecture that fits the weights.

    Attributes:
        model_cfg: open_clip's architecture, without a choice of activation.
        name: what open_clip calls it, "" for an architecture that it does not list.
        note: how it was found and what was assumed, one sentence.
    """

    model_cfg: Config
    name: str
    note: str


def infer_architecture(state: Mapping[str, Tensor], source: str, said: str = "") -> Inferred:
    """The architecture of some weights.

    Args:
        state: named tensors in open_clip's or OpenAI's layout.
        source: where they come from, for messages.
        said: the open_clip name that the file gives itself, "" for none. It is taken if its shapes fit, and on its word
            for towers of timm's and Hugging Face's, whose shapes are not read here.

    Raises:
        CheckpointError: they are no two-tower model, or of a family whose architecture the shapes do not show.
    """
    if other := foreign(state):
        raise CheckpointError(f"weights {source}: {other}.")
    if (config := listed_config(said)) is not None:
        config = with_layout(config, state)
        if _outside(config) or fits(config, state):
            return Inferred(
                model_cfg=_bare(config), name=said, note=f"Architecture: {said}, as the file says."
            )
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    seen = _config(shapes)
    for name, listed in _listed():
        config = with_layout(listed, state)
        if seen is not None and _alike(config, seen) and fits(config, state):
            note = f"Architecture: {name}, found by the shapes of the weights."
            return Inferred(model_cfg=_bare(config), name=name, note=note)
    if seen is None or not fits(seen, state):
        raise CheckpointError(_unreadable(shapes, source))
    note = (
        "Architecture: read from the shapes, which no model that open_clip lists has. Weights show neither heads nor "
        f"pooling: {_heads(seen)} of {_HEAD} channels and the class token are assumed; if that is wrong, pass "
        f"model=CONFIG.json with pretrained={source!r}."
    )
    return Inferred(model_cfg=seen, name="", note=note)


def listed_config(name: str) -> Config | None:
    """open_clip's architecture of that name, None if it lists none."""
    return open_clip.get_model_config(name) if name in open_clip.list_models() else None


def fits(config: Config, state: Mapping[str, Tensor]) -> bool:
    """Whether the weights have exactly the names and shapes of the architecture.

    One with a text tower of Hugging Face's, whose shapes are on the hub, fits whatever has such a tower.
    """
    if config["text_cfg"].get("hf_model_name"):
        return _has_hf_text(state)
    module = build_shapes(config)
    return not differences(module.state_dict(), align(module, state))


def with_layout(config: Config, state: Mapping[str, Tensor]) -> Config:
    """The configuration with its text tower where the weights have it: at the top, or apart under "text."."""
    apart = any(name.startswith("text.") for name in state)
    return {**config, "custom_text": True} if apart else config


def _bare(config: Config) -> Config:
    return {key: value for key, value in config.items() if key != "quick_gelu"}


def _outside(config: Config) -> bool:
    """Whether a tower comes from timm or transformers."""
    return "timm_model_name" in config["vision_cfg"] or "hf_model_name" in config["text_cfg"]


def _listed() -> Iterator[tuple[str, Config]]:
    """open_clip's own architectures; of two that differ in their activation alone the plain one."""
    names = set(open_clip.list_models())
    for name in sorted(names):
        plain = name.removesuffix("-quickgelu")
        config = listed_config(name)
        if config is not None and not _outside(config) and (plain == name or plain not in names):
            yield name, config


def _alike(config: Config, seen: Config) -> bool:
    return all(
        config[part].get(key) == seen[part].get(key) for part in ("vision_cfg", "text_cfg") for key in _UNLIKE
    )


def _has_hf_text(names: Iterable[str]) -> bool:
    return any(re.match(r"text\.transformer\.(embeddings|encoder|shared)\.", name) for name in names)


def _heads(config: Config) -> str:
    vision, text = config["vision_cfg"], config["text_cfg"]
    wide = vision["width"] * (_RESNET_STRIDE if isinstance(vision["layers"], list) else 1)
    return f"{wide // _HEAD} in the image tower and {text['heads']} in the text tower"


def _config(shapes: Shapes) -> Config | None:
    """open_clip's configuration as far as the shapes show it; None if a tower is not one of open_clip's own."""
    text_at = "text." if "text.positional_embedding" in shapes else ""
    image = _resnet(shapes) if "visual.layer1.0.conv1.weight" in shapes else _vit(shapes)
    text, projection = _text(shapes, text_at), shapes.get(f"{text_at}text_projection", ())
    if image is None or text is None or len(projection) != 2:
        return None
    config: Config = {"embed_dim": projection[1], "vision_cfg": image, "text_cfg": text}
    if text_at:
        config["custom_text"] = True
    if "logit_bias" in shapes:
        config["init_logit_bias"] = 0.0
    return config


def _vit(shapes: Shapes) -> Config | None:
    patches, positions = shapes.get("visual.conv1.weight", ()), shapes.get("visual.positional_embedding", ())
    if len(patches) != 4 or len(positions) != 2 or patches[2] != patches[3]:
        return None
    side, blocks = isqrt(positions[0] - 1), "visual.transformer.resblocks."
    if side * side != positions[0] - 1 or patches[0] % _HEAD or not _count(shapes, blocks):
        return None
    found: Config = {
        "image_size": side * patches[-1],
        "patch_size": patches[-1],
        "width": patches[0],
        "head_width": _HEAD,
        **_transformer(shapes, blocks, patches[0]),
    }
    return found if "visual.ln_pre.weight" in shapes else {**found, "no_ln_pre": True}


def _resnet(shapes: Shapes) -> Config | None:
    positions = shapes.get("visual.attnpool.positional_embedding", (0,))
    side = isqrt(max(positions[0] - 1, 0))
    if not side or side * side != positions[0] - 1:
        return None
    return {
        "image_size": side * _RESNET_STRIDE,
        "patch_size": None,
        "width": shapes["visual.layer1.0.conv1.weight"][0],
        "layers": [_count(shapes, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)],
        "head_width": _HEAD,
    }


def _text(shapes: Shapes, at: str) -> Config | None:
    table, positions = shapes.get(f"{at}token_embedding.weight"), shapes.get(f"{at}positional_embedding")
    blocks = f"{at}transformer.resblocks."
    if table is None or positions is None or table[1] % _HEAD or not _count(shapes, blocks):
        return None
    return {
        "context_length": positions[0],
        "vocab_size": table[0],
        "width": table[1],
        "heads": table[1] // _HEAD,
        **_transformer(shapes, blocks, table[1]),
    }


def _transformer(shapes: Shapes, blocks: str, width: int) -> Config:
    hidden = shapes.get(f"{blocks}0.mlp.c_fc.weight", (4 * width,))[0]
    # open_clip truncates width × ratio: half a channel more keeps a ratio that is no round number from losing one.
    ratio = hidden / width if hidden % width == 0 else (hidden + 0.5) / width
    found: Config = {"layers": _count(shapes, blocks), "mlp_ratio": ratio}
    return {**found, "ls_init_value": 1e-5} if f"{blocks}0.ls_1.gamma" in shapes else found


def _count(shapes: Shapes, before: str) -> int:
    """How many numbers follow a prefix: blocks of a transformer, or of a stage."""
    return len({name.removeprefix(before).split(".")[0] for name in shapes if name.startswith(before)})


def _unreadable(shapes: Shapes, source: str) -> str:
    reason = "it is no CLIP with open_clip's own towers"
    if any(name.startswith("visual.trunk.") for name in shapes):
        reason = "its image tower is timm's, whose shapes have many readings"
    elif _has_hf_text(shapes):
        reason = "its text tower is Hugging Face's, whose shapes have many readings"
    elif any(name.startswith("visual.attn_pool") for name in shapes):
        reason = "it pools by attention, whose heads the shapes do not show"
    return (
        f"weights {source}: the architecture cannot be read from them, {reason} (first names: "
        f"{first_names(list(shapes))}). Say it: model=NAME of clipsight.models() or a model-config .json, with "
        f"pretrained={source!r}."
    )
