"""From examples to batches: crops, ids, foils; the order of a run, and the same batches however it is run."""

from itertools import islice

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.towers.loading import Preprocess
from clipsight.towers.preprocess import to_pixels
from clipsight.tune.data.batch import Batch
from clipsight.tune.data.collate import Collate, Unusable
from clipsight.tune.data.crop import Crop
from clipsight.tune.data.example import Example
from clipsight.tune.data.loader import Loader
from clipsight.tune.data.opening import open_examples
from clipsight.tune.data.options import DataOptions
from clipsight.tune.data.plan import BatchPlan
from clipsight.tune.data.role_numbers import Matching
from clipsight.tune.foils import FoilMaker

TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def expects(size=(32, 32), mode="shortest", interpolation="bicubic"):
    return Preprocess(size=size, mean=MEAN, std=STD, interpolation=interpolation, resize_mode=mode)


def collate(**given):
    return Collate(**{"tokenizer": TOKENIZER, "context": 77, "preprocess": expects(), **given})


def photo(width=60, height=40, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def example(caption="a red dog", picture=None, **given):
    return Example(
        **{"picture": photo() if picture is None else picture, "caption": caption, "spans": None, **given}
    )


def tensors_of(batch: Batch):
    return {name: tensor for name, tensor in vars(batch).items() if tensor is not None}


def equal(one: Batch, other: Batch):
    ours, theirs = tensors_of(one), tensors_of(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_without_a_crop_pictures_are_those_of_evaluation(mode, size):
    """Against open_clip's own transform."""
    transform = open_clip.image_transform(
        size, is_train=False, mean=MEAN, std=STD, resize_mode=mode, interpolation="bicubic"
    )
    batch = collate(preprocess=expects(size, mode), crop=Crop(kind="none"))([(0, example())])
    assert torch.allclose(batch.images[0], transform(photo()), atol=1e-6)


def test_the_middle():
    transform = open_clip.image_transform(32, is_train=False, mean=MEAN, std=STD)
    batch = collate(preprocess=expects(mode="squash"), crop=Crop(kind="center"))([(0, example())])
    assert torch.allclose(batch.images[0], transform(photo()), atol=1e-6)


def test_pixels_are_normalised_as_elsewhere():
    picture = photo(32, 32)
    batch = collate(crop=Crop(kind="none"))(
        [(0, example(picture=picture)), (1, example(picture=np.array(picture)))]
    )
    assert torch.allclose(
        batch.images, to_pixels(picture, (32, 32), expects()).expand(2, -1, -1, -1), atol=1e-6
    )
    assert batch.images.is_contiguous()


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    low=st.floats(0.05, 1),
    seed=st.integers(0, 99),
)
def test_random_parts_lie_inside(width, height, low, seed):
    crop = Crop(scale=(low, 1.0))
    left, top, right, bottom = crop.box((width, height), np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    wide, high = right - left, bottom - top
    # sides are rounded by at most half a pixel
    assert (wide + 0.5) / (high - 0.5) >= 3 / 4 or wide == width
    assert (wide - 0.5) / (high + 0.5) <= 4 / 3 or high == height


def test_random_parts_have_the_share_that_is_asked_for():
    rng = np.random.default_rng(0)
    boxes = np.array([Crop(scale=(0.3, 0.6)).box((400, 400), rng) for _ in range(300)])
    shares = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 400**2
    assert 0.29 < shares.min() < 0.32
    assert 0.58 < shares.max() < 0.61
    assert np.std(boxes[:, 0]) > 20
    assert np.std(boxes[:, 1]) > 20


def test_a_random_part_is_the_part_resized():
    crop, picture = Crop(scale=(0.5, 0.9)), photo()
    box = crop.box(picture.size, np.random.default_rng((3, 1, 7)))
    assert box != (0, 0, *picture.size)
    batch = collate(crop=crop, seed=3)([(7, example())], 1)
    part = picture.crop(box).resize((32, 32), Image.Resampling.BICUBIC)
    assert torch.allclose(batch.images, to_pixels(part, (32, 32), expects()), atol=1e-6)


def test_crops_depend_on_seed_epoch_and_number_alone():
    def images(seed=0, epoch=0, index=0, before=0):
        rows = [(99 + n, example()) for n in range(before)] + [(index, example())]
        return collate(seed=seed, crop=Crop(scale=(0.2, 0.9)))(rows, epoch).images[-1]

    plain = images()
    torch.manual_seed(5)
    np.random.seed(5)
    assert torch.equal(images(before=2), plain)
    for other in (images(seed=1), images(epoch=1), images(index=1)):
        assert not torch.equal(other, plain)


def test_settings_of_crops():
    with pytest.raises(ValueError, match="scale at most 1"):
        Crop(scale=(0.9, 1.2))
    with pytest.raises(ValueError, match="each is"):
        Crop(ratio=(2.0, 1.0))
    with pytest.raises(ValueError, match="foils is -1"):
        collate(foils=-1)


def test_texts_of_a_batch():
    rows = [
        (4, example(spans=((2, 5, "attribute"), (6, 9, "object")))),
        (2, example("dogs on mats", spans=((0, 4, "object"),))),
    ]
    batch = collate(matching=Matching())(rows)
    assert torch.equal(batch.ids, TOKENIZER(["a red dog", "dogs on mats"]))
    assert batch.content.nonzero().tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3]]
    assert batch.roles[:, :5].tolist() == [[0, 0, 2, 1, 0], [0, 1, 0, 0, 0]]
    assert batch.index.tolist() == [4, 2]
    assert batch.foil_ids is None
    assert not collate()(rows).roles.any()
    with pytest.raises(ValueError, match=r"the roles of t.tsv:5's words .* nobody has looked"):
        collate(matching=Matching())([(0, example(key="t.tsv:5"))])
    with pytest.raises(Unsupported, match="no tokenizer"):
        collate(tokenizer=None)(rows)


def test_foils_of_a_batch():
    rows = [
        (0, example(foils=("a red cat", "a blue dog", "a third"))),
        (1, example("cups")),
        (2, example(foils=("", "x"))),
    ]
    batch = collate(foils=2)(rows)
    assert batch.foil_ids.shape == (3, 2, 77)
    assert batch.foil_valid.tolist() == [[True, True], [False, False], [True, False]]
    assert torch.equal(batch.foil_ids[0], TOKENIZER(["a red cat", "a blue dog"]))
    assert torch.equal(batch.foil_ids[1], TOKENIZER(["cups", "cups"]))
    assert torch.equal(batch.foil_ids[2], TOKENIZER(["x", "a red dog"]))
    asked = []
    made = collate(foils=1, foil_source=lambda *said: asked.append(said) or ["a mug"])(rows[1:2], 6)
    assert asked == [(rows[1][1], 1, 6)]
    assert torch.equal(made.foil_ids[0], TOKENIZER(["a mug"]))
    assert collate(foils=1, foil_source=FoilMaker(kinds=("replace_att",)))(rows[:1]).foil_valid.all()


def test_captions_that_are_cut_are_said_once(recwarn):
    long, longer = "a dog " * 60, "a cat " * 60
    make = collate(foils=1)
    batch = make([(0, example(long, foils=(longer,)))])
    assert (batch.ids[0, -1], batch.foil_ids[0, 0, -1]) == (49407, 49407)
    assert batch.content.sum() == 75
    make([(1, example(longer)), (2, example())])
    assert [str(one.message)[:20] for one in recwarn] == ["text 'a dog a dog a "]
    assert recwarn[0].category is ClipsightWarning


def test_what_cannot_be_used_is_named(tmp_path):
    with pytest.raises(Unusable, match=r"t.tsv:3: cannot read the picture .*gone.png"):
        collate()([(0, example(picture=tmp_path / "gone.png", key="t.tsv:3"))])
    for caption, said in (
        (" ", "there is no word in it"),
        ("&nbsp;", "the tokenizer finds nothing"),
        ("a dog <end_of_text> a cat", "holds <end_of_text>, by which the model knows"),
    ):
        with pytest.raises(Unusable, match=f"5: .*{said}"):
            collate()([(5, example(caption))])
    with pytest.raises(Unusable, match=r"5: .*<start_of_text>"):
        collate(foils=1)([(5, example(foils=("a <start_of_text> cat",)))])


@given(
    count=st.integers(1, 40),
    batch=st.integers(1, 12),
    seed=st.integers(0, 3),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_an_epoch_sees_every_example_once(count, batch, seed, shuffle, drop_last):
    batch = min(batch, count)
    plan = BatchPlan(count=count, batch=batch, seed=seed, shuffle=shuffle, drop_last=drop_last)
    for epoch in range(2):
        start = epoch * plan.steps_per_epoch
        steps = range(start, start + plan.steps_per_epoch)
        assert {plan.epoch(step) for step in steps} == {epoch}
        seen = np.concatenate([plan.rows(step) for step in steps]).tolist()
        assert len(seen) == plan.steps_per_epoch * batch
        whole = seen[:count]
        assert len(set(whole)) == len(whole) == (min(count, len(seen)))
        assert seen[count:] == seen[: len(seen) - count] or drop_last
        if not shuffle:
            assert whole == list(range(len(whole)))


def test_orders_differ_by_epoch_and_seed():
    def order(seed, step):
        return tuple(BatchPlan(count=50, batch=50, seed=seed).rows(step))

    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1), tuple(range(50))}) == 5


@pytest.mark.parametrize("world", [2, 3, 6])
def test_processes_share_a_batch(world):
    alone = BatchPlan(count=50, batch=12, seed=4)
    shares = [BatchPlan(count=50, batch=12, seed=4, rank=rank, world=world) for rank in range(world)]
    for step in (0, 3, 9):
        assert np.array_equal(np.concatenate([one.own_rows(step) for one in shares]), alone.rows(step))


def test_plans_that_cannot_be_kept():
    with pytest.raises(ValueError, match="cannot share it evenly"):
        BatchPlan(count=50, batch=5, world=2)
    with pytest.raises(ValueError, match="ranks count from 0"):
        BatchPlan(count=50, batch=4, rank=2, world=2)
    with pytest.raises(ValueError, match="there are 3 examples"):
        BatchPlan(count=3, batch=4)


@pytest.fixture(scope="module")
def world():
    return open_examples("world:3:6", DataOptions(per_picture=2))


def batches(examples, start, stop, plan=None, **given):
    made = collate(matching=Matching(), foils=2, foil_source=FoilMaker(count=2), seed=1)
    loader = Loader(examples, made, plan or BatchPlan(count=len(examples), batch=4, seed=2), **given)
    return list(islice(loader(start), stop - start))


def test_a_run_goes_on_with_the_batches_it_would_have_had(world):
    whole = batches(world, 0, 7)
    assert all(map(equal, batches(world, 4, 7), whole[4:]))
    assert not equal(whole[0], whole[3])  # the first of the second epoch
    indices = np.concatenate([one.index for one in whole[:3]])
    assert sorted(indices) == list(range(12))


def test_one_process_is_two_ranks(world):
    shares = [
        batches(world, 0, 4, BatchPlan(count=len(world), batch=4, seed=2, rank=rank, world=2))
        for rank in (0, 1)
    ]
    for whole, *parts in zip(batches(world, 0, 4), *shares, strict=True):
        joined = {name: torch.cat([tensors_of(part)[name] for part in parts]) for name in tensors_of(whole)}
        assert equal(whole, Batch(**joined))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker:UserWarning")  # of a small machine
def test_workers_change_nothing(world):
    alone = batches(world, 2, 5)
    assert all(map(equal, batches(world, 2, 5, workers=2), alone))


def test_random_numbers_of_the_process_stay(world):
    torch.manual_seed(9)
    before = torch.get_rng_state()
    batches(world, 0, 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def damaged(tmp_path):
    """Six pictures of which numbers 2 and 3 are cut off."""
    lines = ["filepath\ttitle"]
    for number in range(6):
        path = tmp_path / f"{number}.png"
        photo(seed=number).save(path)
        if number in (2, 3):
            path.write_bytes(path.read_bytes()[:200])
        lines.append(f"{number}.png\tdog number {number}")
    (tmp_path / "data.tsv").write_text("\n".join(lines))
    return open_examples(str(tmp_path / "data.tsv"))


def test_unreadable_pictures_are_replaced_and_said(damaged):
    loader = Loader(damaged, collate(), BatchPlan(count=6, batch=6, shuffle=False))
    made = loader(0)
    with pytest.warns(ClipsightWarning) as said:
        first = next(made)
    assert first.index.tolist() == [0, 1, 4, 4, 4, 5]
    texts = [str(one.message) for one in said]
    assert len(texts) == 2
    assert texts[0].startswith("replaced by the next example: data.tsv:4: cannot read the picture")
    assert "2.png" in texts[0]
    assert "3.png" in texts[1]
    assert {index: why.split(": ")[0] for index, why in loader.replaced.items()} == {
        2: "data.tsv:4",
        3: "data.tsv:5",
    }
    again = next(made)  # said once
    assert again.index.tolist() == first.index.tolist()


def test_data_without_pictures_ends_a_run(damaged, tmp_path):
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"gone")
    loader = Loader(damaged, collate(), BatchPlan(count=6, batch=6))
    with pytest.raises(Unusable, match=r"20 examples in a row cannot be used, the first: data.tsv:\d"):
        next(loader(0))
