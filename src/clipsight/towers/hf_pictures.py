"""What a transformers model expects of pictures, read from the settings that stand beside its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_clip.constants import INCEPTION_MEAN, INCEPTION_STD, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from PIL import Image

from clipsight.checkpoints.fit_weights import read_json
from clipsight.errors import CheckpointError
from clipsight.towers.families import Towers
from clipsight.towers.loading import Preprocess

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
    try:
        return _settings(said.get("image_processor", said), towers), ()
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise CheckpointError(
            f"picture settings {path} cannot be used ({error}); write them anew with processor.save_pretrained."
        ) from None


def _settings(said: Mapping[str, Any], towers: Towers) -> Preprocess:
    """Settings under transformers' names; what is not said is as in the family's picture processor."""
    assert towers.vision is not None  # hf_towers gives both towers or raises
    clip = towers.vision.class_token
    mean, std = (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD) if clip else (INCEPTION_MEAN, INCEPTION_STD)
    normalised = said.get("do_normalize", True)
    return Preprocess(
        size=towers.vision.native_size,
        mean=_rgb(said.get("image_mean", mean)) if normalised else (0.0, 0.0, 0.0),
        std=_rgb(said.get("image_std", std)) if normalised else (1.0, 1.0, 1.0),
        interpolation=Image.Resampling(said.get("resample", Image.Resampling.BICUBIC)).name.lower(),
        resize_mode="shortest" if said.get("do_center_crop", clip) else "squash",
    )


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
