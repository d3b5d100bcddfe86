"""A tuned model leaves as it was trained: folder, weights alone, card; what the card says to type is typed here."""

import copy
import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors import safe_open

import clipsight
from clipsight.checkpoints.folder import CARD, CONFIG, WEIGHTS, write_model_folder
from clipsight.checkpoints.weight_files import read_weights
from clipsight.errors import ClipsightError, Unsupported
from clipsight.results import io
from clipsight.towers.loading import load_model
from clipsight.tune.architecture import architecture_of, listed_name
from clipsight.tune.averaging import average_checkpoints
from clipsight.tune.export import README, export_model
from clipsight.tune.model_card import TuneFacts
from inputs.test_writers import FullDisk
from tiny import TINY_TEXT, TINY_VISION, pixels, tiny_clip

TINY_CFG = {"embed_dim": 32, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT}
PREPROCESS = {"size": 64, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "interpolation": "bilinear"}
FACTS = TuneFacts(
    base="ViT-B-32, openai",
    base_fingerprint="0123456789ab",
    data={"name": "emoji world", "count": 512},
    command="clipsight tune cae --objective cae.attention",
    objectives={
        "contrastive": {"loss": "softmax"},
        "cae.attention": {"what": "composition attribution enhancement, reconstructed", "rho": 0.5},
    },
    settings={"lr": 5e-7, "betas": [0.9, 0.98]},
    seeds=(0, 1),
    scores={"ARO relations": {"before": 0.5912, "after": 0.8}, "a|b": {"after": 1.0}},
    licence="MIT",
)
by_folder = pytest.mark.skipif(
    not hasattr(open_clip.factory, "parse_model_name"), reason="this open_clip has no local-dir: of its own"
)


@pytest.fixture
def small_b32(monkeypatch):
    """A small architecture under ViT-B-32's names, so that the card's snippets are the real ones."""
    configs = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(configs, "ViT-B-32", TINY_CFG)
    monkeypatch.setitem(configs, "ViT-B-32-quickgelu", {**TINY_CFG, "quick_gelu": True})


def cfg(quick: bool) -> dict[str, Any]:
    return {**TINY_CFG, "quick_gelu": quick}


def export(folder: Path, quick: bool = True, seed: int = 3, **options: Any):
    model = tiny_clip(seed=seed, quick_gelu=quick)
    options = {"model_cfg": cfg(quick), "preprocess_cfg": PREPROCESS, **options}
    return model, export_model(folder, model, FACTS, **options)


def snippets(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / README).read_text(encoding="utf-8"), re.DOTALL)


def run(snippet: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder.parent)
    made: dict[str, Any] = {}
    exec(snippet, made)
    return made


def features(model: Any, size: int = 64) -> torch.Tensor:
    ids = open_clip.SimpleTokenizer()(["a red car left of a dog"])
    with torch.no_grad():
        return torch.cat([model.encode_image(pixels(1, size, size)), model.encode_text(ids)])


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# The card's snippets


@by_folder
@pytest.mark.parametrize("quick", [False, True], ids=["GELU", "QuickGELU"])
def test_the_cards_snippets_give_the_trained_features(tmp_path, monkeypatch, small_b32, quick):
    folder = tmp_path / "cae"
    model, made = export(folder, quick)
    assert made.model == "ViT-B-32"
    expected = features(model)
    ours, theirs, by_name = snippets(folder)

    lens = run(ours, folder, monkeypatch)["lens"]
    torch.testing.assert_close(features(lens), expected, atol=1e-5, rtol=1e-5)
    assert lens.fingerprint == made.fingerprint
    for snippet in (theirs, by_name):
        got = run(snippet, folder, monkeypatch)
        torch.testing.assert_close(features(got["model"]), expected, atol=1e-5, rtol=1e-5)
        resize, *_, normalise = got["preprocess"].transforms
        assert (list(normalise.mean), resize.interpolation.value) == (PREPROCESS["mean"], "bilinear")
        assert got["tokenizer"](["a dog"]).shape == (1, 77)

    # As CLIP-CAE's own card loads its files, and with the other activation.
    path = str(made.bare["pt"])
    for force in (False, True):
        other = open_clip.create_model_and_transforms("ViT-B-32", pretrained=path, force_quick_gelu=force)[0]
        difference = (features(other.eval()) - expected).abs().max()
        assert (difference < 1e-5) if force == quick else (difference > 1e-2)
    card = (folder / README).read_text(encoding="utf-8")
    assert ("Do not leave out `force_quick_gelu=True`" in card) is quick
    assert ("do not pass `force_quick_gelu=True`" in card) is not quick
    assert ("force_quick_gelu=True" in by_name) is quick


@pytest.mark.slow
@by_folder
@pytest.mark.parametrize("quick", [False, True], ids=["GELU", "QuickGELU"])
def test_the_real_vit_b_32(tmp_path, monkeypatch, quick):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32", force_quick_gelu=quick).eval()
        with torch.no_grad():
            for (
                parameter
            ) in model.parameters():  # at the start the blocks say little, and so does their activation
                if parameter.ndim > 1:
                    parameter.mul_(2)
    folder = tmp_path / "cae"
    config = {**(open_clip.get_model_config("ViT-B-32") or {}), "quick_gelu": quick}
    made = export_model(folder, model, FACTS, model_cfg=config, preprocess_cfg={"size": 224}, bare=("pt",))
    assert made.model == "ViT-B-32"
    expected = features(model, 224)
    got = run(snippets(folder)[2], folder, monkeypatch)["model"]
    torch.testing.assert_close(features(got, 224), expected, atol=1e-5, rtol=1e-5)
    wrong = open_clip.create_model("ViT-B-32", pretrained=str(made.bare["pt"]), force_quick_gelu=not quick)
    assert (features(wrong.eval(), 224) - expected).abs().max() > 1e-2


def test_an_architecture_without_a_name_has_no_snippet_by_name(tmp_path):
    _, made = export(tmp_path / "own")
    assert made.model == ""
    assert len(snippets(tmp_path / "own")) == 2
    assert "has no name" in (tmp_path / "own" / README).read_text(encoding="utf-8")


def test_the_card_says_where_the_model_comes_from(tmp_path):
    export(tmp_path / "cae")
    card = (tmp_path / "cae" / README).read_text(encoding="utf-8")
    assert card.startswith("# cae (reconstructed)\n\nReconstructed: ")
    assert "`cae.attention`" in card.split("\n\n")[1]
    assert "`contrastive`" not in card.split("\n\n")[1]
    for said in (
        "ViT-B-32, openai, fingerprint 0123456789ab", FACTS.command, "- count: 512", "- lr: 5e-07", "Seeds: 0, 1",
        "| ARO relations | 0.5912 | 0.8 |", "| a\\|b | – | 1 |", "terms hold for them too: MIT",
    ):  # fmt: skip
        assert said in card
    assert str(tmp_path) not in card
    plain = replace(FACTS, objectives={"contrastive": {}}, licence="")
    export_model(tmp_path / "ft", tiny_clip(), plain, model_cfg=cfg(True), preprocess_cfg=PREPROCESS, bare=())
    other = (tmp_path / "ft" / README).read_text(encoding="utf-8")
    assert "econstructed" not in other
    assert "clipsight does not know them" in other
    assert names(tmp_path / "ft") == {CONFIG, WEIGHTS, CARD, README}


# Files


def test_the_weights_alone(tmp_path):
    model, made = export(tmp_path / "cae")
    assert names(tmp_path / "cae") == {
        CONFIG, WEIGHTS, CARD, README, "cae-quickgelu.pt", "cae-quickgelu.safetensors",
    }  # fmt: skip
    state = torch.load(made.bare["pt"], weights_only=True)
    assert type(state) is dict
    assert all(type(tensor) is torch.Tensor for tensor in state.values())
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    with safe_open(made.bare["safetensors"], framework="pt") as file:
        assert file.metadata() == {"format": "pt", "quick_gelu": "true"}


@pytest.mark.parametrize("quick", [False, True])
def test_safetensors_say_their_activation_wherever_they_are(tmp_path, small_b32, quick):
    model, made = export(tmp_path / "cae", quick, stem="x")
    moved = made.bare["safetensors"].rename(tmp_path / "moved.safetensors")
    with safe_open(moved, framework="pt") as file:
        assert file.metadata()["model"] == "ViT-B-32"
    loaded = load_model(moved, device="cpu")  # a guess would warn, and a warning is an error
    assert torch.equal(features(loaded.module), features(model))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", torch.float16])
def test_other_number_types(tmp_path, dtype):
    model, made = export(tmp_path / "cae", dtype=dtype)
    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float16
    for path in (tmp_path / "cae" / WEIGHTS, *made.bare.values()):
        state = read_weights(str(path)).state
        assert all(
            state[n].dtype == kind and torch.equal(state[n], t.to(kind))
            for n, t in model.state_dict().items()
        )
    assert load_model(f"local-dir:{tmp_path / 'cae'}", device="cpu").fingerprint == made.fingerprint


def test_what_float16_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    model = tiny_clip()
    with torch.no_grad():
        model.text_projection[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"text_projection is not finite as float16"):
        export_model(
            tmp_path / "x", model, FACTS, model_cfg=cfg(True), preprocess_cfg=PREPROCESS, dtype="float16"
        )
    assert not (tmp_path / "x").exists()


def test_the_folder_writer_writes_half_precision_unless_asked(tmp_path):
    for dtype, options in ((torch.float16, {}), (torch.float32, {"dtype": torch.float32})):
        write_model_folder(tmp_path, tiny_clip(), cfg(True), PREPROCESS, {}, **options)
        assert read_weights(str(tmp_path / WEIGHTS)).state["text_projection"].dtype == dtype


def test_an_export_is_kept_unless_asked_and_then_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "cae"
    _, first = export(folder, quick=True)
    (folder / "state.pt").write_bytes(b"mine")
    with pytest.raises(
        FileExistsError, match=r"holds a model already \(open_clip_config.json.*overwrite=True"
    ):
        export(folder, quick=False)
    assert first.bare["pt"].exists()
    export(folder, quick=False, overwrite=True)
    assert names(folder) == {CONFIG, WEIGHTS, CARD, README, "cae.pt", "cae.safetensors", "state.pt"}
    assert (folder / "state.pt").read_bytes() == b"mine"


def test_a_card_that_was_tampered_with_removes_nothing_of_the_users(tmp_path):
    folder = tmp_path / "cae"
    export(folder)
    (folder / "notes.txt").write_text("mine")
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(
        json.dumps({**card, "files": [*card["files"], "notes.txt", "../cae/notes.txt"]})
    )
    export(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_file_of_the_users_is_no_model_but_kept_too(tmp_path):
    (tmp_path / "cae-quickgelu.pt").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"cae-quickgelu\.pt"):
        export(tmp_path, stem="cae")
    assert names(tmp_path) == {"cae-quickgelu.pt"}


@pytest.mark.parametrize("room", [0, 100, 3000, 100_000])
@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_is_said_in_a_sentence_and_loses_nothing(tmp_path, monkeypatch, room, before):
    folder = tmp_path / "cae"
    if before:
        export(folder, quick=False)
    kept = {file.name: file.read_bytes() for file in folder.iterdir()} if before else {}

    @contextmanager
    def opened(*args: Any) -> Iterator[FullDisk]:
        with open(*args) as file:
            yield FullDisk(file, room)

    monkeypatch.setattr(io, "open", opened, raising=False)
    with pytest.raises(
        ClipsightError, match=r"cae could not be written, because the disk is full.*make room"
    ):
        export(folder, overwrite=True)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept
    export(folder, overwrite=True)
    assert "cae-quickgelu.pt" in names(folder)


def test_a_write_that_fails_late_leaves_the_earlier_model_whole(tmp_path, monkeypatch):
    folder = tmp_path / "cae"
    export(folder, quick=False)
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("clipsight.tune.export.write_model_folder", full)
    with pytest.raises(ClipsightError, match="disk is full"):
        export(folder, overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept


# The architecture


def test_a_loaded_model_knows_its_architecture(tmp_path, small_b32):
    model, made = export(tmp_path / "cae")
    loaded = load_model(f"local-dir:{tmp_path / 'cae'}", device="cpu")
    assert architecture_of(loaded)[0] == cfg(True)
    assert (
        architecture_of(loaded)[1].items()
        >= {**PREPROCESS, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1)}.items()
    )
    for name, quick in (("ViT-B-32", True), ("ViT-B-32-quickgelu", True)):
        named = load_model(name, made.bare["pt"], device="cpu")
        assert architecture_of(named)[0]["quick_gelu"] is quick
        assert listed_name(architecture_of(named)[0]) == "ViT-B-32"
    trained = copy.deepcopy(loaded.module)
    with torch.no_grad():
        trained.logit_scale.add_(1)
    again = export_model(tmp_path / "again", replace(loaded, module=trained), FACTS)
    reloaded = load_model(f"local-dir:{tmp_path / 'again'}", device="cpu")
    assert reloaded.module.logit_scale.item() == pytest.approx(model.logit_scale.item() + 1)
    assert reloaded.preprocess == loaded.preprocess
    assert reloaded.card.notes[0].startswith("Reconstructed: ")
    assert again.fingerprint == reloaded.fingerprint != made.fingerprint


def test_the_bundled_models_card_goes_along(tmp_path):
    loaded = load_model("clipsight-tiny", device="cpu")
    export_model(tmp_path / "tuned", loaded, FACTS, bare=())
    lens, base = clipsight.load(f"local-dir:{tmp_path / 'tuned'}", device="cpu"), loaded.card
    assert (lens.card.templates, lens.card.contrast_vocabulary) == (base.templates, base.contrast_vocabulary)
    assert lens.card.surgery_depth == base.surgery_depth
    assert not lens.card.figures  # those of the model before tuning would not be its own
    assert lens.fingerprint == loaded.fingerprint


def test_what_has_no_architecture_says_so(tmp_path):
    live = load_model(tiny_clip(), device="cpu")
    for act in (lambda: architecture_of(live), lambda: export_model(tmp_path / "x", live, FACTS)):
        with pytest.raises(Unsupported, match=r"live module.*pass model_cfg="):
            act()
    with pytest.raises(Unsupported, match=r"class CLIP was to be exported.*pass model_cfg="):
        export_model(tmp_path / "x", tiny_clip(), FACTS)
    export_model(tmp_path / "x", live, FACTS, model_cfg=cfg(True), bare=())
    again = load_model(f"local-dir:{tmp_path / 'x'}", device="cpu")
    assert torch.equal(features(again.module), features(live.module))


def test_transformers_models_are_refused(tmp_path):
    hf_tiny = pytest.importorskip("towers.hf_tiny", reason="needs transformers")
    loaded = load_model(hf_tiny.tiny_hf("clip"), device="cpu")
    with pytest.raises(Unsupported, match=r"transformers'.*save_pretrained"):
        export_model(tmp_path / "x", loaded, FACTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quick_gelu": False}, "runs quick_gelu, but model_cfg says gelu; set its quick_gelu to True"),
        ({"embed_dim": 16}, r"of another shape: .*it has"),
    ],
)
def test_a_configuration_that_is_not_the_models_is_refused(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        export(tmp_path / "x", model_cfg={**cfg(True), **change})
    assert not (tmp_path / "x").exists()


def test_wrappers_and_adapters_are_refused(tmp_path):
    model = torch.nn.ModuleDict({"module": tiny_clip()})
    with pytest.raises(ValueError, match="wrapper of a training framework"):
        export_model(tmp_path / "x", model, FACTS, model_cfg=cfg(True), preprocess_cfg=PREPROCESS)
    adapted = tiny_clip()
    adapted.lora_A = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="merge"):
        export_model(tmp_path / "x", adapted, FACTS, model_cfg=cfg(True), preprocess_cfg=PREPROCESS)
    with pytest.raises(ValueError, match="no kind of file"):
        export(tmp_path / "x", bare=("onnx",))


def test_a_tokenizer_of_hugging_faces_goes_along(tmp_path):
    pytest.importorskip("transformers", reason="the tokenizer is transformers'")
    from towers.test_hf_text_in_open_clip import write_tokenizer

    model = tiny_clip()
    source = tmp_path / "source"
    source.mkdir()
    write_tokenizer("wordpiece", source)
    text = {**TINY_TEXT, "hf_tokenizer_name": "org/tokenizer"}
    write_model_folder(source, model, {**cfg(True), "text_cfg": text}, PREPROCESS, {})
    loaded = load_model(f"local-dir:{source}", device="cpu")
    export_model(tmp_path / "tuned", loaded, FACTS)
    assert "tokenizer.json" in json.loads((tmp_path / "tuned" / CARD).read_text())["files"]
    again = load_model(f"local-dir:{tmp_path / 'tuned'}", device="cpu")
    assert loaded.tokenizer is not None
    assert again.tokenizer is not None
    assert torch.equal(again.tokenizer(["a red car"]), loaded.tokenizer(["a red car"]))


# Soups of files


def test_the_soup_of_folders_and_files(tmp_path):
    models = []
    for seed, name in enumerate(("ab", "gcb", "pb", "gb")):
        models.append(export(tmp_path / name, seed=seed)[0])
    paths = [
        tmp_path / "ab",
        f"local-dir:{tmp_path / 'gcb'}",
        tmp_path / "pb" / "pb-quickgelu.pt",
        tmp_path / "gb" / "gb-quickgelu.safetensors",
    ]
    made = average_checkpoints(paths, tmp_path / "soup", bare=("pt",))
    state = torch.load(made.bare["pt"], weights_only=True)
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, torch.stack([m.state_dict()[name] for m in models]).mean(0))
    loaded = load_model(f"local-dir:{tmp_path / 'soup'}", device="cpu")
    assert loaded.card.activation == "quick_gelu"
    assert list(loaded.preprocess.mean) == PREPROCESS["mean"]
    card = (tmp_path / "soup" / README).read_text(encoding="utf-8")
    assert card.startswith("# soup (reconstructed)")
    assert "the mean of ab (" in card
    assert "gb-quickgelu.safetensors (" in card


def test_a_soup_of_what_does_not_go_together_is_refused(tmp_path, small_b32):
    export(tmp_path / "a", quick=True)
    _, other = export(tmp_path / "b", quick=False)
    with pytest.raises(ValueError, match=r"runs GELU.*runs QuickGELU.*one activation"):
        average_checkpoints([tmp_path / "a", tmp_path / "b"], tmp_path / "soup")
    with pytest.raises(ValueError, match="at least one"):
        average_checkpoints([], tmp_path / "soup")
    narrow = tiny_clip(embed_dim=16, quick_gelu=False)
    export_model(
        tmp_path / "c", narrow, FACTS, model_cfg={**cfg(False), "embed_dim": 16}, preprocess_cfg=PREPROCESS
    )
    with pytest.raises(ValueError, match="of another shape"):
        average_checkpoints([tmp_path / "b", tmp_path / "c"], tmp_path / "soup")
    assert not (tmp_path / "soup").exists()
    moved = other.bare["pt"].rename(tmp_path / "moved.pt")
    made = average_checkpoints([moved], tmp_path / "one", model="ViT-B-32", quick_gelu=False)
    assert made.fingerprint == other.fingerprint
