"""The store: whole or not at all, bounded, shared by processes, and never another value's."""

import os
import subprocess
import sys
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsight.errors import ClipsightWarning
from clipsight.store import LIMIT, Store, cache_path, code_of, content_hash, file_stamp, key_of, open_store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache", LIMIT)


def file(store, word, kind="texts"):
    return store.path / f"clipsight-{kind}-{key_of(kind, word)}"


def test_a_value_comes_back(store):
    assert store.get("texts", {"a": 1}) is None
    store.put("texts", {"a": 1}, b"content\n\0")
    for one in (store, Store(store.path, LIMIT)):
        assert one.get("texts", {"a": 1}) == b"content\n\0"
    assert store.get("weights", {"a": 1}) is None
    assert store.bad == 0
    place, begin = store.file_of("texts", {"a": 1})
    assert place.read_bytes()[begin:] == b"content\n\0"


plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)


@settings(database=None, deadline=None)
@given(one=st.dictionaries(st.text(), plain, max_size=3), two=st.dictionaries(st.text(), plain, max_size=3))
def test_other_facts_have_another_name(one, two):
    import json

    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (key_of("texts", one) == key_of("texts", two)) == same
    assert key_of("texts", one) == key_of("texts", dict(reversed(one.items())))
    assert key_of("texts", one) != key_of("weights", one)


def test_facts_are_plain():
    for fact in ({"a": object()}, {"a": b"x"}, {"a": float("nan")}):
        with pytest.raises((TypeError, ValueError)):
            key_of("texts", fact)


def test_contents_keep_their_parts_apart():
    assert len({content_hash(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",))}) == 3
    assert content_hash("a") == content_hash(b"a")
    assert code_of("store") == code_of("store") != code_of("records") != code_of("store", "records")


def test_a_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    first, times = file_stamp(path), path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_stamp(path) != first or sys.platform == "win32"


def test_every_flipped_bit_is_found_counted_and_mended(store):
    store.put("texts", {}, b"0123")
    path = file(store, {})
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            before = store.bad
            assert store.get("texts", {}) is None
            assert store.bad == before + 1
            assert not path.exists()
    store.put("texts", {}, b"new")
    assert store.get("texts", {}) == b"new"


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:10], lambda c: b"", lambda c: c + b"x"])
def test_cut_and_lengthened_entries_are_none(store, damage):
    store.put("texts", {}, b"0123456789")
    path = file(store, {})
    path.write_bytes(damage(path.read_bytes()))
    assert store.get("texts", {}) is None
    assert store.bad == 1


def test_a_renamed_entry_is_none(store):
    store.put("texts", {"a": 1}, b"one")
    file(store, {"a": 1}).rename(file(store, {"a": 2}))
    assert store.get("texts", {"a": 2}) is None
    assert store.bad == 1


def test_packs(store):
    for content in (b"one", b"two", b"one"):
        store.add("features", {"model": "x"}, content)
    store.add("features", {"model": "y"}, b"three")
    assert sorted(store.packs("features", {"model": "x"})) == [b"one", b"two"]
    assert list(Store(store.path, LIMIT).packs("features", {"model": "y"})) == [b"three"]
    assert list(store.packs("features", {"model": "z"})) == []
    pack = next(path for path in store.path.iterdir() if path.read_bytes().endswith(b"two"))
    pack.write_bytes(pack.read_bytes()[:-1])
    assert list(store.packs("features", {"model": "x"})) == [b"one"]
    assert store.bad == 1


def test_the_bound_is_kept_and_the_least_recently_used_go(tmp_path):
    store = Store(tmp_path, limit=6000)
    for number in range(4):
        store.put("texts", {"n": number}, bytes(1000))
        os.utime(file(store, {"n": number}), (number, number))
    assert store.get("texts", {"n": 0}) is not None  # used: now the newest
    for number in range(4, 6):
        store.put("texts", {"n": number}, bytes(1000))
    assert store.size() <= 6000
    there = [store.get("texts", {"n": number}) is not None for number in range(6)]
    assert there == [True, False, True, True, True, True]


def test_what_is_too_large_for_the_bound_is_not_kept(tmp_path):
    store = Store(tmp_path / "cache", limit=4000)
    store.put("texts", {}, bytes(1001))
    assert not store.path.exists()


def test_files_of_others_are_never_touched(tmp_path):
    store = Store(tmp_path, limit=300)
    others = ("thesis.tex", "clipsight-texts-1", f"clipsight-texts-{key_of('texts', {})}.txt")
    for other in others:
        (tmp_path / other).write_bytes(bytes(1000))
        os.utime(tmp_path / other, (0, 0))
    for number in range(5):
        store.put("texts", {"n": number}, bytes(20))
    assert all((tmp_path / other).exists() for other in others)
    assert store.size() <= 300


def test_what_a_dead_process_left_is_removed_and_a_living_ones_is_not(store):
    store.path.mkdir()
    left, fresh = (store.path / f"{file(store, {}).name}.{word}.part" for word in ("old", "new"))
    for one in (left, fresh):
        one.write_bytes(b"half")
    os.utime(left, (time.time() - 7200,) * 2)
    store.put("texts", {"b": 1}, b"content")
    assert not left.exists()
    assert fresh.exists()


def test_a_folder_that_cannot_be_written_is_warned_of_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(ClipsightWarning, match="in memory only.*CLIPSIGHT_CACHE"):
        Store(tmp_path / "file" / "cache", LIMIT).put("texts", {}, b"content")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store(tmp_path / "file" / "cache", LIMIT).put("texts", {}, b"content")
    assert Store(tmp_path / "file" / "cache", LIMIT).get("texts", {}) is None


def test_a_full_disk_leaves_nothing_half_written(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(ClipsightWarning, match="No space left on device"):
        store.put("texts", {}, b"content")
    assert list(store.path.iterdir()) == []


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
    assert open_store() is None


PROGRAM = """
import sys
from pathlib import Path
from clipsight.store import Store
store, wrong, hits = Store(Path(sys.argv[1]), limit=400_000), 0, 0
for turn in range(200):
    for number in (turn % 60, (turn - 3) % 60):
        content = str(number).encode() * 4000
        found = store.get("texts", {"n": number})
        hits += found is not None
        wrong += found not in (None, content)
        store.put("texts", {"n": number}, content)
        store.add("packs", {}, content)
        for pack in store.packs("packs", {}):
            wrong += pack not in (pack[: len(pack) // 4000] * 4000,)
print(wrong + store.bad, hits)
"""


def test_two_processes_at_once(tmp_path):
    """Both write and read the same sixty entries, for which there is not room beside what both add."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = 0
    for process in running:
        wrong, hits = map(int, process.communicate(timeout=120)[0].split())
        assert process.returncode == 0
        assert wrong == 0
        found += hits
    assert (
        found > 0
    )  # of both: how often one finds what it wrote depends on how far the other has come meanwhile
    Store(tmp_path, limit=400_000).put("texts", {"last": 1}, b"")
    assert Store(tmp_path, LIMIT).size() <= 400_000
    assert not list(tmp_path.glob("*.part"))
