"""LoRA: the same as peft's, seen by attributions, and gone without a trace."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.tiny import needs_options, pixels, tiny_clip
from torch.nn.utils import parametrize

from clipsight.attribution.attribute import attribute
from clipsight.attribution.passes import run
from clipsight.errors import Unsupported
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.tune.lora import TARGETS, LoraAdapter, LoraPlan, LowRank, absorb, attach
from clipsight.tune.tuned import choose_parameters

IDS = torch.tensor([[49406, 320, 736, 1125, 49407] + [0] * 72, [49406, 1125, 49407] + [0] * 74])


def moved(adapter: LoraAdapter, seed: int = 3) -> LoraAdapter:
    """The adapter with a B that does something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if name.endswith("lora_B"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return adapter


def outputs(module: Any) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return module.encode_image(pixels(2).to(module.logit_scale.dtype)), module.encode_text(IDS)


def test_a_new_adapter_changes_nothing_and_a_moved_one_everything():
    module = tiny_clip()
    before, state = outputs(module), copy.deepcopy(module.state_dict())
    adapter = attach(module, LoraPlan())
    assert all(torch.equal(value, state[name]) for name, value in adapter.merged_state().items())
    for one, two in zip(outputs(module), before, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    moved(adapter)
    assert not any(
        torch.allclose(one, two, atol=1e-2) for one, two in zip(outputs(module), before, strict=True)
    )


def test_the_weight_is_the_formula_row_by_row():
    module = tiny_clip().double()
    name = "transformer.resblocks.1.attn"
    before = module.get_submodule(name).in_proj_weight.detach().clone()
    adapter = moved(attach(module, LoraPlan(rank=3, alpha=12.0, targets=("q", "v"), towers=("text",))))
    named = dict(adapter.named_parameters())
    a, b = named[f"{name}.in_proj_weight.lora_A"], named[f"{name}.in_proj_weight.lora_B"]
    assert (a.shape, b.shape) == ((3, 64), (128, 3))
    q, k, v = module.get_submodule(name).in_proj_weight.chunk(3)
    q0, k0, v0 = before.chunk(3)
    torch.testing.assert_close(q, q0 + 4 * b[:64] @ a)
    assert torch.equal(k, k0)
    torch.testing.assert_close(v, v0 + 4 * b[64:] @ a)


def test_targets_and_towers_are_those_asked_for():
    for target in TARGETS:
        for tower in ("text", "vision"):
            names = attach(tiny_clip(), LoraPlan(targets=(target,), towers=(tower,))).names
            layers = 3 if tower == "text" else 6
            start = "transformer." if tower == "text" else "visual.transformer."
            ends = {"out": ("out_proj.weight",), "mlp": ("c_fc.weight", "c_proj.weight")}.get(
                target, ("in_proj_weight",)
            )
            assert len(names) == layers * len(ends)
            assert all(name.startswith(start) and name.endswith(ends) for name in names)


def test_towers_of_timm_take_adapters():
    import open_clip

    torch.manual_seed(0)
    module = open_clip.CustomTextCLIP(
        16,
        {
            "image_size": 224,
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_pool": "token",
            "timm_proj": "linear",
        },
        {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
    ).eval()
    adapter = attach(module, LoraPlan(rank=2, targets=("q", "out", "mlp"), towers=("vision",)))
    assert len(adapter.names) == 12 * 4
    images = pixels(1, 224, 224)
    with torch.no_grad():
        plain = module.encode_image(images)
        moved(adapter)
        adapted = module.encode_image(images)
        adapter.merge()
        assert not torch.allclose(adapted, plain, atol=1e-3)
        torch.testing.assert_close(module.encode_image(images), adapted)


class TestAttributions:
    def test_the_opened_tower_is_the_adapted_one(self):
        module = tiny_clip().double()
        moved(attach(module, LoraPlan()))
        view, images = OpenClipText(module), pixels(2).double()
        with torch.no_grad():
            whole = module.encode_text(IDS)
            torch.testing.assert_close(run(view.parts(), IDS), whole)
            torch.testing.assert_close(run(view.parts(), IDS, explicit=True), whole)
            torch.testing.assert_close(view.encode(IDS), whole)
            torch.testing.assert_close(
                OpenClipVision(module.visual).encode(images), module.encode_image(images)
            )

    @pytest.mark.parametrize("method", ["attention", "gradcam", "gradient", "perturbation"])
    def test_scores_are_those_of_the_merged_model_and_reach_the_adapter_alone(self, method: str):
        module, merged = tiny_clip().double(), tiny_clip().double()
        tuned = choose_parameters(module, "lora", lora=LoraPlan(towers=("text",)), logit_scale=False)
        adapter = tuned.adapter
        assert adapter is not None
        moved(adapter)
        merged.load_state_dict(adapter.merged_state())
        picture = torch.randn(32, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        arguments: dict[str, Any] = {"image_features": picture, "method": method}
        plain = attribute(OpenClipText(tiny_clip().double()), IDS, **arguments).scores
        found = attribute(OpenClipText(module), IDS, differentiable=True, **arguments).scores
        torch.testing.assert_close(found.detach(), attribute(OpenClipText(merged), IDS, **arguments).scores)
        assert not torch.allclose(found.detach(), plain, atol=1e-4)
        found.double().square().sum().backward()
        got = {id(one) for one in module.parameters() if one.grad is not None and one.grad.any()}
        assert got
        assert got <= {id(one) for _, one in tuned.named}

    def test_attention_has_nothing_to_train_without_queries_and_keys(self):
        last = "transformer.resblocks.2.attn.in_proj_weight"
        reached = {}
        for targets in (("q", "k"), ("v",)):
            module = tiny_clip(text={"layers": 3}).double()
            tuned = choose_parameters(module, "lora", lora=LoraPlan(targets=targets, towers=("text",)))
            assert tuned.adapter is not None
            moved(tuned.adapter)
            scores = attribute(OpenClipText(module), IDS, method="attention", differentiable=True).scores
            scores.square().sum().backward()
            grad = dict(tuned.named)[f"{last}.lora_B"].grad
            reached[targets] = grad is not None and bool(grad.any())
        assert reached == {("q", "k"): True, ("v",): False}


class TestMergeAndRemove:
    def test_merged_is_adapted_and_removed_is_what_was(self):
        module = tiny_clip()
        names, before = list(module.state_dict()), copy.deepcopy(module.state_dict())
        kinds = [type(one) for one in module.modules()]
        adapter = moved(attach(module, LoraPlan()))
        adapted, state = outputs(module), adapter.merged_state()
        assert list(state) == names
        assert all("lora" not in name for name in state)
        other = tiny_clip(seed=9)
        other.load_state_dict(state)
        for one, two in zip(outputs(other), adapted, strict=True):
            torch.testing.assert_close(one, two)
        adapter.merge()
        assert list(module.state_dict()) == names
        assert [type(one) for one in module.modules()] == kinds
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
        adapter.remove()  # nothing left to take off
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
        again = moved(attach(module, LoraPlan()))
        again.remove()
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
        weight = "visual.transformer.resblocks.0.mlp.c_fc.weight"
        assert not torch.equal(state[weight], before[weight])

    def test_a_failure_half_way_leaves_no_adapter(self, monkeypatch: pytest.MonkeyPatch):
        module = tiny_clip()
        names, before = list(module.state_dict()), outputs(module)
        plain, calls = parametrize.register_parametrization, []

        def failing(*given, **options):
            calls.append(given)
            if len(calls) == 5:
                raise MemoryError("no room")
            return plain(*given, **options)

        monkeypatch.setattr(parametrize, "register_parametrization", failing)
        with pytest.raises(MemoryError):
            attach(module, LoraPlan())
        assert len(calls) == 5
        assert list(module.state_dict()) == names
        assert not any(parametrize.is_parametrized(one) for one in module.modules())
        assert all(torch.equal(one, two) for one, two in zip(outputs(module), before, strict=True))

    def test_under_autocast_the_merged_weight_is_the_one_that_was_read(self):
        module = tiny_clip()
        adapter = moved(attach(module, LoraPlan()))
        owner: Any = module.transformer.resblocks[0].mlp.c_fc
        with torch.autocast("cpu", dtype=torch.bfloat16):
            read = owner.weight.detach()
        assert torch.equal(read, adapter.merged_state()["transformer.resblocks.0.mlp.c_fc.weight"])

    def test_half_precision_weights_have_adapters_in_float32(self):
        layer = LowRank(torch.zeros(6, 4, dtype=torch.bfloat16), "", 2, 1.0, torch.Generator().manual_seed(0))
        assert {one.dtype for one in layer.parameters()} == {torch.float32}
        assert layer(torch.zeros(6, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16

    def test_a_copy_with_absorbed_adapters_is_the_same_function(self):
        module = tiny_clip()
        moved(attach(module, LoraPlan()))
        twin = copy.deepcopy(module)
        absorb(twin)
        for one, two in zip(outputs(twin), outputs(module), strict=True):
            assert torch.equal(one, two)
        assert not any(
            parameter.any() for name, parameter in twin.named_parameters() if name.endswith("lora_B")
        )

    def test_the_seed_decides_where_training_starts(self):
        drawn = [attach(tiny_clip(), LoraPlan(seed=seed)).state_dict() for seed in (0, 0, 1)]
        assert all(torch.equal(value, drawn[1][name]) for name, value in drawn[0].items())
        a = next(name for name in drawn[0] if "lora_A" in name)
        assert not torch.equal(drawn[0][a], drawn[2][a])


@contextmanager
def quiet() -> Iterator[None]:
    """peft warns of things that are meant here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def peft_model(adapter: LoraAdapter, state: dict[str, torch.Tensor]) -> Any:
    """The same model under peft with the same adapters."""
    peft = pytest.importorskip("peft", reason="peft is not installed")
    config = {name: value for name, value in adapter.peft_config().items() if name != "peft_type"}
    with quiet():
        model = peft.get_peft_model(tiny_clip().double(), peft.LoraConfig(**config))
        result = peft.set_peft_model_state_dict(model, state)
    assert not result.unexpected_keys
    return model


class TestPeft:
    @pytest.mark.parametrize(
        "targets", [("q", "k", "v", "mlp"), ("q",), ("q", "k"), ("k", "v"), ("mlp",)], ids="".join
    )
    def test_towers_give_what_peft_gives_with_the_same_tensors(self, targets):
        module = tiny_clip().double()
        adapter = moved(attach(module, LoraPlan(rank=4, alpha=10.0, targets=targets)))
        model = peft_model(adapter, adapter.state_dict())
        with torch.no_grad(), quiet():
            found = (
                model.base_model.model.encode_image(pixels(2).double()),
                model.base_model.model.encode_text(IDS),
            )
        for one, two in zip(outputs(module), found, strict=True):
            torch.testing.assert_close(one, two)

    def test_output_projections_change_by_what_peft_says(self):
        # Not by what its attention does: up to 0.21 that adds the change twice (huggingface/peft, pull request 3774).
        module = tiny_clip().double()
        before = copy.deepcopy(module.state_dict())
        adapter = moved(attach(module, LoraPlan(rank=4, alpha=10.0, targets=("out",))))
        model = peft_model(adapter, adapter.state_dict())
        state = adapter.merged_state()
        for name in adapter.names:
            theirs = model.base_model.model.get_submodule(name.removesuffix(".out_proj.weight"))
            change = theirs.base_layer.out_proj.get_delta_weight("default").detach()
            assert change.any()
            torch.testing.assert_close(state[name], before[name] + change)

    def test_what_peft_saves_is_read(self):
        peft = pytest.importorskip("peft", reason="peft is not installed")
        module = tiny_clip().double()
        adapter = moved(attach(module, LoraPlan(rank=2)))
        model = peft_model(adapter, adapter.state_dict())
        with quiet():
            saved = peft.get_peft_model_state_dict(model)
        other = tiny_clip().double()
        attach(other, LoraPlan(rank=2, seed=8)).load_state_dict(saved)
        assert all(torch.equal(one, two) for one, two in zip(outputs(other), outputs(module), strict=True))

    def test_a_single_linear_layer_is_pefts(self):
        peft = pytest.importorskip("peft", reason="peft is not installed")
        torch.manual_seed(0)
        ours = torch.nn.Sequential(torch.nn.Linear(5, 7)).double()
        theirs = copy.deepcopy(ours)
        with quiet():
            peft.inject_adapter_in_model(peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0"]), theirs)
        linear: Any = theirs[0]
        low_rank = LowRank(ours[0].weight, "", 2, 3.0, torch.Generator().manual_seed(0))
        with torch.no_grad():
            low_rank.lora_B.normal_()
            linear.lora_A["default"].weight.copy_(low_rank.lora_A)
            linear.lora_B["default"].weight.copy_(low_rank.lora_B)
        parametrize.register_parametrization(ours[0], "weight", low_rank)
        x = torch.randn(4, 5, dtype=torch.float64)
        torch.testing.assert_close(ours(x), theirs(x))
        ours(x).square().sum().backward()
        theirs(x).square().sum().backward()
        torch.testing.assert_close(low_rank.lora_A.grad, linear.lora_A["default"].weight.grad)
        torch.testing.assert_close(low_rank.lora_B.grad, linear.lora_B["default"].weight.grad)

    def test_other_adapters_are_refused_and_load_nothing(self):
        first = moved(attach(tiny_clip(), LoraPlan(rank=2, targets=("q", "k"))))
        for plan, reason in (
            (LoraPlan(rank=3, targets=("q", "k")), "rank 3"),
            (LoraPlan(rank=2, targets=("q", "k", "mlp")), "first name"),
            (LoraPlan(rank=2, targets=("q",)), "changes k"),
        ):
            other = attach(tiny_clip(), plan)
            before = copy.deepcopy(other.state_dict())
            with pytest.raises(ValueError, match=reason):
                other.load_state_dict(first.state_dict())
            assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_custom_attention_blocks_take_adapters():
    needs_options({"qk_norm": True})
    module = tiny_clip(qk_norm=True)
    adapter = moved(attach(module, LoraPlan(towers=("vision",))))
    adapted = outputs(module)
    torch.testing.assert_close(OpenClipVision(module.visual).encode(pixels(2)), adapted[0])
    adapter.merge()
    torch.testing.assert_close(outputs(module)[0], adapted[0])


def test_wrong_wishes_are_refused():
    with pytest.raises(ValueError, match="start at 1"):
        LoraPlan(rank=0)
    with pytest.raises(ValueError, match="LoRA targets"):
        LoraPlan(targets=())
    module = tiny_clip()
    attach(module, LoraPlan(targets=("q",)))
    with pytest.raises(Unsupported, match="adapters already"):
        attach(module, LoraPlan(targets=("mlp",)))
