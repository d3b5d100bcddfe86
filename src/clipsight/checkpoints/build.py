"""An open_clip architecture with random weights, or without any."""

import copy
from collections.abc import Mapping
from typing import Any

import open_clip
import torch
from torch import nn

from clipsight.checkpoints.transformers_files import text_folder
from clipsight.errors import CheckpointError, ClipsightError, Unsupported, first_line


def build_module(model_cfg: Mapping[str, Any], quick_gelu: bool) -> nn.Module:
    """The architecture with random weights; no tower fetches weights of its own.

    Raises:
        CheckpointError: a text model of transformers' whose files ask for code, see `transformers_files`.
        HubUnreachable: its settings must be downloaded and could not be.
    """
    settings: dict[str, Any] = copy.deepcopy(dict(model_cfg)) | {"quick_gelu": quick_gelu}
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if hf_text := text.get("hf_model_name"):
        folder = text_folder(hf_text, f"hf_model_name={hf_text!r}", "config.json")
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    custom = settings.pop("custom_text", False) or bool(hf_text)
    if not custom:
        return open_clip.CLIP(**settings)
    return (open_clip.CoCa if "multimodal_cfg" in settings else open_clip.CustomTextCLIP)(**settings)


def build_shapes(model_cfg: Mapping[str, Any]) -> nn.Module:
    """The architecture without values, in hundredths of a second: names and shapes only.

    Raises:
        CheckpointError: settings that do not go together; and as `build_module`.
    """
    try:
        with torch.device("meta"):
            return build_module(model_cfg, quick_gelu=False)
    except ClipsightError:
        raise
    except ImportError as error:
        raise Unsupported(
            f"this architecture needs a package that is not installed ({first_line(error)})."
        ) from None
    except Exception as error:  # what a library raises where settings do not go together can be anything
        raise CheckpointError(
            f"open_clip {open_clip.__version__} cannot build this architecture ({type(error).__name__}: "
            f"{first_line(error)}); usual cause: a width that its heads do not divide, a name that timm does not have, "
            "or settings of a newer open_clip."
        ) from None
