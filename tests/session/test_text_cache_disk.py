"""The cache on disk: whole or not at all, bounded, shared by processes, and never another model's."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from torch import nn

from clipsight.checkpoints import fingerprint as fingerprint_module
from clipsight.errors import ClipsightWarning
from clipsight.session import text_store
from clipsight.session.text_cache import TextCache
from clipsight.session.text_store import TextStore
from clipsight.store import disk as disk_cache
from clipsight.store.disk import DiskCache, cache_path, entry_name, open_cache
from clipsight.towers.encode_texts import encode_texts
from clipsight.towers.families import towers_of
from clipsight.towers.loading import load_model
from clipsight.towers.text_identity import text_identity
from tiny import TINY_TEXT, tiny_clip


def name(word: str) -> str:
    return entry_name("texts", word.encode())


@pytest.fixture
def disk(tmp_path):
    return DiskCache(tmp_path / "cache")


# The folder


def test_an_entry_comes_back(disk):
    assert disk.read(name("a")) is None
    disk.write(name("a"), b"content")
    assert disk.read(name("a")) == b"content"
    assert DiskCache(disk.path).read(name("a")) == b"content"
    assert disk.read(name("b")) is None


def test_names_keep_their_parts_apart():
    assert len({entry_name("texts", *parts) for parts in ((b"ab", b"c"), (b"a", b"bc"), (b"abc",))}) == 3
    assert entry_name("texts", b"a") != entry_name("weights", b"a")


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c[:10], lambda c: b"", lambda c: c[:40] + b"X" + c[41:]]
)
def test_a_damaged_entry_is_none_and_is_replaced(disk, damage):
    disk.write(name("a"), b"0123456789" * 4)
    file = disk.path / name("a")
    file.write_bytes(damage(file.read_bytes()))
    assert disk.read(name("a")) is None
    disk.write(name("a"), b"new")
    assert disk.read(name("a")) == b"new"


def test_the_bound_is_kept_and_the_least_recently_used_go(tmp_path):
    disk = DiskCache(tmp_path, limit=5000)
    for number in range(4):
        disk.write(name(str(number)), bytes(1000))
        os.utime(tmp_path / name(str(number)), (number, number))
    assert disk.read(name("0")) is not None  # used: now the newest
    for number in range(4, 6):
        disk.write(name(str(number)), bytes(1000))
    assert disk.size() <= 5000
    assert [disk.read(name(str(number))) is not None for number in range(6)] == [
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def test_what_is_too_large_for_the_bound_is_not_kept(tmp_path):
    disk = DiskCache(tmp_path / "cache", limit=4000)
    disk.write(name("a"), bytes(1001))
    assert not disk.path.exists()


def test_files_of_others_are_never_touched(tmp_path):
    disk = DiskCache(tmp_path, limit=100)
    for other in ("thesis.tex", "clipsight-texts-1", f"{name('x')}.txt"):
        (tmp_path / other).write_bytes(bytes(1000))
        os.utime(tmp_path / other, (0, 0))
    for number in range(5):
        disk.write(name(str(number)), bytes(20))
    assert sorted(
        path.name for path in tmp_path.iterdir() if not path.name.startswith("clipsight-texts-")
    ) == ["thesis.tex"]
    assert (tmp_path / "clipsight-texts-1").exists()
    assert (tmp_path / f"{name('x')}.txt").exists()
    assert disk.size() <= 100


def test_what_a_dead_process_left_is_removed_and_a_living_ones_is_not(disk):
    disk.path.mkdir()
    left, fresh = (disk.path / f"{name('a')}.{word}.part" for word in ("old", "new"))
    for file in (left, fresh):
        file.write_bytes(b"half")
    os.utime(left, (time.time() - 7200,) * 2)
    disk.write(name("b"), b"content")
    assert not left.exists()
    assert fresh.exists()


def test_a_folder_that_cannot_be_written_is_warned_of_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(ClipsightWarning, match="in memory only.*CLIPSIGHT_CACHE"):
        DiskCache(tmp_path / "file" / "cache").write(name("a"), b"content")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DiskCache(tmp_path / "file" / "cache").write(name("a"), b"content")
    assert DiskCache(tmp_path / "file" / "cache").read(name("a")) is None


def test_a_full_disk_leaves_nothing_half_written(disk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(ClipsightWarning, match="No space left on device"):
        disk.write(name("a"), b"content")
    assert list(disk.path.iterdir()) == []


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for said, path in (
        (None, tmp_path / ".cache/clipsight"),
        ("~/mine", tmp_path / "mine"),
        ("off", None),
        ("", None),
    ):
        monkeypatch.delenv("CLIPSIGHT_CACHE") if said is None else monkeypatch.setenv("CLIPSIGHT_CACHE", said)
        assert cache_path() == path
    monkeypatch.delenv("CLIPSIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_path() == tmp_path / "xdg" / "clipsight"
    assert not list(tmp_path.iterdir())  # asking makes nothing


def test_tests_keep_nothing_on_disk():
    assert open_cache() is None


PROGRAM = """
import sys
from pathlib import Path
from clipsight.store.disk import DiskCache, entry_name
disk, wrong, hits = DiskCache(Path(sys.argv[1]), limit=200_000), 0, 0
for turn in range(300):
    for number in (turn % 60, (turn - 3) % 60):
        name = entry_name("texts", str(number).encode())
        content = str(number).encode() * 4000
        found = disk.read(name)
        hits += found is not None
        wrong += found not in (None, content)
        disk.write(name, content)
print(wrong, hits)
"""


def test_two_processes_at_once(tmp_path):
    """Both write and read the same sixty entries, of which a good half has room."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        wrong, hits = map(int, process.communicate(timeout=120)[0].split())
        assert process.returncode == 0
        assert wrong == 0
        assert hits > 0
    DiskCache(tmp_path, limit=200_000).write(name("last"), b"")
    assert DiskCache(tmp_path).size() <= 200_000
    assert not list(tmp_path.glob("*.part"))


# Text features


class Session:
    """A program: its model, its own cache in memory, and the folder that all share."""

    def __init__(self, module: nn.Module, disk: DiskCache, tokenizer: object = None) -> None:
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
    folder = Path(disk_cache.__file__).parents[1] / "assets" / "clipsight-tiny"
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
