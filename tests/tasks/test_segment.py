"""Labels of pixels: the authors' tensors, the definition against the stream, and every background policy."""

import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from clipsight.errors import ClipsightWarning
from clipsight.language.names import Names
from clipsight.refine import pamr, propagate
from clipsight.tasks import (
    Background,
    Refinement,
    Stitched,
    Windows,
    blocks,
    class_probabilities,
    cosine_score,
    place_windows,
    segment_windows,
    window_scores,
)
from goldens import agree, index, needs_goldens, tensors

# query_idx, logit_scale, prob_thd, area_thd of the index
HEADS = {
    "plain": (range(9), 40, 0.0, 0),
    "plain_area30": (range(9), 60, 0.1, 0.15),
    "plain_thd": (range(9), 100, 0.4, 0),
    "syn_area": ((0, 0, 0, 1, 1, 2, 3, 4, 4), 50, 0.25, 0.15),
    "syn_noarea": ((0, 0, 0, 1, 1, 2, 3, 4, 4), 40, 0.3, 0),
}


def names(owner, *, background: bool = True) -> Names:
    owner = tuple(owner)
    classes = tuple(f"class {c}" for c in range(max(owner) + 1))
    words = tuple(tuple(f"word {q}" for q, own in enumerate(owner) if own == c) for c in range(len(classes)))
    return Names(classes=classes, words=words, background=background)


def whole(scores: Tensor) -> Windows:
    return place_windows(tuple(scores.shape[-2:]), 0, 1)


def random_scores(queries: int = 7, grid=(3, 4), size=(70, 53), crop: int = 32, stride: int = 20):
    """Scores of the windows over a picture that is no multiple of anything."""
    windows = place_windows(size, crop, stride)
    noise = torch.randn(queries, len(windows), *grid, generator=torch.Generator().manual_seed(queries))
    return 0.2 + 0.03 * noise, windows


@needs_goldens
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("tile", [300, 10**6])
def test_goldens_of_the_head(head: str, tile: int):
    owner, scale, threshold, area = HEADS[head]
    listed = index()["seg_head", f"logits/probs_{head}"]["options"]
    assert listed == (
        f"query_idx={list(owner)}, logit_scale={scale}, prob_thd={threshold}, area_thd={area or None}"
    )
    logits = tensors("seg_head")["logits/logits"][0]
    probabilities = class_probabilities(
        logits, torch.tensor(owner), logit_scale=scale, area=area, background=True
    )
    agree(probabilities, "seg_head", f"logits/probs_{head}")
    scores = rearrange(logits, "Q h w -> Q 1 h w")
    made = segment_windows(
        scores,
        whole(scores),
        names(owner),
        tuple(logits.shape[-2:]),
        logit_scale=scale,
        background=threshold,
        area=area,
        tile=tile,
    )
    agree(made.labels, "seg_head", f"logits/pred_{head}")
    torch.testing.assert_close(
        made.probability, tensors("seg_head")[f"logits/probs_{head}"].amax(0), rtol=1e-4, atol=1e-6
    )


def odd_window(crop: Tensor) -> Tensor:
    """The per-window function that the goldens were made with."""
    pooled = F.avg_pool2d(crop[:, :1], 5, stride=1, padding=2)
    centred = crop[:, 1:2] - crop[:, 1:2].mean((2, 3), keepdim=True)
    return torch.cat([pooled, centred, crop[:, 2:] * torch.linspace(0, 1, crop.shape[-1])], 1)


@needs_goldens
@pytest.mark.parametrize(("case", "stride"), [("a", 32), ("b", 40), ("c", 48)])
def test_goldens_of_the_sliding_windows(case: str, stride: int):
    picture = tensors("seg_head")[f"slide/{case}_image"].float()
    golden = tensors("seg_head")[f"slide/{case}_logits"]
    windows = place_windows(tuple(picture.shape[-2:]), 64, stride)
    scores = window_scores(picture, windows, odd_window, batch=2).scores
    stitched = Stitched(scores, windows, tuple(golden.shape[-2:]))
    agree(stitched.whole()[None], "seg_head", f"slide/{case}_logits")


def stitched_as_defined(scores: Tensor, windows: Windows, size: tuple[int, int]) -> Tensor:
    canvas, count = torch.zeros(len(scores), *windows.size), torch.zeros(windows.size)
    for k, (rows, columns) in enumerate(windows):
        part = F.interpolate(scores[None, :, k], windows.window, mode="bilinear", align_corners=False)[0]
        canvas[:, slice(*rows), slice(*columns)] += part
        count[slice(*rows), slice(*columns)] += 1
    return F.interpolate((canvas / count)[None], size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("size", [(70, 53), (31, 90), (140, 106), (1, 3)])
def test_stitching_is_the_definition(size: tuple[int, int]):
    scores, windows = random_scores()
    stitched = Stitched(scores, windows, size)
    wanted = stitched_as_defined(scores, windows, size)
    torch.testing.assert_close(stitched.whole(), wanted, rtol=1e-5, atol=1e-6)
    rows, columns = (0, max(1, size[0] // 3)), (size[1] // 2, size[1])
    part = stitched.part(rows, columns, slice(2, 5))
    torch.testing.assert_close(part, wanted[2:5, slice(*rows), slice(*columns)], rtol=1e-5, atol=1e-6)


def by_definition(scores, windows, size, owner, *, background, area, threshold, allowed=None):
    made = class_probabilities(
        stitched_as_defined(scores, windows, size), torch.tensor(owner), logit_scale=60, area=0
    )
    if allowed is not None:
        made = made * torch.tensor(allowed)[:, None, None]
    if area:
        pixels = torch.bincount(made.argmax(0).flatten(), minlength=len(made)).float()
        if background:
            pixels[0] = 0
        made[(pixels <= area * pixels.sum()) & (torch.arange(len(made)) >= int(background))] = 0
    best, labels = made.max(0)
    labels[(best < threshold) | (best == 0)] = 0 if background else -1
    return labels, best


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("area", [0, 0.2])
@pytest.mark.parametrize("tile", [1, 5000, 10**7])
@pytest.mark.parametrize("refined", [None, 1, 3, 100])
def test_the_stream_is_the_definition(background: bool, area: float, tile: int, refined: int | None):
    owner = (0, 0, 1, 2, 2, 3, 4)
    scores, windows = random_scores(len(owner))
    size = (60, 77)
    labels, best = by_definition(
        scores, windows, size, owner, background=background, area=area, threshold=0.3
    )
    refine = refined and Refinement(function=torch.clone, name="nothing", chunk=refined)
    made = segment_windows(
        scores, windows, names(owner, background=background), size,
        logit_scale=60, background=0.3, area=area, refine=refine or None, tile=tile,
    )  # fmt: skip
    assert (made.labels != labels).float().mean() < 0.002
    torch.testing.assert_close(made.probability, best, rtol=1e-4, atol=1e-5)
    pixels = torch.stack([(made.labels == c).sum() for c in range(5)])
    torch.testing.assert_close(made.areas, pixels / labels.numel())
    for c in range(5):
        mean = made.probability[made.labels == c].mean() if pixels[c] else torch.tensor(0.0)
        torch.testing.assert_close(made.scores[c], mean)
    assert bool(made.notes) == bool(area)


def test_a_refinement_is_applied_before_the_softmax():
    scores, windows = random_scores(5, crop=32, stride=32)
    size, picture = (40, 56), torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    refine = Refinement(
        function=lambda maps: pamr(maps[None], picture, iterations=3)[0], name="pamr", chunk=2
    )
    made = segment_windows(scores, windows, names(range(5)), size, logit_scale=60, refine=refine)
    maps = pamr(stitched_as_defined(scores, windows, size)[None], picture, iterations=3)[0]
    wanted = class_probabilities(maps, torch.arange(5), logit_scale=60)
    assert (made.labels != wanted.argmax(0)).float().mean() < 0.002
    torch.testing.assert_close(made.probability, wanted.amax(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(70, 53), (200, 190)])
def test_a_refinement_of_means_equals_the_one_at_full_size(size: tuple[int, int]):
    scores, windows = random_scores(5)
    generator = torch.Generator().manual_seed(0)
    picture, texts = torch.randn(1, 3, *size, generator=generator), torch.randn(5, 8, generator=generator)
    small = F.avg_pool2d(picture, blocks(size, 40))
    refine = Refinement(
        function=lambda maps: propagate(maps[None], small, texts, grid=40)[0], name="propagation", grid=40
    )
    made = segment_windows(scores, windows, names(range(5)), size, logit_scale=60, refine=refine)
    maps = propagate(stitched_as_defined(scores, windows, size)[None], picture, texts, grid=40)[0]
    wanted = class_probabilities(maps, torch.arange(5), logit_scale=60)
    assert (made.labels != wanted.argmax(0)).float().mean() < 0.002
    torch.testing.assert_close(
        made.probability, wanted.amax(0), rtol=1e-3, atol=1e-3
    )  # 25 steps amplify rounding


def test_a_refinement_that_fails_is_not_passed_over():
    scores, windows = random_scores(5)
    run = partial(segment_windows, scores, windows, names(range(5)), (40, 56), logit_scale=60)

    def broken(maps: Tensor) -> Tensor:
        raise ArithmeticError("singular")

    with pytest.raises(ArithmeticError, match="singular"):
        run(refine=Refinement(function=broken, name="broken"))
    with pytest.raises(RuntimeError, match=r"broken .* gave NaN"):
        run(refine=Refinement(function=lambda maps: maps / 0 * 0, name="broken"))
    with pytest.raises(RuntimeError, match=re.escape("gave shape (5, 20, 28) back; nothing was segmented")):
        run(refine=Refinement(function=lambda maps: maps[:, ::2, ::2], name="broken"))


def test_a_refinement_may_work_in_place():
    scores, windows = random_scores(5)
    kept = scores.clone()
    refine = Refinement(function=lambda maps: maps.mul_(2), name="double")
    segment_windows(scores, windows, names(range(5)), (40, 56), logit_scale=60, refine=refine)
    assert torch.equal(scores, kept)


def test_presence_takes_pixels_away():
    owner = (0, 1, 1, 2, 3)
    scores, windows = random_scores(5)
    presence = torch.tensor([0.0, 0.9, 0.1, torch.nan])
    made = segment_windows(
        scores, windows, names(owner), (40, 56),
        logit_scale=60, background="presence", presence=presence,
    )  # fmt: skip
    labels, best = by_definition(
        scores, windows, (40, 56), owner, background=True, area=0, threshold=0, allowed=[1, 1, 0, 1]
    )
    assert (made.labels != labels).float().mean() < 0.002
    torch.testing.assert_close(made.probability, best, rtol=1e-4, atol=1e-5)
    assert made.notes == ("Not seen in the picture as a whole, and given no pixel: class 2.",)
    nobody = segment_windows(
        scores, windows, names(owner, background=False), (40, 56),
        logit_scale=60, background="presence", presence=torch.zeros(4),
    )  # fmt: skip
    assert (nobody.labels == -1).all()
    assert (nobody.probability == 0).all()
    assert (nobody.scores == 0).all()


def test_policies_as_they_are_said():
    assert Background.of(None) == Background.of("none") == Background()
    assert Background.of(0.15) == Background(threshold=0.15)
    assert Background.of(["sky", "wall"]) == Background(words=("sky", "wall"))
    assert Background.of("presence").presence == 0.2
    both = Background(words=("sky",), threshold=0.1)
    assert Background.of(both) is both
    assert both.names(names((0, 1), background=False)).queries == ("sky", "word 0", "word 1")
    for wrong, message in (
        ("sky", "a list of words"),
        ([], "empty list"),
        (1.5, "not in"),
        (-1, "not in"),
    ):
        with pytest.raises(ValueError, match=message):
            Background.of(wrong)
    with pytest.raises(TypeError, match="says not how"):
        Background.of(True)


def test_mistakes_in_plain_words():
    scores, windows = random_scores(5)
    run = partial(segment_windows, windows=windows, size=(40, 56))
    with pytest.raises(ValueError, match="scores of 5 queries were given for names with 4"):
        run(scores, names=names(range(4)), logit_scale=60)
    with pytest.raises(ValueError, match="logit_scale=0"):
        run(scores, names=names(range(5)), logit_scale=0)
    with pytest.raises(ValueError, match="are not the first class"):
        run(scores, names=names(range(5)), logit_scale=60, background=["sky"])
    with pytest.raises(ValueError, match="got none; measure it"):
        run(scores, names=names(range(5)), logit_scale=60, background="presence")
    with pytest.raises(ValueError, match="hold NaN"):
        run(scores * torch.nan, names=names(range(5)), logit_scale=60)
    with pytest.raises(ValueError, match=re.escape("scores of (5, 8, 3, 4)")):
        run(scores[:, 1:], names=names(range(5)), logit_scale=60)
    with pytest.raises(ValueError, match="resize the picture"):
        window_scores(torch.zeros(1, 3, 32, 32), windows, odd_window)


def test_constant_scores_go_to_the_first_class():
    scores, windows = random_scores(6)
    made = segment_windows(
        torch.full_like(scores, 0.25), windows, names(range(6)), (40, 56), logit_scale=60, tile=800
    )
    assert (made.probability - 1 / 6).abs().max() < 1e-5
    assert made.areas.sum() == 1


def test_many_names_and_a_tiny_picture():
    scores = torch.randn(2000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    made = segment_windows(
        scores, Windows(size=(16, 16), rows=((0, 16),), columns=((0, 16),)), names(range(2000)), (1, 1),
        logit_scale=10,
    )  # fmt: skip
    assert made.labels.item() == scores.argmax()


def test_windows_in_batches_report_progress_and_equal_one_by_one():
    _, windows = random_scores()
    picture = torch.randn(1, 3, *windows.size)
    texts = torch.randn(4, 6)
    sizes, steps = [], []

    def encode(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return rearrange(F.avg_pool2d(torch.cat([x, x.square()], 1), 8), "B E h w -> B h w E")

    made = window_scores(
        picture, windows, cosine_score(encode, texts), batch=5, progress=lambda *at: steps.append(at)
    )
    alone = window_scores(picture, windows, cosine_score(encode, texts), batch=1)
    torch.testing.assert_close(made.scores, alone.scores)
    assert sizes == [5, 4, *9 * [1]]
    assert steps == [(5, 9), (9, 9)]
    assert made.scores.shape == (4, 9, 4, 4)
    done = []
    segment_windows(
        made.scores, windows, names(range(4)), (80, 90),
        logit_scale=50, tile=4000, progress=lambda *at: done.append(at),
    )  # fmt: skip
    assert done[-1][0] == done[-1][1] == len(done) > 1


def test_memory_that_runs_out_halves_the_batch_and_says_so():
    _, windows = random_scores()

    def score(x: Tensor) -> Tensor:
        if len(x) > 3:
            raise RuntimeError("MPS backend out of memory")
        return x

    with pytest.warns(ClipsightWarning, match=r"went on with [24]"):
        made = window_scores(torch.randn(1, 3, *windows.size), windows, score, batch=8)
    assert [note.split()[-1] for note in made.notes] == ["4.", "2."]

    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        window_scores(torch.randn(1, 3, *windows.size), windows, broken)


def test_background_words_and_threshold_together():
    owner = (0, 0, 1, 2)
    scores, windows = random_scores(4)
    policy = Background(words=("sky", "wall"), threshold=0.4)
    base = names((0, 1), background=False)
    made = segment_windows(scores, windows, policy.names(base), (40, 56), logit_scale=60, background=policy)
    labels, _ = by_definition(scores, windows, (40, 56), owner, background=True, area=0, threshold=0.4)
    assert (made.labels != labels).float().mean() < 0.002
    assert replace(policy, words=()).names(base) is base


def test_no_more_scores_than_a_tile_are_held(monkeypatch: pytest.MonkeyPatch):
    held, part = [], Stitched.part

    def watched(self: Stitched, *args: object) -> Tensor:
        made = part(self, *args)  # pyright: ignore[reportArgumentType]
        held.append(made.numel())
        return made

    monkeypatch.setattr(Stitched, "part", watched)
    scores, windows = random_scores(50)
    segment_windows(scores, windows, names(range(50)), (120, 170), logit_scale=60, tile=40_000)
    assert max(held) <= 40_000
    assert sum(held) == 50 * 120 * 170
