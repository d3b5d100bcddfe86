"""Position tables at other grids: four rules, each by its definition, cached, never written back."""

import inspect
import math
import threading

import pytest
import torch

import clipsight
from clipsight.towers import positions
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.towers.positions import POSITION_RULES, PositionCache, interpolate_positions
from clipsight.world import make_scene
from tiny import pixels, tiny_clip

TABLE = torch.randn(1 + 4 * 6, 8, generator=torch.Generator().manual_seed(3))


def cubic_weight(distance: float, a: float) -> float:
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def axis_matrix(old: int, new: int, rule: str) -> torch.Tensor:
    """Sampling weights of one axis, written from the definitions: half-pixel centres, clamped borders."""
    ratio = old / (new + 0.1) * 1.0 if rule == "dino_bicubic" else old / new
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        at = (i + 0.5) * ratio - 0.5
        if rule == "bicubic_antialias":
            support = max(ratio, 1.0)
            centre = (i + 0.5) * ratio
            taps = range(
                max(math.floor(centre - 2 * support + 0.5), 0),
                min(math.floor(centre + 2 * support + 0.5), old),
            )
            weights = {j: cubic_weight((j - centre + 0.5) / support, -0.5) for j in taps}
            for j, weight in weights.items():
                matrix[i, j] += weight / sum(weights.values())
        elif rule == "bilinear":
            at = max(at, 0.0)
            low = min(math.floor(at), old - 1)
            matrix[i, low] += 1 - (at - low)
            matrix[i, min(low + 1, old - 1)] += at - low
        else:
            for j in range(math.floor(at) - 1, math.floor(at) + 3):
                matrix[i, min(max(j, 0), old - 1)] += cubic_weight(at - j, -0.75)
    return matrix


@pytest.mark.parametrize("rule", POSITION_RULES)
@pytest.mark.parametrize("grid", [(7, 9), (2, 3), (6, 4), (4, 11), (1, 5)], ids=str)
def test_rules_by_their_definitions(rule, grid):
    rows, columns = axis_matrix(4, grid[0], rule), axis_matrix(6, grid[1], rule)
    patches = torch.einsum("ih,jw,hwD->ijD", rows, columns, TABLE[1:].reshape(4, 6, 8).double()).reshape(
        -1, 8
    )
    made = interpolate_positions(TABLE, (4, 6), grid, rule)
    assert torch.equal(made[:1], TABLE[:1])
    torch.testing.assert_close(made[1:].double(), patches, atol=2e-5, rtol=0)


@pytest.mark.parametrize("rule", POSITION_RULES)
def test_native_grid_is_the_table_itself(rule):
    assert interpolate_positions(TABLE, (4, 6), (4, 6), rule) is TABLE


def test_rules_are_not_interchangeable():
    tables = [interpolate_positions(TABLE, (4, 6), (7, 7), rule) for rule in POSITION_RULES]
    for i, a in enumerate(tables):
        assert all((a - b).abs().max() > 0.05 for b in tables[:i])


def test_as_many_patches_in_another_shape_is_another_grid():
    assert not torch.equal(interpolate_positions(TABLE, (4, 6), (6, 4), "bilinear"), TABLE)


def test_half_precision_is_computed_in_float32():
    half = interpolate_positions(TABLE.half(), (4, 6), (5, 5), "bicubic")
    assert half.dtype == torch.float16
    torch.testing.assert_close(
        half, interpolate_positions(TABLE.half().float(), (4, 6), (5, 5), "bicubic").half()
    )


def test_tables_without_prefix():
    assert interpolate_positions(TABLE[1:], (4, 6), (2, 2), "bilinear").shape == (4, 8)


@pytest.mark.parametrize(
    ("native", "grid", "rule", "words"),
    [
        ((4, 6), (3, 3), "nearest", "rules are"),
        ((4, 6), (0, 3), "bilinear", "at least 1"),
        ((5, 6), (3, 3), "bilinear", "needs 30 rows, got 25"),
    ],
)
def test_refusals_say_what_is_wrong(native, grid, rule, words):
    with pytest.raises(ValueError, match=words):
        inspect.unwrap(interpolate_positions)(
            TABLE, native, grid, rule
        )  # as users call it, without type checks


@pytest.fixture
def counted(monkeypatch):
    calls = []
    plain = positions.interpolate_positions

    def count(*args):
        calls.append(args[2:])
        return plain(*args)

    monkeypatch.setattr(positions, "interpolate_positions", count)
    return calls


def test_each_grid_and_rule_is_computed_once(counted):
    view, images = OpenClipVision(tiny_clip(layers=1).visual), pixels(1, 96, 32)
    with torch.inference_mode():
        first = [view.encode(images, rule) for rule in POSITION_RULES]
        again = [view.encode(images, rule) for rule in POSITION_RULES]
    assert all(map(torch.equal, first, again))
    assert len(counted) == len(POSITION_RULES)


def test_sizes_in_between_do_not_change_a_result():
    view = OpenClipVision(tiny_clip(layers=1).visual)
    with torch.inference_mode():
        before = view.encode(pixels(1, 96, 32), "bilinear")
        view.encode(pixels(1, 160, 160), "bilinear")
        view.encode(pixels())
        assert torch.equal(view.encode(pixels(1, 96, 32), "bilinear"), before)
        assert torch.equal(OpenClipVision(view._visual).encode(pixels(1, 96, 32), "bilinear"), before)


def test_written_parameter_is_noticed(counted):
    model = tiny_clip(layers=1)
    view, images = OpenClipVision(model.visual), pixels(1, 96, 32)
    with torch.no_grad():
        before = view.encode(images)
        model.visual.positional_embedding.mul_(2)
        assert not torch.equal(view.encode(images), before)
        view.encode(images.double(), "bicubic_antialias")
    assert len(counted) == 2


def test_table_made_in_inference_mode_serves_gradients():
    model = tiny_clip(layers=1)
    model.visual.positional_embedding.requires_grad_(False)
    view, images = OpenClipVision(model.visual), pixels(1, 96, 32)
    with torch.inference_mode():
        view.encode(images)
    view.encode(images.requires_grad_()).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_trained_table_stays_in_the_graph(counted):
    model = tiny_clip(layers=1)
    view = OpenClipVision(model.visual)
    for _ in range(2):
        view.encode(pixels(1, 96, 32), "bilinear").sum().backward()
    assert len(counted) == 2
    assert model.visual.positional_embedding.grad.abs().sum() > 0


def test_memory_of_the_cache_is_bounded():
    cache = PositionCache((4, 6))
    for side in range(1, 60):
        cache.get(TABLE, (side, 2), "bilinear", torch.float32)
    assert len(cache._tables) == positions._TABLES_KEPT


def test_threads_get_the_same_table():
    cache, out, start = PositionCache((4, 6)), [], threading.Barrier(8)

    def ask():
        start.wait()
        for side in range(1, 30):
            out.append((side, cache.get(TABLE, (side, 3), "bilinear", torch.float32)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(out) == 8 * 29
    assert all(torch.equal(t, interpolate_positions(TABLE, (4, 6), (side, 3), "bilinear")) for side, t in out)


def test_a_size_that_the_library_cuts_is_taken_as_it_is_there():
    """SigLIP SO400M/14 takes 384 pixels and sees 27 patches of 14; here 70 pixels and 4 patches of 16."""
    model = tiny_clip(image_size=70)
    view = OpenClipVision(model.visual)
    assert (view.native_size, view.native_grid) == ((64, 64), (4, 4))
    images = pixels(1, 70, 70)
    assert torch.equal(view.encode(images), model.encode_image(images))
    lens = clipsight.load(model, device="cpu")
    assert lens.preprocess(make_scene(0).image, "square").shape[-2:] == (64, 64)
    assert lens.preprocess(make_scene(0).image).shape[-2:] == (64, 64)
    with pytest.raises(ValueError, match="Resize it to"):
        view.grid(70, 71)
