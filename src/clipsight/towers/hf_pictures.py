"""The picture preprocessing of a transformers model, read from its settings files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_clip.constants import INCEPTION_MEAN, INCEPTION_STD, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from PIL import Image

from clipsight.checkpoints.fit_weights import read_json
from clipsight.checkpoints.schema import FLAG, NOTHING, check, either, listed, number, whole
from clipsight.errors import CheckpointError
from clipsight.towers.families import Towers
from clipsight.towers.loading import Preprocess

_MOST_PATCHES = 256
"""Of `Siglip2ImageProcessor` where it does not say."""
_EQUAL = 1e-3
_FLAG, _THREE = either(NOTHING, FLAG), listed(number(-1e3, 1e3), (3,))
_SCHEMA = {
    **dict.fromkeys(("do_normalize", "do_center_crop", "do_resize", "do_rescale", "do_convert_rgb"), _FLAG),
    "image_mean": either(NOTHING, _THREE),
    "image_std": either(NOTHING, listed(number(1e-6, 1e3), (3,))),
    "resample": either(NOTHING, whole(0, 5)),
    "rescale_factor": either(NOTHING, number(0, 1e3)),
    "max_num_patches": either(NOTHING, whole(1, 65_536)),
    "patch_size": either(NOTHING, whole(1, 8_192)),
}
_FILES = ("preprocessor_config.json", "processor_config.json")


def picture_settings(towers: Towers, folder: Path | None) -> tuple[Preprocess, tuple[str, ...]]:
    """The settings, and a note where they are the family's for want of the model's own.

    Args:
        towers: the model's towers; the size is the image tower's own, in whole patches.
        folder: where the settings are, None for nowhere.

    Raises:
        CheckpointError: they are there and cannot be read.
    """
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None) if folder else None
    if path is None:
        note = f"It came without picture settings ({_FILES[0]}): those of {towers.family} are used."
        return _settings({}, towers), (note,)
    said = read_json(path)
    said = said.get("image_processor", said)
    check(said, _SCHEMA, str(path), "", others=True)
    try:
        return _settings(said, towers), _notes(said, towers, path)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise CheckpointError(
            f"picture settings {path} cannot be used ({error}); write them anew with processor.save_pretrained."
        ) from None


def _settings(said: Mapping[str, Any], towers: Towers) -> Preprocess:
    """Settings under transformers' names; missing ones default to the family's picture processor."""
    assert towers.vision is not None  # hf_towers gives both towers or raises
    clip, flexible = towers.vision.class_token, _flexible(said, towers)
    mean, std = (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD) if clip else (INCEPTION_MEAN, INCEPTION_STD)
    normalised = _flag(said, "do_normalize", True)
    # Siglip2ImageProcessor is bilinear where it does not say, the others are bicubic.
    resample = said.get("resample")
    usual = Image.Resampling.BILINEAR if flexible else Image.Resampling.BICUBIC
    cropped = _flag(said, "do_center_crop", clip)
    return Preprocess(
        size=towers.vision.native_size,
        mean=_rgb(said.get("image_mean") or mean) if normalised else (0.0, 0.0, 0.0),
        std=_rgb(said.get("image_std") or std) if normalised else (1.0, 1.0, 1.0),
        interpolation=Image.Resampling(usual if resample is None else resample).name.lower(),
        resize_mode="shortest" if cropped else "squash",
        max_patches=int(said.get("max_num_patches") or _MOST_PATCHES) if flexible else None,
    )


def _flexible(said: Mapping[str, Any], towers: Towers) -> bool:
    """Whether pictures keep their shape, as SigLIP 2's own model takes them."""
    return "SigLIP 2" in towers.family or bool(said.get("max_num_patches"))


def _notes(said: Mapping[str, Any], towers: Towers, path: Path) -> tuple[str, ...]:
    """What of a processor's settings is not followed, a sentence each.

    Raises:
        CheckpointError: a setting without which the pixels would be others.
    """
    assert towers.vision is not None
    rescaled = said.get("rescale_factor")
    if not _flag(said, "do_rescale", True) or (rescaled is not None and abs(255 * rescaled - 1) > _EQUAL):
        raise CheckpointError(
            f"{path}: do_rescale is {said.get('do_rescale')} and rescale_factor {rescaled}, and clipsight brings "
            "pixels to 0…1 (rescale_factor 1/255); preprocess pictures yourself and ask lens.maps, or correct the file."
        )
    if (patch := said.get("patch_size")) not in (None, towers.vision.patch[0]):
        raise CheckpointError(
            f"{path}: patch_size is {patch} and the model has patches of {towers.vision.patch[0]} pixels; it "
            "belongs to another model."
        )
    size = said.get("size")
    sides = set(size.values()) if isinstance(size, Mapping) else {size}
    own = set(towers.vision.native_size) | {None}
    config_side = getattr(towers.vision, "config_side", None)
    if not _flexible(said, towers) and sides - own - {config_side}:
        return (
            f"Its processor resizes pictures to {size}, and its positions are those of "
            f"{towers.vision.native_size[0]} × {towers.vision.native_size[1]} pixels, which are used.",
        )
    return ()


def _flag(said: Mapping[str, Any], name: str, usual: bool) -> bool:
    value = said.get(name)
    return usual if value is None else bool(value)


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
