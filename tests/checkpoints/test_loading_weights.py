"""Weight files: every layout that is read, every file that is refused, in one sentence each."""

import zipfile

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file

from clipsight.checkpoints.fit_weights import apply_state
from clipsight.checkpoints.training_files import State
from clipsight.checkpoints.weight_files import read_weights
from clipsight.errors import CheckpointError, ClipsightWarning
from tiny import TINY_TEXT, TINY_VISION, tiny_clip


def read_state(path: object) -> State:
    return read_weights(str(path)).state


class Code:
    """What a pickle that runs code holds."""

    def __reduce__(self):
        return (print, ("run",))


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(seed=2)


@pytest.fixture
def save(tmp_path):
    def write(content: object, name: str = "weights.pt", **how: object):
        path = tmp_path / name
        if name.endswith(".safetensors"):
            save_file(content, path)
        else:
            torch.save(content, path, **how)
        return path

    return write


def fill(state: dict, **overrides: object) -> open_clip.CLIP:
    model = tiny_clip(seed=9, **overrides)
    apply_state(model, state, source="weights.pt", architecture="tiny")
    return model


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, yours = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], yours[name]) for name in yours)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.ckpt", "w.safetensors"])
def test_endings(clip, save, name):
    assert equal(fill(read_state(save(clip.state_dict(), name))), clip)


def test_old_pickle_format(clip, save):
    path = save(clip.state_dict(), _use_new_zipfile_serialization=False)
    assert equal(fill(read_state(path)), clip)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("key", ["", "state_dict", "model"])
def test_layouts(clip, save, prefix, key):
    state = {prefix + name: tensor for name, tensor in clip.state_dict().items()}
    content = {key: state, "epoch": 3, "optimizer": {"step": torch.ones(1)}} if key else state
    assert equal(fill(read_state(save(content))), clip)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_upcast(clip, save, kind):
    state = {name: tensor.to(kind) for name, tensor in clip.state_dict().items()}
    model = fill(read_state(save(state)))
    assert model.text_projection.dtype == torch.float32
    assert torch.equal(model.text_projection, clip.text_projection.to(kind).float())


def test_openais_extra_entries_and_scalar_shapes(clip, save):
    state = {**clip.state_dict(), "context_length": torch.tensor(77), "input_resolution": torch.tensor(64)}
    state["logit_scale"] = state["logit_scale"].reshape(1)
    assert equal(fill(read_state(save(state))), clip)


def test_old_layout_fills_a_custom_text_model(clip):
    model = open_clip.CustomTextCLIP(
        32, CLIPVisionCfg(**TINY_VISION), CLIPTextCfg(**TINY_TEXT), quick_gelu=True
    )
    apply_state(model, clip.state_dict(), source="weights.pt", architecture="tiny")
    assert torch.equal(model.text.ln_final.bias, clip.ln_final.bias)


def test_wrong_architecture_lists_the_first_names(clip):
    state = clip.state_dict()
    del state["ln_final.weight"]
    state["visual.extra"] = torch.ones(1)
    state["text_projection"] = torch.ones(64, 16)
    with pytest.raises(CheckpointError) as caught:
        fill(state)
    message = str(caught.value)
    assert "1 missing: ln_final.weight" in message
    assert "1 unexpected: visual.extra" in message
    assert "text_projection (64×16 in the file, 64×32 in the model)" in message
    assert "width 64, patch 16 and 6 blocks" in message
    assert "weights.pt do not fit tiny" in message


def test_deeper_weights_are_counted_not_all_listed(clip):
    with pytest.raises(CheckpointError, match=r"24 unexpected: .*, …"):
        fill(clip.state_dict(), layers=4)


def test_other_patch_size_is_another_architecture(clip):
    with pytest.raises(CheckpointError, match=r"conv1\.weight \(64×3×16×16 in the file, 64×3×32×32"):
        fill(clip.state_dict(), patch_size=32)


def test_other_picture_size_is_resampled_and_said(clip):
    with pytest.warns(ClipsightWarning, match=r"visual\.positional_embedding from 17 to 37 rows"):
        model = fill(clip.state_dict(), image_size=96)
    assert torch.equal(model.visual.positional_embedding[0], clip.visual.positional_embedding[0])


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_truncated(clip, save, name):
    path = save(clip.state_dict(), name)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="truncated"):
        read_state(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", b"\x89PNG\r\n"]
)
def test_not_weights(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_state(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_pickles_with_code_are_refused_and_not_run(clip, save, capsys, new_format):
    path = save({"state_dict": clip.state_dict(), "args": Code()}, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match="run code"):
        read_state(path)
    assert capsys.readouterr().out == ""


def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "scripted.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scripted/code/__torch__.py", "")
        archive.writestr("scripted/data.pkl", b"")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_state(path)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"a": 1}, torch.ones(2)], ids=["list", "empty", "number", "tensor"]
)
def test_files_without_named_tensors(save, content):
    with pytest.raises(CheckpointError, match="no named tensors"):
        read_state(save(content))


def test_paths_that_are_no_weight_files(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_state(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_state(tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="only files ending in"):
        read_state(tmp_path / "weights.npz")
