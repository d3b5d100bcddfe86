"""Everything that a text feature depends on but the text itself, as one hash of the text side as it is now.

Weights are hashed in full and anew each time: what was changed since, in whatever way, has another identity. Beside
them count the settings that weights do not show (heads, masks, pooling, activation), the libraries, this package's own
code and the arithmetic of the machine.
"""

import hashlib
import json
import platform
from importlib.metadata import version
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from clipsight.checkpoints.fingerprint import as_bytes, own_code

_IMAGE_SIDE = ("visual.", "vision_model.", "visual_projection.")
_KNOWN_CODE = {
    "torch": "torch",
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "transformers": "transformers",
}
"""Packages whose classes do what their version says, and what they are installed as."""
_PLAIN = (bool, int, float, str, type(None))


def text_identity(module: nn.Module) -> str | None:
    """Hash of a model's text side; None where no hash could promise that it gives the same features again.

    That is: off the CPU, where encoding takes no longer than this; under autocast; with classes, functions or hooks
    that are not the libraries' own.
    """
    if torch.is_autocast_enabled("cpu"):
        return None
    digest = hashlib.sha256(json.dumps([*_arithmetic(), own_code()]).encode())
    for name, part in module.named_modules():
        if f"{name}.".startswith(_IMAGE_SIDE):
            continue
        if (habits := _habits(part)) is None:
            return None
        digest.update(json.dumps([name, habits]).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name.startswith(_IMAGE_SIDE):
            continue
        if tensor.device.type != "cpu":
            return None
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(as_bytes(tensor.detach()))
    return digest.hexdigest()


def _habits(part: nn.Module) -> list[Any] | None:
    """A module's class and the plain settings it holds; None if somebody else's code runs in it."""
    kind, own = type(part), vars(part)
    package = _KNOWN_CODE.get(kind.__module__.partition(".")[0])
    hooks = any(own.get(name) for name in ("_forward_hooks", "_forward_pre_hooks"))
    replaced = any(isinstance(value, FunctionType | MethodType) for value in own.values())
    if package is None or hooks or replaced:
        return None
    plain = sorted((name, value) for name, value in own.items() if isinstance(value, _PLAIN))
    settings: Any = own.get("config")
    if package == "transformers" and settings is not None:
        plain.append(("config", f"{settings.to_json_string()} {settings._attn_implementation}"))
    return [kind.__module__, kind.__qualname__, version(package), part.extra_repr(), plain]


def _arithmetic() -> list[str]:
    capability = torch.backends.cpu.get_cpu_capability()
    return [version("torch"), platform.machine(), capability, torch.get_float32_matmul_precision()]
