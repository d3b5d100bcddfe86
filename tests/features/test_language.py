"""The language says no in words: every rule by its name, and what users get wrong with maps, names and blocks."""

from dataclasses import replace

import pytest
import torch

from clipsight.errors import Unsupported
from clipsight.features import (
    Accumulate,
    Applied,
    Attention,
    Bias,
    Branch,
    Centred,
    ClassToken,
    Denoise,
    EveryBlock,
    Given,
    HeadChoice,
    ImagePass,
    Kernel,
    Nearness,
    Recipe,
    Similarity,
    Smooth,
    Span,
    Stream,
    Term,
    Total,
    after,
    get_recipe,
    run,
    with_bias,
    with_depth,
)
from clipsight.features.operands import SelfAttended
from clipsight.towers.open_clip_vit import OpenClipVision
from tiny import past_type_checks, pixels, tiny_clip

KK = Kernel(branches=(Branch(left="k", right="k"),))
N = 15
"""Patches of `pixels(2, 48, 80)`."""


def recipe(**changes) -> Recipe:
    plain = {"id": "mine", "summary": "A test.", "kernel": KK, "residual": "drop", "ffn": "skip"}
    return Recipe(**{**plain, "positions": "bilinear", **changes})


def unchecked(kind: type, **fields) -> None:
    """Validation as users meet it, without the type checks that tests switch on."""
    made = object.__new__(kind)
    made.__dict__.update(fields)
    made.__post_init__()


@pytest.fixture(scope="module")
def view() -> OpenClipVision:
    return OpenClipVision(tiny_clip().visual)


def biased(name: str = "m", over: str = "patches") -> Recipe:
    return recipe(kernel=with_bias(KK, Bias(Given(name, over))))


def applied(over: str = "patches") -> Recipe:
    return recipe(kernel=Kernel(branches=(Applied(by=Given("m", over)),), keys="patches"))


RULES = [
    ("block-index", lambda: Span(0, 3)),
    ("block-index", lambda: Span(1, 0)),
    ("block-index", lambda: after(0)),
    ("branch-operands", lambda: Branch(left="q")),
    ("branch-operands", lambda: Branch(right="k")),
    ("branch-operands", lambda: unchecked(Branch, **vars(Branch(left="q", right="k")) | {"right": "w"})),
    ("branch-operands", lambda: Branch(left="q", right="k", also=(Term(Centred("k"), "z"),))),
    ("branch-scores", lambda: Branch()),
    ("branch-scores", lambda: Branch(bias=(Bias(Nearness()),), also=(Term("q", "k"),))),
    ("branch-weights", lambda: Applied(by=Given("m"), weight=0.0)),
    ("kernel-keys", lambda: unchecked(Kernel, **vars(KK) | {"keys": "none"})),
    ("original-stream", lambda: recipe(path=Accumulate(2), streams=(Stream(weight=2.0),))),
    ("original-stream", lambda: recipe(path=Accumulate(2), streams=(Stream(), Stream()))),
    ("original-stream", lambda: recipe(path=Accumulate(2), edit=Denoise(sinks=()))),
    ("original-stream", lambda: recipe(path=EveryBlock(), residual=ClassToken(0.3))),
    ("original-stream", lambda: recipe(path=Accumulate(2), residual=ClassToken(0.3))),
    (
        "accumulate-records",
        lambda: recipe(path=Accumulate(2), kernel=Kernel(branches=(Applied(by=Attention(Span(1, 2))),))),
    ),
    ("accumulate-records", lambda: recipe(path=Accumulate(2), maps=(Attention(Span(1, 2)),))),
    ("every-block", lambda: recipe(path=EveryBlock(), residual="keep")),
    ("patch-keys", lambda: recipe(kernel=replace(KK, keys="patches"), residual="keep")),
    ("patch-keys", lambda: recipe(kernel=replace(KK, keys="cut"), residual="keep")),
    (
        "patch-keys",
        lambda: recipe(residual="keep", streams=(Stream(), Stream(kernel=replace(KK, keys="patches")))),
    ),
    ("patch-maps", lambda: recipe(kernel=Kernel(branches=(Applied(by=Given("m")),)))),
    (
        "patch-maps",
        lambda: recipe(kernel=Kernel(branches=(Applied(by=Similarity(after(2))),), keys="cut")),
    ),
    ("streams", lambda: recipe(streams=())),
    ("elsewhere", lambda: unchecked(Recipe, **vars(recipe()) | {"elsewhere": "anything"})),
    ("residual", lambda: unchecked(Recipe, **vars(recipe()) | {"residual": 0.3})),
]


@pytest.mark.parametrize(("rule", "make"), RULES, ids=[rule for rule, _ in RULES])
def test_broken_rules_are_named(rule, make):
    wanted = rf"(?s)rule '{rule}' is broken: got .+, but .+ Write .+\."
    with past_type_checks(), pytest.raises(ValueError, match=wanted):
        make()


REFUSED = [
    (
        "accumulate that leaves the class token out",
        lambda: recipe(path=Accumulate(2), kernel=replace(KK, keys="patches")),
    ),
    (
        "chosen heads with keys='cut'",
        lambda: recipe(kernel=replace(KK, keys="cut", heads=HeadChoice(0.5))),
    ),
    ("a share of heads above one", lambda: recipe(kernel=replace(KK, heads=HeadChoice(1.5)))),
    ("a share of no heads", lambda: recipe(kernel=replace(KK, heads=HeadChoice(0.0)))),
    ("a stream of weight 0", lambda: recipe(streams=(Stream(weight=0.0),))),
    ("a span that ends before it begins", lambda: Span(5, 3)),
    ("numbers written for no blocks", lambda: recipe(written_for=0)),
]


@pytest.mark.parametrize("make", [make for _, make in REFUSED], ids=[why for why, _ in REFUSED])
def test_what_does_not_run_as_written_is_refused(make):
    with pytest.raises(ValueError, match="is broken"):
        make()


def test_what_is_allowed_runs(view):
    """Corners of the language that no built-in recipe uses."""
    twice = (Stream(), Stream(source=Total(Span(1, 2)), kernel=replace(KK, keys="patches"), weight=-0.5))
    for one in (
        recipe(streams=twice),
        recipe(path=Accumulate(2), kernel=with_bias(KK, Bias(Nearness(2.0)))),
        recipe(path=EveryBlock(), kernel=replace(KK, keys="patches")),
        recipe(kernel=replace(KK, keys="cut")),
        recipe(kernel=replace(KK, keys="patches", heads=HeadChoice(0.5)), residual=ClassToken(0.3)),
        recipe(streams=(Stream(before=Smooth(Similarity(after(2)), normalize=False)),)),
        recipe(kernel=Kernel(branches=(Branch(left="q", right="k", gain=2.0, scale=0.1),))),
    ):
        features = run(view, pixels(2, 48, 80), one)
        assert features.patches.shape == (2, 3, 5, 32)
        assert features.patches.isfinite().all()


@torch.inference_mode()
def test_gain_and_scale_are_factors_of_one_product(view):
    """(gain 2, scale s), (gain 1, scale 2s), and a further term of the same product are one thing."""

    def patches(**branch):
        made = Branch(**{"left": "q", "right": "k", "scale": 0.1, **branch})
        return run(view, pixels(), recipe(kernel=Kernel(branches=(made,)))).patches

    plain = patches(gain=2.0)
    for other in ({"scale": 0.2}, {"also": (Term("q", "k"),)}, {"gain": 0.5, "also": (Term("q", "k", 1.5),)}):
        torch.testing.assert_close(patches(**other), plain, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_further_terms_take_the_scale_of_the_norms(view):
    z = SelfAttended("k", 0)

    def patches(**branch):
        made = Branch(left=z, right=z, scale="norms", **branch)
        return run(view, pixels(), recipe(kernel=Kernel(branches=(made,)))).patches

    torch.testing.assert_close(patches(also=(Term(z, z),)), patches(gain=2.0), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_given_maps_are_used(view):
    """A bias of 0 changes nothing, and the unit map hands the values through."""
    x = pixels(2, 48, 80)
    plain = run(view, x, recipe()).patches
    zero = run(view, x, biased(), {"m": torch.zeros(2, 1, N, N)}).patches
    torch.testing.assert_close(zero, plain, atol=1e-5, rtol=0)
    unit = run(view, x, applied(), {"m": torch.eye(N).expand(2, 1, N, N)}).patches
    values = run(view, x, replace(get_recipe("maskclip.attention"), positions="bilinear")).patches
    torch.testing.assert_close(unit, values, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_given_maps_of_all_tokens(view):
    x, tokens = pixels(2, 48, 80), torch.zeros(2, 1, N + 1, N + 1)
    plain = run(view, x, recipe()).patches
    torch.testing.assert_close(
        run(view, x, biased(over="tokens"), {"m": tokens}).patches, plain, atol=1e-5, rtol=0
    )
    barred = tokens.clone()
    barred[..., 0] = -torch.inf
    shut = run(view, x, biased(over="tokens"), {"m": barred}).patches
    without = run(view, x, recipe(kernel=replace(KK, keys="patches"))).patches
    torch.testing.assert_close(shut, without, atol=1e-5, rtol=0)


def test_a_map_that_was_not_given_is_named(view):
    with pytest.raises(ValueError, match=r"'mine' takes maps from outside, and m is missing; bring them to "):
        run(view, pixels(), biased())
    with pytest.raises(ValueError, match="m is missing"):
        run(view, pixels(), biased(), {"n": torch.zeros(2, 1, 16, 16)})


def test_a_map_among_the_further_maps_that_was_not_given_is_named(view):
    with past_type_checks(), pytest.raises(ValueError, match="m is missing"):
        ImagePass(view, pixels(), recipe(maps=(Given("m"),)))


@pytest.mark.parametrize("make", [biased, applied])
@pytest.mark.parametrize("shape", [(2, 1, N + 1, N + 1), (3, 1, N, N), (2, 1, N, 1), (1, 1, 1, 1)], ids=str)
def test_given_maps_of_a_wrong_size_are_refused_in_words(view, make, shape):
    with past_type_checks(), pytest.raises(ValueError, match="'m'"):
        run(view, pixels(2, 48, 80), make(), {"m": torch.zeros(shape)})


def test_unknown_ids_say_what_there_is(view):
    with pytest.raises(ValueError, match=r"no recipe is called 'sc-clip'; did you mean 'sc_clip'\?"):
        run(view, pixels(), "sc-clip")
    with pytest.raises(ValueError, match=r"no recipe is called 'zzz'\. The recipes are clip, .*--variants"):
        run(view, pixels(), "zzz")


@pytest.mark.parametrize("span", [(7, 7), (2, 9), (-7, -1)])
def test_blocks_that_the_tower_does_not_have_are_refused(view, span):
    deep = recipe(kernel=Kernel(branches=(Applied(by=Attention(Span(*span))),)))
    with pytest.raises(Unsupported, match=rf"blocks {span[0]} to {span[1]} were asked of a tower that has 6"):
        run(view, pixels(), deep)


def test_accumulating_deeper_than_the_tower_is_refused(view):
    with pytest.raises(Unsupported, match=r"in 7 blocks.*has 6.*with_depth\(recipe, 6\)"):
        run(view, pixels(), recipe(path=Accumulate(7)))
    assert run(view, pixels(), with_depth(recipe(path=Accumulate(7)), 6)).patches.isfinite().all()


def test_a_pass_keeps_what_its_recipe_names_and_says_so(view):
    made = ImagePass(view, pixels(), recipe())
    with pytest.raises(ValueError, match="was not recorded in this pass"):
        made.recorded(Attention(Span(1, 2)))
    kept = ImagePass(view, pixels(), recipe(maps=(Attention(Span(1, 2)),)))
    torch.testing.assert_close(kept.map(Attention(Span(1, 2))).sum(-1), torch.ones(2, 2, 17))


def test_what_a_recipe_needs_is_known_beforehand():
    assert biased().needs_given == ("m",)
    assert not recipe().needs_weights
    assert recipe(kernel=replace(KK, keys="patches", heads=HeadChoice(0.5))).needs_weights
    assert not recipe(streams=(Stream(source=Total(Span(1, 2))),)).needs_weights
    assert not get_recipe("gem").needs_texts
    assert get_recipe("freecp").needs_texts
    assert get_recipe("rf_clip").needs_weights


@pytest.mark.parametrize(
    "make", [lambda: recipe(kernel=replace(KK, keys="cut")), lambda: get_recipe("rf_clip.refocus")]
)
def test_needs_weights_knows_of_cuts_and_edits(make):
    made = replace(make(), kernel=make().kernel if make().id == "mine" else KK)
    assert made.needs_weights


def test_the_whole_kernel_map_can_be_asked_for(view):
    """`weights` is softmax of the map that `features` applies, by the path too."""
    made = ImagePass(view, pixels(2, 48, 80), recipe())
    assert made.weights().shape == (2, 2, N + 1, N + 1)
    torch.testing.assert_close(made.weights().sum(-1), torch.ones(2, 2, N + 1))
    alone = ImagePass(view, pixels(2, 48, 80), recipe(kernel=replace(KK, keys="patches")))
    assert alone.weights().shape == (2, 2, N, N)
    summed = ImagePass(view, pixels(2, 48, 80), "sclip").weights().sum(-1)
    torch.testing.assert_close(summed, torch.full((2, 2, N + 1), 2.0))


@torch.inference_mode()
def test_keys_and_weights_of_one_block_are_not_those_of_several(view):
    made = ImagePass(view, pixels(2, 48, 80), recipe(path=Accumulate(4)))
    for ask in (made.keys, made.weights):
        with pytest.raises(Unsupported, match="works in several"):
            ask()


@torch.inference_mode()
def test_chosen_heads_of_a_shared_map_are_a_share_of_all_heads(view):
    """Two heads, a map for both: one of them is chosen, and divided by two."""
    shared = torch.rand(1, 1, N, N, generator=torch.Generator().manual_seed(0))
    kernel = Kernel(branches=(Applied(by=Given("m")),), keys="patches", heads=HeadChoice(0.5))
    made = ImagePass(view, pixels(2, 48, 80), recipe(kernel=kernel), given={"m": shared})
    last = view.blocks[-1]
    (values,) = last.qkv(last.norm1(made.entered[:, 1:]), "v")
    full = values.transpose(1, 2).flatten(2)
    mixed = (shared[:, 0] / 2 @ full).unflatten(2, (2, -1)).transpose(1, 2)
    expected = view.readout(last.merge(mixed)).reshape(made.features().patches.shape)
    torch.testing.assert_close(made.features().patches, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: recipe(path=EveryBlock()),
        lambda: recipe(streams=(Stream(after=Smooth(Similarity(after(2)))),)),
    ],
)
@torch.inference_mode()
def test_the_class_tokens_own_row_whatever_the_path(view, make):
    with past_type_checks():
        assert ImagePass(view, pixels(2, 48, 80), make()).class_token().shape == (2, 32)
