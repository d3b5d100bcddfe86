"""FreeCP's purification against a slow loop, and by what must hold; no tensors of the authors exist."""

from collections import deque

import pytest
import torch

from clipsight.scoring.filter_vocabulary import affinity, filter_vocabulary, region_boxes


def blob(h: int, w: int, *boxes: tuple[int, int, int, int]) -> torch.Tensor:
    made = torch.zeros(h, w)
    for top, left, bottom, right in boxes:
        made[top:bottom, left:right] = 1
    return made


def slow_boxes(scores: torch.Tensor, share: float = 0.4) -> set[tuple[int, int, int, int]]:
    """Flood fill."""
    h, w = scores.shape
    inside = {(y, x) for y in range(h) for x in range(w) if scores[y, x] >= share * scores.max()}
    found = set()
    while scores.max() > 0 and inside:
        region, queue = [], deque([inside.pop()])
        while queue:
            y, x = queue.popleft()
            region.append((y, x))
            for near in [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if near in inside:
                    inside.remove(near)
                    queue.append(near)
        ys, xs = [y for y, _ in region], [x for _, x in region]
        found.add((min(ys), min(xs), max(ys) + 1, max(xs) + 1))
    return found


def slow_affinity(attention: torch.Tensor) -> torch.Tensor:
    made = attention.double()
    for _ in range(3):
        made = made / made.sum(0)
        made = made / made.sum(1)[:, None]
    made = (made + made.T) / 2
    return made @ made


def slow_purify(scores, led_by, redundancy, ambiguity, scale, winner, image=0):
    """One picture, text by text; scores (T, h, w)."""
    count, h, w = scores.shape
    likely = (scale * scores).softmax(0)
    stretched = (likely - likely.min()) / (likely.max() - likely.min())
    refined, kept = torch.zeros_like(likely), []
    for t in range(count):
        columns = torch.zeros(h, w)
        for top, left, bottom, right in slow_boxes(stretched[t]):
            columns[top:bottom, left:right] = 1
        led = (led_by * columns.flatten()[None]) @ stretched[t].flatten()
        led = (led - led.min()) / (led.max() - led.min() + 1e-8)
        refined[t] = led.reshape(h, w)
        overlap = (likely[t] * refined[t]).sum() / (likely[t].sum() + refined[t].sum() + 1e-8)
        if overlap > redundancy:
            kept.append(t)
    if winner is not None:
        left, seen = set(), set()
        for t in kept:
            group, todo = [], [t] if t not in seen else []
            while todo:
                one = todo.pop()
                if one in seen:
                    continue
                seen.add(one)
                group.append(one)
                for other in kept:
                    least = torch.minimum(refined[one], refined[other]).sum()
                    most = torch.maximum(refined[one], refined[other]).sum()
                    if least / most >= ambiguity:
                        todo.append(other)
            group.sort()
            if len(group) > 1:
                left |= {winner(image, box, group) for box in slow_boxes(refined[group].mean(0))}
            else:
                left |= set(group)
        kept = sorted(left)
    result = torch.zeros_like(refined)
    result[kept] = refined[kept]
    return result


def sample(batch=2, texts=6, h=4, w=7, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = 0.03 * torch.randn(batch, texts, h, w, generator=generator)
    scores[:, 1] = scores[:, 0] + 0.001 * torch.randn(batch, h, w, generator=generator)
    attention = (2 * torch.randn(batch, h * w, h * w, generator=generator)).softmax(-1)
    return scores, affinity(attention)


def test_affinity_is_the_definition_and_nearly_doubly_stochastic():
    attention = torch.randn(2, 9, 9, generator=torch.Generator().manual_seed(0)).softmax(-1)
    ours = affinity(attention)
    for one, wanted in zip(ours, attention, strict=True):
        torch.testing.assert_close(one.double(), slow_affinity(wanted), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.sum(-1), torch.ones(2, 9), atol=2e-2, rtol=0)
    torch.testing.assert_close(ours, ours.mT)


def test_affinity_of_zeros_gives_numbers():
    attention = torch.rand(1, 5, 5)
    attention[:, 2] = 0
    attention[:, :, 2] = 0
    assert affinity(attention).isfinite().all()
    assert (affinity(torch.zeros(1, 5, 5)) == 0).all()


def test_boxes_are_those_of_a_flood_fill():
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        scores = torch.rand(6, 9, generator=generator) ** 3
        assert set(region_boxes(scores)) == slow_boxes(scores)
    diagonal = blob(5, 6, (0, 0, 1, 1), (1, 1, 3, 2), (4, 5, 5, 6))
    assert region_boxes(diagonal) == [(0, 0, 3, 2), (4, 5, 5, 6)]
    assert region_boxes(torch.zeros(3, 4)) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("with_winner", [False, True])
def test_purify_is_the_slow_loop(seed, with_winner):
    scores, led_by = sample(seed=seed)
    winner = (lambda image, box, group: group[(image + sum(box)) % len(group)]) if with_winner else None
    ours = filter_vocabulary(scores, led_by, redundancy=0.12, ambiguity=0.7, scale=40.0, winner=winner)
    for b in range(2):
        wanted = slow_purify(scores[b], led_by[b], 0.12, 0.7, 40.0, winner, b)
        torch.testing.assert_close(ours[b], wanted, atol=1e-5, rtol=0)


def test_batch_is_a_loop():
    scores, led_by = sample(batch=3)
    whole = filter_vocabulary(scores, led_by, redundancy=0.1, ambiguity=0.7)
    single = [
        filter_vocabulary(scores[i : i + 1], led_by[i : i + 1], redundancy=0.1, ambiguity=0.7)
        for i in range(3)
    ]
    torch.testing.assert_close(whole, torch.cat(single))


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Texts 0 and 1 light the same block, 2 another, 3 a scatter that no neighbour shares; patches attend within."""
    h, w = 6, 8
    first, second = blob(h, w, (0, 0, 6, 4)), blob(h, w, (0, 4, 6, 8))
    scores = torch.stack([first, first - 1e-3, 0.9 * second, 0 * first - 1])[None] * 0.05
    half = first.flatten()
    same = (half[:, None] == half[None]).float() + 1e-3
    return scores, affinity(same[None])


def test_redundant_texts_go_and_the_rest_stays_in_its_place():
    scores, led_by = scene()
    made = filter_vocabulary(scores, led_by, redundancy=0.1, ambiguity=0.7, scale=100.0)[0]
    assert (made[3] == 0).all()
    assert made[2, :, 4:].mean() > 0.9
    assert made[2, :, :4].mean() < 0.1
    assert made[0, :, :4].mean() > 0.9
    assert made[1, :, :4].mean() > 0.9
    assert (filter_vocabulary(scores, led_by, redundancy=0.6, ambiguity=0.7) == 0).all()


def test_the_winner_decides_between_look_alikes():
    scores, led_by = scene()
    asked = []

    def winner(image, box, group):
        asked.append((image, box, list(group)))
        return group[1]

    made = filter_vocabulary(scores, led_by, redundancy=0.1, ambiguity=0.7, winner=winner)[0]
    assert asked == [(0, (0, 0, 6, 4), [0, 1])]
    assert (made[0] == 0).all()
    assert made[1].max() > 0.9
    assert made[2].max() > 0.9


def test_a_winner_of_no_group_and_a_class_token_are_said():
    scores, led_by = scene()
    with pytest.raises(ValueError, match="return group"):
        filter_vocabulary(scores, led_by, redundancy=0.1, ambiguity=0.7, winner=lambda image, box, group: 3)
    with pytest.raises(ValueError, match="prefix"):
        filter_vocabulary(scores, torch.rand(1, 49, 49), redundancy=0.1, ambiguity=0.7)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (5, 2)])
def test_constant_scores_give_numbers(size):
    count = size[0] * size[1]
    made = filter_vocabulary(
        torch.zeros(1, 3, *size),
        torch.full((1, count, count), 1 / count),
        redundancy=-1.0,
        ambiguity=0.7,
        winner=lambda image, box, group: group[0],
    )
    assert made.isfinite().all()
    assert (made == 0).all()
