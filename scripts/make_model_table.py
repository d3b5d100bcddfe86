"""Write down what each of open_clip's architectures is: src/clipsight/assets/architectures.json.

Image towers are built at their real sizes without memory (torch's meta device), looked at, and thrown away; texts are
described by their configuration. Run it when open_clip lists new architectures:

    python scripts/make_model_table.py
"""

import copy
import json
import warnings
from typing import Any

import open_clip
import torch

from clipsight.checkpoints.architectures import FILE
from clipsight.towers.families import open_clip_vision

_NO_TEXT = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}


def image_side(name: str) -> dict[str, Any]:
    """Facts of the image tower.

    Raises:
        RuntimeError: clipsight cannot read it.
    """
    config = copy.deepcopy(open_clip.get_model_config(name))
    assert config is not None
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_clip.CLIP(config["embed_dim"], vision, _NO_TEXT)
    family, view, reason = open_clip_vision(model)
    if view is None:
        raise RuntimeError(f"{name}: {reason}")
    return {
        "family": "open_clip CoCa" if "multimodal_cfg" in config else family,
        "size": view.native_size,
        "grid": view.native_grid,
        "depth": len(view.blocks),
        "width": view.width,
        "prefix": view.prefix,
        "class_token": view.class_token,
        "pools": view.pools,
        "pool_only": any(not block.residual for block in view.blocks),
        "any_size": view.any_size,
    }


def text_side(name: str) -> dict[str, Any]:
    """Facts of the text tower."""
    config: Any = open_clip.get_model_config(name)
    text = config["text_cfg"]
    if "hf_model_name" in text:
        return {"context": text.get("context_length", 77), "text": f"Hugging Face {text['hf_model_name']}"}
    seen = "whole sequences" if text.get("no_causal_mask") else "causal"
    kind = "open_clip CoCa" if "multimodal_cfg" in config else "open_clip"
    return {"context": text.get("context_length", 77), "text": f"{kind}, {seen}"}


def main() -> None:
    """Every architecture of the installed open_clip."""
    rows = {name: image_side(name) | text_side(name) for name in open_clip.list_models()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    head = f'{{"open_clip": {json.dumps(open_clip.__version__)}, "architectures": {{'
    FILE.write_text(f"{head}\n{lines}\n}}}}\n", encoding="utf-8")
    print(f"{len(rows)} architectures in {FILE.name}")


if __name__ == "__main__":
    main()
