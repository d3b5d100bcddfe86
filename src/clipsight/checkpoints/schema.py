"""What an open_clip configuration may say: its keys, their types, their ranges.

A configuration comes with somebody's weights, and every key of it becomes a keyword argument of a library. So only the
keys that are listed here are taken, and only with values that describe a model: no argument that fetches, runs code,
names a program or allocates without limit.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clipsight.errors import CheckpointError

MOST_BLOCKS = 512
MOST_WIDTH = 65_536
MOST_WORDS = 4_000_000
MOST_POSITIONS = 8_192
"""Positions of a text, and pixels of a picture's side; attention masks are as large as its square."""
MOST_PATCHES = 65_536


def _json(value: object, most: int = 60) -> str:
    """A value as JSON writes it, cut."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, int) and abs(value) > 10**most:
        return "a number of many digits"
    shown = f'"{value}"' if isinstance(value, str) else " ".join(repr(value)[: 4 * most].split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


@dataclass(frozen=True)
class Rule:
    """What a value may be: a test, and the end of the sentence "it must be …"."""

    wanted: str
    fits: Callable[[Any], bool]


def choice(*values: object) -> Rule:
    """One of a few plain values, types included: 1 is not true."""
    return Rule(
        "one of " + ", ".join(map(_json, values)),
        lambda got: any(got == value and type(got) is type(value) for value in values),
    )


def whole(least: int, most: int) -> Rule:
    """A whole number within a range."""
    return Rule(
        f"a whole number from {least:,} to {most:,}", lambda got: type(got) is int and least <= got <= most
    )


def number(least: int | float, most: int | float) -> Rule:
    """A finite number within a range."""
    return Rule(f"a number from {least:g} to {most:g}", lambda got: is_number(got) and least <= got <= most)


def is_number(got: object) -> bool:
    """Whether a value is a finite number; a boolean is none."""
    if not isinstance(got, int | float) or isinstance(got, bool):
        return False
    try:
        return math.isfinite(got)
    except OverflowError:
        return False


def listed(rule: Rule, lengths: tuple[int, ...]) -> Rule:
    """A list of so many values."""
    count = " or ".join(map(str, lengths))
    return Rule(
        f"a list of {count}, each {rule.wanted}",
        lambda got: isinstance(got, list | tuple) and len(got) in lengths and all(map(rule.fits, got)),
    )


def either(*rules: Rule) -> Rule:
    """What one of several rules takes."""
    return Rule(" or ".join(r.wanted for r in rules), lambda got: any(rule.fits(got) for rule in rules))


def text(pattern: str, wanted: str) -> Rule:
    """A string of a certain form."""
    form = re.compile(pattern)
    return Rule(wanted, lambda got: isinstance(got, str) and form.fullmatch(got) is not None)


def texts(most: int = 100_000) -> Rule:
    """A list of strings."""
    return Rule(
        "a list of strings",
        lambda got: isinstance(got, list) and len(got) <= most and all(isinstance(one, str) for one in got),
    )


NOTHING = choice(None)
FLAG = choice(True, False)
_SHARE = number(0, 1)
_RATIO = number(1 / 64, 64)
_COUNT = whole(1, MOST_BLOCKS)
_WIDTH = whole(1, MOST_WIDTH)
_SIDE = whole(1, MOST_POSITIONS)
_SIZE = either(_SIDE, listed(_SIDE, (2,)))
_SCALE = either(NOTHING, number(-1e6, 1e6))
_PLAIN_NAME = text(r"[\w.\-]{1,200}", "a plain name")
_NAME = either(NOTHING, text(r"[^\x00-\x1f]{1,1000}", "a name"))
_RGB = listed(number(-1e3, 1e3), (3,))
_DEVIATION = listed(number(1e-6, 1e3), (3,))

Schema = Mapping[str, "Rule | Schema"]

_ACTIVATION: Schema = {"approximate": choice("none", "tanh")}
_NORM: Schema = {"eps": number(0, 1)}
_BLOCKS: Schema = {
    "width": _WIDTH,
    "mlp_ratio": _RATIO,
    "ls_init_value": _SCALE,
    "output_tokens": FLAG,
    "final_ln_after_pool": FLAG,
    "act_kwargs": _ACTIVATION,
    "norm_kwargs": _NORM,
    "block_type": choice(None, "default", "custom"),
    "qk_norm": FLAG,
    "scaled_cosine_attn": FLAG,
    "scale_heads": FLAG,
    "scale_attn_inner": FLAG,
    "scale_attn": FLAG,
    "scale_fc": FLAG,
}
VISION: Schema = {
    **_BLOCKS,
    "layers": either(_COUNT, listed(_COUNT, (4,))),
    "head_width": _WIDTH,
    "patch_size": either(NOTHING, _SIDE, listed(_SIDE, (2,))),
    "image_size": _SIZE,
    "patch_dropout": number(0, 0.99),
    "attentional_pool": choice(True, False, "parallel", "cascade"),
    "attn_pooler_queries": whole(1, MOST_POSITIONS),
    "attn_pooler_heads": _WIDTH,
    "no_ln_pre": FLAG,
    "pos_embed_type": choice("learnable", "sin_cos_2d"),
    "pool_type": choice("tok", "avg", "none"),
    "timm_model_name": either(NOTHING, _PLAIN_NAME),
    "timm_model_pretrained": FLAG,
    "timm_pool": choice("", "avg", "avgmax", "max", "token", "map", "abs_attn", "rot_attn"),
    "timm_proj": choice(None, "", "linear", "mlp", "none"),
    "timm_proj_bias": FLAG,
    "timm_drop": _SHARE,
    "timm_drop_path": either(NOTHING, _SHARE),
}
TOKENIZER: Schema = {
    "clean": choice("canonicalize", "lower", "whitespace"),
    "strip_sep_token": FLAG,
    "language": _NAME,
}
TEXT: Schema = {
    **_BLOCKS,
    "layers": _COUNT,
    "heads": _WIDTH,
    "context_length": whole(3, MOST_POSITIONS),
    "vocab_size": whole(3, MOST_WORDS),
    "embed_cls": FLAG,
    "pad_id": whole(-1, MOST_WORDS),
    "eos_id": whole(-1, MOST_WORDS),
    "no_causal_mask": FLAG,
    "pool_type": choice("first", "last", "argmax", "eos", "none"),
    "proj_bias": FLAG,
    "proj_type": choice(None, "linear", "none"),
    "hf_model_name": _NAME,
    "hf_model_pretrained": FLAG,
    "hf_proj_type": choice(None, "linear", "mlp"),
    "hf_pooler_type": choice(None, "mean_pooler", "max_pooler", "cls_pooler", "cls_last_hidden_state_pooler"),
    "hf_tokenizer_name": either(_NAME, choice("")),
    "tokenizer_mode": choice(None, "", "clips"),
    "tokenizer_kwargs": TOKENIZER,
}
MULTIMODAL: Schema = {**TEXT, "dim_head": _WIDTH, "n_queries": _SIDE, "attn_pooler_heads": _WIDTH}
MODEL: Schema = {
    "embed_dim": _WIDTH,
    "vision_cfg": VISION,
    "text_cfg": TEXT,
    "multimodal_cfg": MULTIMODAL,
    "quick_gelu": FLAG,
    "custom_text": FLAG,
    "init_logit_scale": number(-80, 80),
    "init_logit_bias": either(NOTHING, number(-1e6, 1e6)),
    "nonscalar_logit_scale": FLAG,
    "output_dict": FLAG,
}
PREPROCESS: Schema = {
    "size": either(NOTHING, _SIZE),
    "mode": choice(None, "RGB"),
    "mean": either(NOTHING, _RGB),
    "std": either(NOTHING, _DEVIATION),
    "interpolation": choice(None, "bicubic", "bilinear", "nearest"),
    "resize_mode": choice(None, "shortest", "longest", "squash"),
    "fill_color": either(NOTHING, whole(0, 255), listed(whole(0, 255), (3,))),
}
CARD: Schema = {
    "templates": texts(),
    "contrast_vocabulary": texts(),
    "notes": texts(),
    "surgery_depth": either(NOTHING, _COUNT),
    "figures": Rule("an object {…}", lambda got: isinstance(got, dict)),
}
_OPTIONAL = ("act_kwargs", "norm_kwargs", "tokenizer_kwargs")
"""Sections that may be null."""


def check_model(model_cfg: object, source: str) -> None:
    """Refuse an architecture that says what is not listed here, or sizes that no model has.

    Raises:
        CheckpointError: names the key, what it holds and what it may hold.
    """
    check(model_cfg, MODEL, source, "model_cfg")
    assert isinstance(model_cfg, Mapping)
    vision = model_cfg["vision_cfg"]
    heights = [_pair(vision.get(key) or 1) for key in ("image_size", "patch_size")]
    if isinstance(vision.get("layers"), list | tuple) or vision.get("timm_model_name"):
        return
    sides = zip(*heights, strict=True)
    patches = math.prod(side // patch for side, patch in sides) if "patch_size" in vision else 1
    if patches > MOST_PATCHES or ("patch_size" in vision and vision["patch_size"] is None):
        raise CheckpointError(
            f"{source}: model_cfg.vision_cfg has image_size {vision.get('image_size')} and patch_size "
            f"{_json(vision['patch_size'])}; that must be at most {MOST_PATCHES:,} patches. Write the patch "
            "that the model was trained with."
        )


def check(content: object, schema: Schema, source: str, path: str, *, others: bool = False) -> None:
    """Refuse what a schema does not list.

    Args:
        content: a part of a file.
        schema: key -> rule, or the schema of a section.
        source: the file, for messages.
        path: where in the file the part is, such as "model_cfg.text_cfg".
        others: whether keys that the schema does not list are left alone.

    Raises:
        CheckpointError: as said.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{source}: {path} is {_json(content)}, and an object {{…}} was expected; write its settings."
        )
    for key, value in content.items():
        rule, name = schema.get(key), f"{path}.{key}" if path else str(key)
        if rule is None:
            if others:
                continue
            raise CheckpointError(
                f"{source}: the key {name[:200]!r} is not allowed: it is not a model setting that clipsight knows, "
                "and a configuration may not pass arguments to other libraries. Remove the key, or build the model "
                "yourself and pass the live module."
            )
        if not isinstance(rule, Rule):
            if value is not None or key not in _OPTIONAL:
                check(value, rule, source, name)
        elif not rule.fits(value):
            raise CheckpointError(f"{source}: {name} is {_json(value)}; it must be {rule.wanted}.")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
