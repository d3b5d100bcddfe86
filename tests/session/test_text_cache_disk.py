"""Text features and fingerprints on disk: found again by the same model, and never another model's."""

import os
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from torch import nn

from clipsight.checkpoints import fingerprint as fingerprint_module
from clipsight.session import text_store
from clipsight.session.text_cache import TextCache
from clipsight.session.text_store import TextStore
from clipsight.store import Store
from clipsight.towers.encode_texts import encode_texts
from clipsight.towers.families import towers_of
from clipsight.towers.identity import text_identity
from clipsight.towers.loading import load_model
from tiny import TINY_TEXT, tiny_clip


@pytest.fixture
def disk(tmp_path):
    return Store(tmp_path / "cache", 2**26)


# Text features


class Session:
    """A program: its model, its own cache in memory, and the folder that all share."""

    def __init__(self, module: nn.Module, disk: Store, tokenizer: object = None) -> None:
        self.tokenizer = tokenizer or open_clip.SimpleTokenizer()
        self.view, self.encoded = towers_of(module).text, 0
        self.cache = TextCache(disk=TextStore(module, self.tokenizer, 77, disk))

    def __call__(
        self, texts: list[str], templates: tuple[str, ...] = ("a photo of a {}.", "{}")
    ) -> torch.Tensor:
        def encode(missing: list[str]) -> torch.Tensor:
            self.encoded += 1
            return encode_texts(self.view, self.tokenizer, missing, templates or None)

        return self.cache.get(texts, templates, encode)


@pytest.fixture
def session(disk, monkeypatch):
    monkeypatch.setattr(text_store, "WORTH_A_LOOK", 4)
    return lambda module, **more: Session(module, disk, **more)


NAMES = ["dog", "cat", "red car"]


def test_another_program_with_the_same_model_finds_the_same_features(session):
    first, second = session(tiny_clip(1)), session(tiny_clip(1))
    made = first(NAMES)
    assert torch.equal(second(NAMES), made)
    assert (first.encoded, second.encoded) == (1, 0)
    assert torch.equal(second(["cat"]), made[1:2])  # from memory: the disk holds the list


def test_short_lists_do_not_ask_the_disk(session, disk):
    session(tiny_clip(1))(["dog"])
    assert not disk.path.exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_number_types_come_back_as_they_were(session, dtype):
    module = tiny_clip(1).to(dtype)
    made = session(module)(NAMES)
    found = session(module)(NAMES)
    assert found.dtype == dtype
    assert torch.equal(made, found)


def change_data(module: nn.Module) -> None:
    module.token_embedding.weight.data[30_000, 5] += 1e-4  # unseen by autograd's version counters


def change_heads(module: nn.Module) -> None:
    for block in module.transformer.resblocks:
        block.attn.num_heads, block.attn.head_dim = 1, 64


def change_buffer(module: nn.Module) -> None:
    module.attn_mask.fill_(0.0)


def change_epsilon(module: nn.Module) -> None:
    module.ln_final.eps = 1e-3


@pytest.mark.parametrize(
    "change", [change_data, change_heads, change_buffer, change_epsilon, nn.Module.double, nn.Module.train]
)
def test_a_changed_model_never_gets_what_the_other_made(session, change):
    module = tiny_clip(1)
    session(module)(NAMES)
    change(module)
    after = session(module)
    made = after(NAMES)
    assert after.encoded == 1
    assert torch.equal(made, encode_texts(after.view, after.tokenizer, NAMES, ("a photo of a {}.", "{}")))


def test_the_activation_is_part_of_the_model(session):
    session(tiny_clip(1, quick_gelu=True))(NAMES)
    other = session(tiny_clip(1, quick_gelu=False))
    other(NAMES)
    assert other.encoded == 1


def test_the_image_side_does_not_count():
    module = tiny_clip(1)
    before = text_identity(module)
    with torch.no_grad():
        module.visual.proj.add_(1.0)
    module.visual.register_forward_hook(lambda *_: None)
    assert text_identity(module) == before


def test_other_words_templates_or_ids_are_other_entries(session):
    module = tiny_clip(1)
    session(module)(NAMES)
    lower = open_clip.SimpleTokenizer()
    asked = [
        (session(module), (NAMES[::-1],)),
        (session(module), (NAMES, ("a photo of a {}", "{}"))),
        (
            session(module, tokenizer=lambda texts, context_length: lower(texts, context_length) % 300),
            (NAMES,),
        ),
    ]
    for other, arguments in asked:
        other(*arguments)
        assert other.encoded == 1


class Louder(nn.LayerNorm):
    """Somebody's own code: what it does tomorrow is not known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_nothing_is_kept_where_the_same_features_are_not_certain(session, disk):
    hooked, own, replaced = (tiny_clip(1) for _ in range(3))
    hooked.ln_final.register_forward_hook(lambda *_: None)
    own.ln_final.__class__ = Louder
    replaced.ln_final.forward = lambda x: x
    for module in (hooked, own, replaced):
        assert text_identity(module) is None
        session(module)(NAMES)
    with torch.autocast("cpu", torch.bfloat16):
        session(tiny_clip(1))(NAMES)
    assert not disk.path.exists()


def test_what_was_encoded_while_the_model_changed_is_not_kept(disk, monkeypatch):
    monkeypatch.setattr(text_store, "WORTH_A_LOOK", 1)
    module = tiny_clip(1)

    def encode(texts: list[str]) -> torch.Tensor:
        change_data(module)  # as another thread would
        return torch.ones(len(texts), 2)

    TextStore(module, open_clip.SimpleTokenizer(), 77, disk).features(NAMES, (), encode)
    assert not disk.path.exists()


def test_a_store_needs_a_tokenizer_and_a_cache(monkeypatch, tmp_path):
    assert text_store.text_store(tiny_clip(), open_clip.SimpleTokenizer(), 77) is None
    monkeypatch.setenv("CLIPSIGHT_CACHE", str(tmp_path))
    assert text_store.text_store(tiny_clip(), open_clip.SimpleTokenizer(), 77) is not None
    assert text_store.text_store(tiny_clip(text={**TINY_TEXT, "vocab_size": 50}), None, 77) is None


# Fingerprints


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint_module, "_WORTH_KEEPING", 0)
    folder = Path(fingerprint_module.__file__).parents[1] / "assets" / "clipsight-tiny"
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / "open_clip_model.safetensors"


def test_a_fingerprint_is_taken_once_for_a_file(weights, monkeypatch):
    first = load_model(weights, device="cpu").fingerprint
    taken = []
    monkeypatch.setattr(fingerprint_module, "fingerprint", lambda module: taken.append(module) or "0" * 12)
    assert load_model(weights, device="cpu").fingerprint == first
    assert not taken
    weights.write_bytes(weights.read_bytes())
    assert load_model(weights, device="cpu").fingerprint == "0" * 12


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no time of a file's last change of any kind")
def test_a_file_that_was_changed_in_place_has_another_fingerprint(weights):
    first, times = load_model(weights, device="cpu").fingerprint, weights.stat()
    content = bytearray(weights.read_bytes())
    content[-2:] = b"\0\0"
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had been
    assert load_model(weights, device="cpu").fingerprint != first
