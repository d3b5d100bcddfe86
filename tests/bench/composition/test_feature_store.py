"""Features on disk belong to everything that makes them: one fact changed, and they are made again."""

import copy
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import clipsight
from clipsight.bench.composition.encoder import LensEncoder
from clipsight.bench.composition.evaluate import evaluate
from clipsight.bench.composition.store import FeatureStore
from clipsight.errors import ClipsightWarning


@pytest.fixture
def tiny():
    return clipsight.load("clipsight-tiny", device="cpu")


@pytest.fixture
def data(put, paint, tmp_path):
    paint({"coco/val2017/1.jpg": 40, "coco/val2017/2.jpg": 90})
    rows = {
        str(n): {"filename": f"{n}.jpg", "caption": "a red dog", "negative_caption": "a blue cat"}
        for n in (1, 2)
    }
    put("sugarcrepe/data/add_att.json", rows)
    return tmp_path / "annotations", tmp_path / "pictures"


def changed(lens, **preprocess):
    loaded = replace(lens.loaded, preprocess=replace(lens.loaded.preprocess, **preprocess))
    return clipsight.Lens(loaded)


def heads(lens):
    module = copy.deepcopy(lens.loaded.module)
    for block in (*module.transformer.resblocks, *module.visual.transformer.resblocks):
        block.attn.num_heads, block.attn.head_dim = 1, block.attn.embed_dim
    return clipsight.Lens(replace(lens.loaded, module=module))


def epsilon(lens):
    module = copy.deepcopy(lens.loaded.module)
    module.visual.ln_post.eps = 1e-2
    return clipsight.Lens(replace(lens.loaded, module=module))


def context(lens):
    tokenizer = copy.copy(lens.loaded.tokenizer)
    tokenizer.context_length = 9
    return clipsight.Lens(replace(lens.loaded, tokenizer=tokenizer))


@pytest.mark.parametrize(
    "change",
    [
        lambda lens: changed(lens, mean=(0.1, 0.2, 0.3)),
        lambda lens: changed(lens, std=(0.1, 0.2, 0.3)),
        lambda lens: changed(lens, interpolation="bilinear"),
        heads,
        epsilon,
        context,
    ],
    ids=["mean", "std", "interpolation", "heads", "epsilon", "tokenizer"],
)
def test_models_that_differ_in_one_fact_share_nothing(tiny, change):
    other = change(tiny)
    assert other.fingerprint == tiny.fingerprint  # the weights are the same
    one, two = LensEncoder(tiny).about, LensEncoder(other).about
    assert one.made_by
    assert two.made_by
    assert one.mark != two.mark
    assert LensEncoder(tiny).about == one


def test_what_runs_somebodys_code_is_not_kept(tiny):
    tiny.loaded.module.visual.register_forward_hook(lambda *_: None)
    assert LensEncoder(tiny).about.made_by is None


def test_scores_of_two_models_in_one_cache_are_their_own(tiny, data, tmp_path):
    other = changed(tiny, mean=(-2.0, 0.5, 3.0), std=(0.1, 0.1, 0.1))
    alone = [made_of(lens, data, None) for lens in (tiny, other)]
    shared = [made_of(lens, data, tmp_path / "cache") for lens in (tiny, other, tiny)]
    assert shared == [*alone, alone[0]]
    assert alone[0] != alone[1]


def made_of(lens, data, cache):
    held = []
    evaluate_file = sys.modules[evaluate.__module__]
    plain = evaluate_file._encode

    def keep(*given, **more):
        held.append(plain(*given, **more))
        return held[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_file, "_encode", keep)
        evaluate(lens, ["sugarcrepe"], *data, cache=cache)
    store = held[0].store
    return [store.get("pictures", sorted(store._rows["pictures"])).tolist(), len(store)]


def test_a_flipped_bit_is_made_again_and_counted(tiny, data, tmp_path):
    cache = tmp_path / "cache"
    first = made_of(tiny, data, cache)
    for path in cache.iterdir():
        content = bytearray(path.read_bytes())
        content[-3] ^= 4
        path.write_bytes(content)
    with pytest.warns(ClipsightWarning, match="2 entries of the cache .* were damaged"):
        assert made_of(tiny, data, cache) == first
    assert made_of(tiny, data, cache) == first


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 5), np.float32), np.full((2, 3), np.nan, np.float32), np.ones((3, 3))]
)
def test_entries_of_other_shapes_are_counted_and_made_again(tmp_path, wrong):
    from safetensors.numpy import save

    store = FeatureStore(tmp_path, "m", 3)
    names = np.frombuffer(json.dumps(["a", "b"]).encode(), np.uint8)
    store._store.add("features", store._facts("texts"), save({"features": wrong, "keys": names}))
    store._store.add("features", store._facts("texts"), b"nothing of the kind")
    again = FeatureStore(tmp_path, "m", 3)
    assert (again.bad, len(again)) == (2, 0)
    again.add("texts", ["a", "b"], np.ones((2, 3), np.float32))
    again.flush()
    last = FeatureStore(tmp_path, "m", 3)
    assert last.missing("texts", ["a", "b", "c"]) == ["c"]


def test_a_text_that_the_model_refuses_is_counted(tiny, put, paint, tmp_path):
    paint({"coco/val2017/1.jpg": 40, "coco/val2017/2.jpg": 90})
    rows = {
        "1": {"filename": "1.jpg", "caption": "a red dog", "negative_caption": "a blue <end_of_text> cat"},
        "2": {"filename": "2.jpg", "caption": "a red dog", "negative_caption": "&nbsp; &nbsp;"},
        "3": {"filename": "2.jpg", "caption": "a red dog", "negative_caption": "a cat"},
    }
    put("sugarcrepe/data/add_att.json", rows)
    report = evaluate(tiny, ["sugarcrepe"], tmp_path / "annotations", tmp_path / "pictures")
    (row,) = report.rows
    assert (row.counts.items, row.counts.missing) == (3, 2)
    assert any("2 texts cannot be read by the model" in note for note in report.notes)
    assert torch.tensor(row.score()).isfinite()
