"""The result object: access, checks, enlargement, words."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clipsight.results import Classification, Provenance, summary_line
from results.scenes import PROVENANCE, explanation


def test_maps_by_text_and_by_row() -> None:
    ex = explanation(("a dog", "a cat", "a dog"))
    assert torch.equal(ex["a dog"], ex.maps[0])  # the first of equal texts
    assert torch.equal(ex[2], ex.maps[2])
    assert torch.equal(ex[-1], ex.maps[2])
    assert len(ex) == 3
    assert len(list(ex)) == 3
    with pytest.raises(KeyError, match="'a cow' was not asked; the texts are 'a dog', 'a cat'"):
        ex["a cow"]
    with pytest.raises(IndexError):
        ex[3]


def test_it_is_frozen_and_names_itself() -> None:
    ex = explanation()
    with pytest.raises(FrozenInstanceError):
        ex.source = "other"  # pyright: ignore[reportAttributeAccessIssue]
    assert repr(ex) == (
        "Explanation('photo.jpg' 128×96: 'a dog' 0.97, 'a red car' 0.51, 'person' 0.05 absent; clip_surgery on "
        "clipsight-tiny, grid 14×14)"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": np.zeros((4, 5), np.uint8)}, "image must be uint8 RGB"),
        ({"image": np.zeros((4, 5, 3), np.float32)}, "image must be uint8 RGB"),
        ({"maps": torch.zeros(2, 14, 14)}, r"maps must have shape \(3, 14, 14\)"),
        ({"maps": torch.zeros(3, 14, 14, dtype=torch.float64)}, "float32 tensor on the CPU"),
        ({"maps": torch.zeros(3, 14, 14, requires_grad=True)}, "graph"),
        ({"similarity": torch.zeros(2)}, "similarity must have shape"),
        ({"presence": torch.tensor([0.1, 1.2, 0.3])}, r"presence must lie in \[0, 1\]"),
        ({"trust": ("one",)}, "trust must hold one sentence"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields: dict, message: str) -> None:
    ex = explanation()
    for name, value in fields.items():  # past beartype, which would refuse it in other words
        object.__setattr__(ex, name, value)
    with pytest.raises(ValueError, match=message):
        ex.__post_init__()


def test_upsample_keeps_raw_signed_scores() -> None:
    ex = explanation(grid=(5, 9), image=(50, 90))
    large = ex.upsample()
    assert large.shape == (3, 50, 90)
    torch.testing.assert_close(large, F.interpolate(ex.maps[None], (50, 90), mode="bilinear")[0])
    assert large.min() < 0
    assert torch.equal(ex.upsample(mode="nearest")[:, ::10, ::10], ex.maps)
    assert ex.upsample((7, 11), mode="bicubic").shape == (3, 7, 11)
    with pytest.raises(ValueError, match="mode 'lanczos'"):
        ex.upsample(mode="lanczos")


def test_provenance_is_plain_data_and_comes_back_equal() -> None:
    assert PROVENANCE.settings == {"depth": 6, "maps": ["vv"]}
    assert Provenance.from_dict(PROVENANCE.to_dict()) == PROVENANCE
    assert PROVENANCE.unit == "cosine difference"
    assert replace(PROVENANCE, contrast="none").unit == "cosine"
    assert "grid 14 × 14" in PROVENANCE.line()
    with pytest.raises(ValueError, match="plain data"):
        replace(PROVENANCE, settings={"x": object()})
    with pytest.raises(ValueError, match="not one of none, labels"):
        replace(PROVENANCE, contrast="auto")


def test_summary_line() -> None:
    ex = explanation(("a dog\x1b[31m", "b", "c"), grid=(14, 14))
    maps = ex.maps.clone()
    maps[0] = 0.0
    maps[0, 2, 13] = 0.25
    maps[1] = 0.1
    maps[2] = torch.nan
    ex = replace(ex, maps=maps, presence=torch.tensor([0.93, torch.nan, 0.5]))
    assert summary_line(ex, 0) == "a dog\\x1b[31m: presence 0.93, similarity 0.300, peak 0.250 at x 123, y 17"
    assert summary_line(ex, "b").startswith("b: presence not measured, similarity 0.200, constant map")
    assert summary_line(ex, "c").endswith("no score of this map is a finite number: nothing is drawn")


def test_classification_orders_and_checks() -> None:
    c = Classification(
        labels=("a", "b", "c"),
        probabilities=torch.tensor([0.2, 0.7, 0.1]),
        similarity=torch.tensor([0.2, 0.3, 0.1]),
        source="x.png",
        provenance=PROVENANCE,
    )
    assert [label for label, _ in c.top(2)] == ["b", "a"]
    assert c.top(9)[2] == ("c", pytest.approx(0.1))
    assert c.to_dict()["probabilities"] == [0.2, 0.7, 0.1]
    assert repr(c).startswith("Classification('b' 0.700")
    object.__setattr__(c, "probabilities", torch.zeros(2))
    with pytest.raises(ValueError, match="probabilities must be float32"):
        c.__post_init__()
