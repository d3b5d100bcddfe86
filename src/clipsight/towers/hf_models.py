"""The views for transformers models, and alternatives for models without one."""

from torch import nn

from clipsight.errors import Unsupported
from clipsight.towers.families import Towers
from clipsight.towers.hf_siglip import HfSiglip2Vision, HfSiglipVision
from clipsight.towers.hf_text import HfClipText, HfSiglipText
from clipsight.towers.hf_vision import HfClipVision

_FAMILIES = {
    "CLIPModel": ("Hugging Face CLIP", HfClipVision, HfClipText),
    "SiglipModel": ("Hugging Face SigLIP", HfSiglipVision, HfSiglipText),
    "Siglip2Model": ("Hugging Face SigLIP 2", HfSiglip2Vision, HfSiglipText),
}
_INSTEAD = {
    "CLIPSeg": "take the CLIPModel it was built on, and lens.segment",
    "MetaClip2": 'open_clip has its weights: clipsight.load("ViT-H-14-worldwide-quickgelu", "metaclip2_worldwide")',
    "AltCLIP": 'for texts in many languages take SigLIP 2: clipsight.load("hf:google/siglip2-base-patch16-224")',
    "ChineseCLIP": 'for Chinese texts take SigLIP 2: clipsight.load("hf:google/siglip2-base-patch16-224")',
    "Blip": "its pictures and texts meet in a common decoder; take the CLIPModel or SiglipModel nearest in size",
}
_HALVES = ("CLIP", "Siglip", "Siglip2")


def hf_towers(module: nn.Module) -> Towers:
    """Look at a transformers model, changing nothing.

    Raises:
        Unsupported: a model of another class, or one whose pictures have no way into the joint space.
    """
    for kind in type(module).__mro__:
        if kind.__module__.startswith("transformers.") and kind.__name__ in _FAMILIES:
            family, vision, text = _FAMILIES[kind.__name__]
            return Towers(family=family, vision=vision(module), off="", text=text(module))
    raise Unsupported(refusal(type(module).__name__))


def refusal(name: str) -> str:
    """Why a transformers class is not taken, and what is nearest to it.

    Args:
        name: of the class, or the kind of model that a configuration names.
    """
    plain = name.replace("_", "").replace("-", "").lower()
    instead = next((advice for start, advice in _INSTEAD.items() if plain.startswith(start.lower())), "")
    if not instead and any(plain.startswith(half.lower()) for half in _HALVES):
        instead = (
            "it is one half of a model, or one with another head; load the whole of it, as AutoModel does"
        )
    return (
        f"a transformers model of kind {name} was asked for; clipsight sees into {', '.join(_FAMILIES)}. Nearest: "
        f"{instead or 'a CLIPModel or SiglipModel, or any of clipsight.models()'}."
    )
