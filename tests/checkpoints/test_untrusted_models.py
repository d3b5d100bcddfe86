"""A model's files are data: through every door nothing of them runs, and damaged ones are refused in a sentence."""

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

import clipsight
from clipsight.checkpoints.build import build_shapes
from clipsight.checkpoints.schema import PREPROCESS, check, check_model
from clipsight.errors import CheckpointError, ClipsightError
from clipsight.tune.averaging import average_checkpoints
from tiny import TINY_TEXT, TINY_VISION, past_type_checks, tiny_clip

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """A model folder as open_clip has them, with a tokenizer's folder and a text model's folder inside."""
    folder = tmp_path_factory.mktemp("honest")
    model = tiny_clip(quick_gelu=False)
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, folder / WEIGHTS)
    model_cfg = {"embed_dim": 32, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT, "quick_gelu": False}
    write(folder / CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}})
    return folder


@pytest.fixture
def folder(honest, tmp_path, monkeypatch) -> Path:
    """A copy to spoil. Whoever asks on the terminal fails the test."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    return Path(shutil.copytree(honest, tmp_path / "model"))


def change(folder: Path, part: str, **settings: Any) -> None:
    """Set keys of a section; "" is the architecture itself."""
    content = json.loads((folder / CONFIG).read_text())
    section = content["preprocess_cfg"] if part == "preprocess_cfg" else content["model_cfg"]
    section = section if part in ("", "preprocess_cfg") else section[part]
    section.update(copy.deepcopy(settings))
    write(folder / CONFIG, content)


def cached(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """The folder as the hub's cache has a repository."""
    cache = folder.parent / "hub"
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, place / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return name


def _soup(folder: Path) -> object:
    return average_checkpoints([folder], folder.parent / "out")


DOORS: dict[str, Callable[[Path], object]] = {
    "local-dir": lambda folder: clipsight.load(f"local-dir:{folder}", device="cpu"),
    "file": lambda folder: clipsight.load(folder / WEIGHTS, device="cpu"),
    "config and weights": lambda folder: clipsight.load(folder / CONFIG, folder / WEIGHTS, device="cpu"),
    "soup": _soup,
    "soup of a file": lambda folder: average_checkpoints([folder / WEIGHTS], folder.parent / "out"),
    "hf-hub": lambda folder: clipsight.load("hf-hub:evil/model", device="cpu"),
}


def evil_tokenizer(folder: Path, canary: Path, **config: Any) -> None:
    """A tokenizer whose class is a Python file beside it, which leaves a trace when it is imported."""
    folder.mkdir(exist_ok=True)
    (folder / "evil.py").write_text(
        f"open({str(canary)!r}, 'w').close()\n"
        "from transformers import PreTrainedTokenizerFast\nclass Evil(PreTrainedTokenizerFast): pass\n"
        "from transformers import RobertaConfig as EvilConfig, RobertaModel as EvilModel\n"
    )
    write(
        folder / "tokenizer_config.json",
        config or {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}},
    )


def _by_kwargs(folder: Path, canary: Path) -> None:
    evil_tokenizer(folder, canary)
    change(folder, "text_cfg", hf_tokenizer_name=str(folder), tokenizer_kwargs={"trust_remote_code": True})


def _by_tokenizer(folder: Path, canary: Path) -> None:
    evil_tokenizer(folder, canary)
    change(folder, "text_cfg", hf_tokenizer_name=str(folder))


def _by_pickled_tokenizer(folder: Path, canary: Path) -> None:
    evil_tokenizer(folder, canary, tokenizer_class="TransfoXLTokenizer", pretrained_vocab_file="vocab.pkl")
    change(folder, "text_cfg", hf_tokenizer_name=str(folder))


def _by_text_model(folder: Path, canary: Path) -> None:
    text = folder / "text"
    evil_tokenizer(text, canary)
    write(
        text / "config.json",
        {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.EvilModel"}},
    )
    change(folder, "text_cfg", hf_model_name=str(text), hf_model_pretrained=False)
    weights = load_file(folder / WEIGHTS)  # so that the file beside is taken for one that has such a tower
    weights["text.transformer.embeddings.x"] = torch.zeros(1)
    save_file(weights, folder / WEIGHTS)


def _by_kernel(folder: Path, canary: Path) -> None:
    _by_text_model(folder, canary)
    write(folder / "text" / "config.json", {"model_type": "roberta", "_attn_implementation": "evil/kernel"})


def _by_adapter(folder: Path, canary: Path) -> None:
    _by_text_model(folder, canary)
    write(folder / "text" / "config.json", {"model_type": "roberta"})
    (folder / "text" / "tokenizer_config.json").unlink()
    write(folder / "text" / "adapter_config.json", {"base_model_name_or_path": "evil/model"})


def _setting(part: str, **settings: Any) -> Callable[[Path, Path], None]:
    return lambda folder, canary: change(folder, part, **settings)


PAYLOADS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "tokenizer_kwargs": (_by_kwargs, "trust_remote_code"),
    "tokenizer auto_map": (_by_tokenizer, "auto_map"),
    "pickled tokenizer": (_by_pickled_tokenizer, "tokenizer_class"),
    "text model auto_map": (_by_text_model, "auto_map"),
    "kernel": (_by_kernel, "_attn_implementation"),
    "adapter": (_by_adapter, "base_model_name_or_path|adapter_config"),
    "timm from a folder": (_setting("vision_cfg", timm_model_name="local-dir:/x"), "timm_model_name"),
    "timm from the hub": (_setting("vision_cfg", timm_model_name="hf-hub:evil/model"), "timm_model_name"),
    "a file for the tokenizer": (_setting("text_cfg", tokenizer_kwargs={"bpe_path": "/etc/passwd"}), "bpe_path"),
    "downloads of nltk": (_setting("text_cfg", tokenizer_kwargs={"reduction_mask": "syntax"}), "reduction_mask"),
    "another argument": (_setting("text_cfg", tokenizer_kwargs={"revision": "x"}), "revision"),
    "of an activation": (_setting("vision_cfg", act_kwargs={"out": "x"}), "out"),
    "of a norm": (_setting("text_cfg", norm_kwargs={"device": "cuda"}), "device"),
    "of the model": (_setting("", cast_dtype="float16"), "cast_dtype"),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_of_a_configuration_runs(folder, tmp_path, monkeypatch, door, payload):
    pytest.importorskip("transformers")
    canary = tmp_path / "it-ran"
    spoil, key = PAYLOADS[payload]
    spoil(folder, canary)
    cached(folder, monkeypatch, "evil/model")
    with pytest.raises(CheckpointError, match=key) as caught:
        DOORS[door](folder)
    assert str(folder) in str(caught.value) or "evil" in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize("door", ["hf:FOLDER", "hf:org/name"])
@pytest.mark.parametrize(
    ("file", "settings", "key"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.EvilModel"}}, "auto_map"),
        ("config.json", {"attn_implementation": "evil/kernel"}, "attn_implementation"),
        ("config.json", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config"),
        ("config.json", {"text_config": {"auto_map": {"AutoConfig": "evil.EvilConfig"}}}, "text_config.auto_map"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": [None, "evil.Evil"]}}, "auto_map"),
        ("tokenizer_config.json", {"tokenizer_class": "TransfoXLTokenizer"}, "tokenizer_class"),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "evil.Evil"}}, "auto_map"),
        ("adapter_config.json", {"base_model_name_or_path": "evil/model"}, "adapter_config"),
        ("config.json", {"text_config": {"vocab_size": 10**12}}, "vocab_size"),
        ("config.json", {"vision_config": {"num_hidden_layers": -1}}, "num_hidden_layers"),
        ("config.json", {"projection_dim": 0}, "projection_dim"),
    ],
)  # fmt: skip
def test_nothing_of_a_transformers_folder_runs(tmp_path, monkeypatch, door, file, settings, key):
    pytest.importorskip("transformers")
    from towers.hf_tiny import save, tiny_hf

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    folder, canary = tmp_path / "model", tmp_path / "it-ran"
    save(tiny_hf("clip"), folder)
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    before = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    for name, value in settings.items():
        before[name] = {**before.get(name, {}), **value} if isinstance(value, dict) else value
    write(folder / file, before)
    cached(folder, monkeypatch, "evil/model")
    name = f"hf:{folder}" if door == "hf:FOLDER" else "hf:evil/model"
    with pytest.raises(CheckpointError, match=key):
        clipsight.load(name, device="cpu")
    assert not canary.exists()


def test_a_live_model_does_not_bring_the_code_of_its_folder(tmp_path):
    pytest.importorskip("transformers")
    from towers.hf_tiny import save, tiny_hf

    folder, canary, module = tmp_path / "model", tmp_path / "it-ran", tiny_hf("clip")
    save(module, folder)
    evil_tokenizer(folder, canary)
    module.config._name_or_path = str(folder)
    with pytest.raises(CheckpointError, match="auto_map"):
        clipsight.load(module)
    assert not canary.exists()


class _Runs:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.canary), "w")


@pytest.mark.parametrize("door", ["local-dir", "hf-hub", "soup"])
def test_pickled_weights_do_not_run(folder, tmp_path, monkeypatch, door):
    canary = tmp_path / "it-ran"
    (folder / WEIGHTS).unlink()
    state = {**tiny_clip().state_dict(), "x": _Runs(canary)}
    torch.save(state, folder / "open_clip_pytorch_model.bin", pickle_module=pickle)
    cached(folder, monkeypatch, "evil/model")
    with pytest.raises(CheckpointError, match="refused, because the file asks to run code"):
        DOORS[door](folder)
    assert not canary.exists()


HUGE = "9" * 5000
DAMAGED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a word for a flag": ("", {"quick_gelu": "false"}, 'quick_gelu is "false"'),
    "a number for a flag": ("", {"quick_gelu": 1}, "quick_gelu is 1"),
    "null for a flag": ("", {"custom_text": None}, "custom_text is null"),
    "width zero": ("vision_cfg", {"width": 0}, "vision_cfg.width is 0"),
    "width negative": ("text_cfg", {"width": -64}, "text_cfg.width is -64"),
    "width huge": ("vision_cfg", {"width": 10**9}, "vision_cfg.width"),
    "width of another model": ("vision_cfg", {"width": 65536}, "do not fit"),
    "width a word": ("vision_cfg", {"width": "64"}, "vision_cfg.width"),
    "width true": ("vision_cfg", {"width": True}, "vision_cfg.width"),
    "width a fraction": ("vision_cfg", {"width": 64.0}, "vision_cfg.width"),
    "width not of whole heads": ("text_cfg", {"heads": 5}, "cannot build|heads"),
    "heads zero": ("text_cfg", {"heads": 0}, "text_cfg.heads"),
    "head width zero": ("vision_cfg", {"head_width": 0}, "head_width"),
    "head width too wide": ("vision_cfg", {"head_width": 128}, "cannot build|head_width"),
    "embed zero": ("", {"embed_dim": 0}, "embed_dim"),
    "embed huge": ("", {"embed_dim": 10**18}, "embed_dim"),
    "embed null": ("", {"embed_dim": None}, "embed_dim"),
    "blocks zero": ("vision_cfg", {"layers": 0}, "layers"),
    "blocks huge": ("text_cfg", {"layers": 10**7}, "layers"),
    "blocks of another model": ("text_cfg", {"layers": 4}, "do not fit"),
    "stages": ("vision_cfg", {"layers": [1, 2, 3]}, "layers"),
    "patch zero": ("vision_cfg", {"patch_size": 0}, "patch_size"),
    "patch null": ("vision_cfg", {"patch_size": None}, "patch_size"),
    "side zero": ("vision_cfg", {"image_size": 0}, "image_size"),
    "side huge": ("vision_cfg", {"image_size": 10**6}, "image_size"),
    "many patches": ("vision_cfg", {"image_size": 8192, "patch_size": 1}, "patches"),
    "side of three": ("vision_cfg", {"image_size": [1, 2, 3]}, "image_size"),
    "ratio zero": ("vision_cfg", {"mlp_ratio": 0}, "mlp_ratio"),
    "ratio NaN": ("vision_cfg", {"mlp_ratio": float("nan")}, "mlp_ratio"),
    "ratio infinite": ("text_cfg", {"mlp_ratio": float("inf")}, "mlp_ratio"),
    "context zero": ("text_cfg", {"context_length": 0}, "context_length"),
    "context huge": ("text_cfg", {"context_length": 10**8}, "context_length"),
    "words huge": ("text_cfg", {"vocab_size": 10**10}, "vocab_size"),
    "words negative": ("text_cfg", {"vocab_size": -1}, "vocab_size"),
    "pool unknown": ("vision_cfg", {"pool_type": "median"}, "pool_type"),
    "text pool unknown": ("text_cfg", {"pool_type": 3}, "pool_type"),
    "section a list": ("", {"vision_cfg": []}, "vision_cfg"),
    "section a number": ("", {"text_cfg": 7}, "text_cfg"),
    "section missing": ("", {"multimodal_cfg": "yes"}, "multimodal_cfg"),
    "key misspelt": ("vision_cfg", {"patchsize": 16}, "patchsize"),
    "scale infinite": ("", {"init_logit_scale": float("inf")}, "init_logit_scale"),
    "interpolation unknown": ("preprocess_cfg", {"interpolation": "cubic"}, "interpolation"),
    "interpolation a number": ("preprocess_cfg", {"interpolation": 3}, "interpolation"),
    "resize unknown": ("preprocess_cfg", {"resize_mode": "crop"}, "resize_mode"),
    "mode unknown": ("preprocess_cfg", {"mode": "BGR"}, "mode"),
    "mean of two": ("preprocess_cfg", {"mean": [0.5, 0.5]}, "mean"),
    "mean a word": ("preprocess_cfg", {"mean": "abc"}, "mean"),
    "mean NaN": ("preprocess_cfg", {"mean": [0.5, float("nan"), 0.5]}, "mean"),
    "deviation zero": ("preprocess_cfg", {"std": [0.5, 0, 0.5]}, "std"),
    "deviation a number": ("preprocess_cfg", {"std": 0.5}, "std"),
    "picture key misspelt": ("preprocess_cfg", {"interpolaton": "bilinear"}, "interpolaton"),
    "tokenizer's cleaning unknown": ("text_cfg", {"tokenizer_kwargs": {"clean": "none"}}, "clean"),
    "timm unknown": ("vision_cfg", {"timm_model_name": "no_such_model"}, "cannot build"),
    "a tokenizer nowhere": ("text_cfg", {"hf_tokenizer_name": "/no/such/folder/x"}, "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_configuration_is_refused_by_its_key(folder, case):
    part, settings, said = DAMAGED[case]
    change(folder, part, **settings)
    for door in ("local-dir", "config and weights"):
        with past_type_checks(), pytest.raises(CheckpointError, match=said):
            DOORS[door](folder)


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", "7", '"text"', "{'a': 1}", '{"model_cfg": []}', '{"model_cfg": {}}', "\x00\x01",
        '{"model_cfg": ' * 5000 + "1" + "}" * 5000, "[" * 100_000, '{"embed_dim": 1, "embed_dim": 2}',
        '{"embed_dim": ' + HUGE + ', "vision_cfg": {}, "text_cfg": {}}',
        '{"embed_dim": 1e999, "vision_cfg": {}, "text_cfg": {}}',
        '{"model_cfg": {"embed_dim": 32, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": [1]}',
    ],
)  # fmt: skip
def test_a_configuration_that_is_none_is_refused(folder, content):
    (folder / CONFIG).write_text(content)
    for door in ("local-dir", "file", "config and weights"):
        with pytest.raises(CheckpointError) as caught:
            DOORS[door](folder)
        assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"contrast_vocabulary": "dog"}, "contrast_vocabulary"),
        ({"contrast_vocabulary": ["dog", 3]}, "contrast_vocabulary"),
        ({"templates": "a photo of a {}."}, "templates"),
        ({"notes": {"a": 1}}, "notes"),
        ({"surgery_depth": "7"}, "surgery_depth"),
        ({"surgery_depth": 0}, "surgery_depth"),
        ({"figures": [1, 2]}, "figures"),
    ],
)
def test_a_card_of_wrong_types_is_refused(folder, card, said):
    write(folder / "card.json", card)
    with past_type_checks(), pytest.raises(CheckpointError, match=rf"card.json: {said} is"):
        clipsight.load(f"local-dir:{folder}", device="cpu")


def _weights(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    state = {name: tensor.contiguous() for name, tensor in tiny_clip(quick_gelu=False).state_dict().items()}
    return {**state, **changed}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"logit_scale": torch.tensor(float("nan"))}, "logit_scale holds NaN"),
        ({"logit_scale": torch.tensor(float("inf"))}, "logit_scale holds NaN or inf"),
        ({"logit_scale": torch.tensor(100.0)}, "logit_scale is 100"),
        ({"visual.proj": torch.full((64, 32), torch.nan)}, "visual.proj holds NaN"),
        ({"visual.proj": torch.ones(64, 32, dtype=torch.int8)}, "visual.proj holds int8"),
        ({"visual.proj": torch.ones(64, 32, dtype=torch.bool)}, "visual.proj holds bool"),
        ({"visual.proj": torch.zeros(0, 32)}, "do not fit"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_that_are_no_numbers_are_refused(folder, changed, said, suffix):
    path = folder / f"weights{suffix}"
    state = _weights(**changed)
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(CheckpointError, match=said):
        clipsight.load(folder / CONFIG, path, device="cpu")


@pytest.mark.parametrize("kind", [torch.int8, torch.bool])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_quantised_weights_in_a_transformers_folder_are_refused(tmp_path, kind, suffix):
    pytest.importorskip("transformers")
    from towers.hf_tiny import save, tiny_hf

    save(tiny_hf("clip"), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["visual_projection.weight"] = state["visual_projection.weight"].to(kind)
    (tmp_path / "model.safetensors").unlink()
    if suffix == "bin":
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"visual_projection\.weight holds"):
        clipsight.load(f"hf:{tmp_path}", device="cpu")


def test_a_transformers_model_larger_than_its_file_takes_no_memory(tmp_path):
    pytest.importorskip("transformers")
    from towers.hf_tiny import save, tiny_hf

    save(tiny_hf("clip"), tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    content["text_config"] |= {"hidden_size": 65536, "vocab_size": 4_000_000, "intermediate_size": 65536}
    write(tmp_path / "config.json", content)
    with pytest.raises(CheckpointError, match=r"describes .* weights and the files hold"):
        clipsight.load(f"hf:{tmp_path}", device="cpu")


def test_facts_that_nest_without_end_are_left_alone(folder):
    state = tiny_clip(quick_gelu=False).state_dict()
    args: dict[str, Any] = {"model": "x"}
    args["args"] = args
    torch.save({"state_dict": state, "args": args}, folder / "checkpoint.pt")
    clipsight.load(folder / CONFIG, folder / "checkpoint.pt", device="cpu")
    save_file(_weights(), folder / "deep.safetensors", metadata={"config": "{" + '"a":{' * 50_000})
    clipsight.load(folder / CONFIG, folder / "deep.safetensors", device="cpu")


def test_the_honest_model_loads_through_every_door(folder, monkeypatch):
    cached(folder, monkeypatch, "evil/model")
    marks = {getattr(DOORS[door](folder), "fingerprint", "") for door in DOORS if "soup" not in door}
    assert len(marks) == 1
    _soup(folder)


@pytest.mark.parametrize("name", open_clip.list_models())
def test_every_architecture_of_open_clip_passes(name):
    config = open_clip.get_model_config(name)
    assert config is not None
    check_model(config, name)


def test_every_picture_setting_of_open_clip_passes():
    for name, tag in open_clip.list_pretrained():
        settings: Any = open_clip.get_pretrained_cfg(name, tag)
        check({k: v for k, v in settings.items() if k in PREPROCESS}, PREPROCESS, name, "preprocess_cfg")


def test_settings_that_do_not_go_together_are_a_sentence():
    config = {"embed_dim": 32, "vision_cfg": TINY_VISION, "text_cfg": {**TINY_TEXT, "heads": 7}}
    with pytest.raises(ClipsightError, match="cannot build this architecture"):
        build_shapes(config)
