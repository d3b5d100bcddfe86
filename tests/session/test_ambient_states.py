"""No ambient state of torch and no change of weights makes an answer differ from that of a fresh lens."""

import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

import clipsight
from clipsight.session.weight_watch import content_sum, weight_marks

LABELS = ["a dog", "a red car", "two cats"]


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))


@pytest.fixture(scope="module")
def module():
    return clipsight.load("clipsight-tiny", device="cpu").module


def lens_of(module):
    return clipsight.load(module)


@contextmanager
def default_dtype():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


STATES = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "grad": torch.enable_grad,
    "dtype": default_dtype,
    "device": lambda: torch.device("meta"),
}

QUESTIONS = {
    "explain": lambda lens, x: lens.explain(x, LABELS),
    "several": lambda lens, x: lens.explain([x, x], LABELS)[1],
    "resclip": lambda lens, x: lens.explain(x, LABELS, "resclip.naclip"),
    "classify": lambda lens, x: lens.classify(x, LABELS),
    "tag": lambda lens, x: lens.tag(x, LABELS),
    "segment": lambda lens, x: lens.segment(x, LABELS),
    "words": lambda lens, x: lens.words(x, "a red car left of a dog"),
    "anomaly": lambda lens, x: lens.anomaly(x, "dog"),
}


def tensors(value, found=None):
    """Every tensor of a result, by its place."""
    found = {} if found is None else found
    for name, one in sorted(vars(value).items()):
        if isinstance(one, torch.Tensor):
            found[name] = one
        elif isinstance(one, np.ndarray):
            found[name] = torch.from_numpy(one.copy())
    assert found
    return found


def same(one, other):
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert not value.is_floating_point() or value.dtype == torch.float32, name
        assert value.device.type == "cpu"
        assert not value.is_inference()
        assert torch.equal(value.nan_to_num(9), theirs[name].nan_to_num(9)), name


@pytest.mark.filterwarnings("ignore:resclip.naclip is published for towers of 12 blocks")
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("state", STATES)
def test_answers_are_those_of_a_fresh_lens(module, picture, state, question):
    ask = QUESTIONS[question]
    fresh = ask(lens_of(module), picture)
    lens = lens_of(module)
    with STATES[state]():
        inside = ask(lens, picture)
    same(inside, fresh)
    same(ask(lens, picture), fresh)  # nothing of the state is remembered
    assert inside.provenance.fingerprint == fresh.provenance.fingerprint


@pytest.mark.parametrize("state", STATES)
def test_features_made_in_a_state_can_be_used_in_any(module, picture, state):
    lens = lens_of(module)
    with STATES[state]():
        texts = lens.encode_text(LABELS)
        pixels = lens.preprocess(picture)
        image = lens.encode_image(pixels)
    fresh = lens_of(module)
    assert torch.equal(texts, fresh.encode_text(LABELS))
    assert torch.equal(lens.encode_text(LABELS), texts)
    assert torch.equal(image, fresh.encode_image(fresh.preprocess(picture)))
    scale = torch.ones(1, requires_grad=True)
    (lens.encode_text(LABELS) * scale).sum().backward()  # what is remembered takes part in a graph
    assert scale.grad is not None


def test_states_are_as_they_were(module, picture):
    lens = lens_of(module)
    with torch.autocast("cpu", torch.bfloat16), default_dtype(), torch.inference_mode():
        lens.explain(picture, LABELS)
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
        assert torch.get_default_dtype() == torch.float64
        with pytest.raises(ValueError, match="texts is empty"):
            lens.explain(picture, [])
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize(
    "flag",
    [
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True),
        (torch.get_num_threads, torch.set_num_threads, 1),
    ],
    ids=["matmul", "deterministic", "threads"],
)
def test_what_is_remembered_belongs_to_its_arithmetic(module, picture, flag):
    read, write, value = flag
    lens, before = lens_of(module), read()
    first = lens.explain(picture, LABELS)
    write(value)
    try:
        same(lens.explain(picture, LABELS), lens_of(module).explain(picture, LABELS))
    finally:
        write(before)
    same(lens.explain(picture, LABELS), first)


def grow(module):
    for one in module.parameters():
        one.data.mul_(1.1)


def one_value(module):
    module.token_embedding.weight.data[30_000, 5] += 1e-4


def swapped(module):
    rows = module.visual.conv1.weight.data
    rows[[0, 1]] = rows[[1, 0]]


def mirrored(module):
    module.visual.conv1.weight.data.copy_(module.visual.conv1.weight.data.flip(-1))


def positions(module):
    module.visual.positional_embedding.data.mul_(1.1)


def buffer(module):
    module.attn_mask.data.fill_(0.0)


def logit(module):
    module.logit_scale.data.add_(0.5)


@pytest.mark.parametrize("change", [grow, one_value, swapped, mirrored, positions, buffer, logit])
def test_a_change_of_data_is_seen_by_texts_pictures_and_fingerprint(module, picture, change):
    module = copy.deepcopy(module)
    lens = lens_of(module)
    seen = lens.see(picture)
    before = seen.explain(LABELS)
    seen.classify(LABELS)
    change(module)
    fresh = lens_of(copy.deepcopy(module))
    other = fresh.see(picture)
    after, expected = seen.explain(LABELS), other.explain(LABELS)
    same(after, expected)
    assert after.provenance.fingerprint == expected.provenance.fingerprint
    # a buffer that files do not hold is no weight
    assert (after.provenance.fingerprint != before.provenance.fingerprint) == (change is not buffer)
    assert torch.equal(lens.encode_text(LABELS), fresh.encode_text(LABELS))
    same(seen.classify(LABELS), other.classify(LABELS))
    same(lens.words(picture, "a red car"), fresh.words(picture, "a red car"))


def test_a_seen_picture_follows_the_number_type(module, picture):
    module = copy.deepcopy(module)
    lens = lens_of(module)
    seen = lens.see(picture)
    seen.explain(LABELS)
    module.double()
    same(seen.explain(LABELS), lens_of(module).explain(picture, LABELS))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (64, 33), (300, 257)])
def test_sums_see_every_single_change(dtype, shape):
    draw = torch.Generator().manual_seed(1)
    one = torch.randint(0, 2, shape, generator=draw).to(dtype)
    before = content_sum([one])
    assert content_sum([one.clone()]) == before
    flat = one.reshape(-1)
    for place in {0, len(flat) // 2, len(flat) - 1}:
        other = flat.clone()
        other[place] = 1 - other[place] if dtype != torch.bool else ~other[place]
        assert content_sum([other.reshape(shape)]) != before


def test_sums_depend_on_order_shape_type_and_layout():
    one = torch.arange(24.0).reshape(4, 6)
    assert content_sum([one]) == content_sum([one.T.contiguous().T])
    others = [one.flip(0), one.flip(1), one.reshape(6, 4), one.int(), one.T]
    assert len({content_sum([other]) for other in [one, *others]}) == 6
    assert content_sum([one[1:]]) == content_sum([one[1:].clone()])  # wherever in memory it lies


def test_models_of_our_own_are_looked_at_in_part():
    module = copy.deepcopy(clipsight.load("clipsight-tiny", device="cpu").module)
    before = weight_marks(module, live=False)[-1]
    assert weight_marks(module, live=True)[-1] != before  # another sum, in full
    for name, one in module.named_parameters():
        kept = one.data.clone()
        one.data.mul_(1.01).add_(1e-3)
        assert weight_marks(module, live=False)[-1] != before, name
        one.data.copy_(kept)
    assert weight_marks(module, live=False)[-1] == before
