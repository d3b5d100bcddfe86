"""The cache of text features: by content, bounded, shared between threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from clipsight.session.text_cache import TextCache


class Encoder:
    """Gives each text its length and keeps what it was asked for."""

    def __init__(self):
        self.asked: list[list[str]] = []

    def __call__(self, texts):
        self.asked.append(list(texts))
        return torch.tensor([[float(len(text)), 1.0] for text in texts])


def test_only_what_is_new_is_encoded_and_order_is_kept():
    cache, encoder = TextCache(), Encoder()
    assert cache.get(["aa", "b", "aa"], (), encoder)[:, 0].tolist() == [2, 1, 2]
    assert cache.get(["ccc", "b"], (), encoder)[:, 0].tolist() == [3, 1]
    assert encoder.asked == [["aa", "b"], ["ccc"]]


def test_templates_are_part_of_the_key():
    cache, encoder = TextCache(), Encoder()
    cache.get(["a"], (), encoder)
    cache.get(["a"], ("x {}",), encoder)
    assert len(encoder.asked) == len(cache) == 2


def test_least_recently_used_goes_first():
    cache, encoder = TextCache(2), Encoder()
    cache.get(["a", "b"], (), encoder)
    cache.get(["a"], (), encoder)
    cache.get(["c"], (), encoder)
    cache.get(["a"], (), encoder)
    assert encoder.asked == [["a", "b"], ["c"]]
    cache.get(["b"], (), encoder)
    assert encoder.asked[-1] == ["b"]
    assert len(cache) == 2


def test_more_texts_than_it_holds():
    cache, encoder = TextCache(1), Encoder()
    assert cache.get(["a", "bb", "ccc"], (), encoder)[:, 0].tolist() == [1, 2, 3]
    assert len(cache) == 1


def test_a_kept_feature_does_not_keep_its_batch():
    cache = TextCache()
    batch = torch.ones(100, 2)
    assert cache.get([str(n) for n in range(100)], (), lambda _: batch).shape == (100, 2)
    batch.zero_()
    assert cache.get(["7"], (), Encoder()).tolist() == [[1, 1]]


def test_clear_and_bad_size():
    cache = TextCache()
    cache.get(["a"], (), Encoder())
    cache.clear()
    assert len(cache) == 0
    with pytest.raises(ValueError, match="size=0"):
        TextCache(0)


def test_an_encoder_that_fails_leaves_nothing_behind():
    cache = TextCache()

    def fails(texts):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.get(["a"], (), fails)
    assert cache.get(["a"], (), Encoder()).tolist() == [[1, 1]]


def test_threads_get_the_right_features():
    cache, encoder = TextCache(5), Encoder()
    texts = ["x" * n for n in range(1, 20)]

    def ask(start):
        part = texts[start % 15 : start % 15 + 4]
        return cache.get(part, (), encoder)[:, 0].tolist() == [len(text) for text in part]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
