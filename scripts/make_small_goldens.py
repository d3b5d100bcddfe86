"""Make the small goldens that lie in the repository from the authors' own tensors.

    python scripts/make_small_goldens.py ../shared/goldens

Writes tests/data/goldens/last_block.safetensors: weights of the last block of both towers of the goldens' model, the
states that enter it, and of the authors' outputs that it determines a quarter of the patches. And recorded.safetensors:
what every recipe, attribution and refinement gives on the bundled model. The second is not the authors': it is written
only when the tests that compare with all of the authors' tensors pass, so that it shows a later change.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
EXACT = (
    "tests/features/test_family.py",
    "tests/features/test_goldens.py",
    "tests/attribution/test_goldens.py",
)
PATCHES = (
    ("maskclip", "patch_features_residual"), ("maskclip", "patch_features_noresidual"), ("sclip", "patch_features"),
    ("clearclip", "patch_features_clearclip_noresidual"), ("clearclip", "patch_features_vanilla_noresidual"),
    ("naclip", "patch_features_reduced_naclip"), ("naclip", "patch_features_vanilla_naclip"),
    ("naclip", "patch_features_reduced_kk"), ("naclip", "patch_features_reduced_nonly"),
    ("pearl", "patch_features_polar5_a008"), ("pearl", "patch_features_svd_a008"),
    ("anovl", "patch_features_original_stream"),
)  # fmt: skip
WHOLE = (("sclip", "cls_feature"), ("naclip", "cls_feature_reduced_naclip"))
TEXTS = (
    ("chefer_generic", "text_relevance_eot_row_last"), ("chefer_generic", "text_relevance_eot_row_last_negproj"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("goldens", type=Path)
    parser.parse_args()
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-n0", *EXACT], cwd=ROOT, check=True)
    from small_goldens import FOLDER, everything

    save_file(last_block(), FOLDER / "last_block.safetensors")
    save_file(
        {name: make().contiguous() for name, make in everything().items()}, FOLDER / "recorded.safetensors"
    )


@torch.no_grad()
def last_block() -> dict[str, torch.Tensor]:
    from clipsight.towers.open_clip_text import OpenClipText
    from clipsight.towers.open_clip_vit import OpenClipVision
    from goldens import model, picture, tensors

    weights = {
        name.replace("resblocks.11.", "resblocks.0."): value
        for name, value in tensors("weights").items()
        if "resblocks.11." in name or "ln_post" in name or "ln_final" in name or "proj" in name.split(".")[-1]
        or name == "logit_scale"
    }  # fmt: skip
    weights = {name: value for name, value in weights.items() if "resblocks" not in name or ".0." in name}
    view = OpenClipVision(model().visual)
    x = view.embed(picture("img_native"), "bicubic")
    for block in list(view.blocks)[:-1]:
        x = block(x)
    ids = tensors("inputs")["token_ids"]
    ends = ids.argmax(-1)
    length = int(ends.max()) + 1
    states = OpenClipText(model()).embed(ids[:, :length])
    mask = torch.full((length, length), float("-inf")).triu(1)
    for block in list(model().transformer.resblocks)[:-1]:
        states = block(states, attn_mask=mask)
    # An id for each state; behind the end the first one again, so that the end has the largest.
    own = torch.arange(ids.shape[0] * length).reshape(-1, length)
    own = torch.where(torch.arange(length) > ends[:, None], own[:, :1], own)
    made = {f"w/{name}": value for name, value in weights.items()}
    made |= {
        "w/token_embedding.weight": states.reshape(-1, states.shape[-1]),
        "w/positional_embedding": torch.zeros(length, states.shape[-1]),
        "tokens": x,
        "text_ids": own,
        "cls_feature": tensors("clip_raw")["img_native/cls_feature"],
    }
    for method, tensor in PATCHES:
        made[f"{method}/{tensor}"] = tensors(method)[f"img_native/{tensor}"][:, ::4]
    for method, tensor in WHOLE:
        made[f"{method}/{tensor}"] = tensors(method)[f"img_native/{tensor}"]
    for method, tensor in TEXTS:
        made[f"{method}/{tensor}"] = tensors(method)[f"img_native/{tensor}"][:, :length]
    return {name: value.contiguous() for name, value in made.items()}


if __name__ == "__main__":
    main()
