"""The explicit pass of a text tower: the library's own feature, and what is kept on the way."""

import pytest
import torch

from attribution.small import FAMILIES, ONE_PIECE, custom, family, library
from clipsight.attribution.passes import Trace, run
from clipsight.errors import Unsupported
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.view import OnePieceText, TextParts

CLOSE = {"atol": 2e-5, "rtol": 1e-5}


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_equals_the_library(name):
    module, view, ids = family(name)
    parts = view.parts()
    assert isinstance(parts, TextParts)
    theirs = library(module, view, ids)
    torch.testing.assert_close(run(parts, ids), theirs, **CLOSE)
    torch.testing.assert_close(run(parts, ids, explicit=True), theirs, **CLOSE)
    layers = range(len(parts.blocks))
    full = Trace(weights=layers, left=layers, normed=layers, entered=layers, rows=layers)
    torch.testing.assert_close(run(parts, ids, trace=full), theirs, **CLOSE)


@pytest.mark.parametrize("name", ONE_PIECE)
@torch.no_grad()
def test_a_hugging_face_tower_inside_open_clip_equals_the_library(name):
    module, view, ids = family(name)
    parts = view.parts()
    assert isinstance(parts, OnePieceText)
    theirs = library(module, view, ids)
    torch.testing.assert_close(run(parts, ids), theirs, **CLOSE)
    torch.testing.assert_close(run(parts, ids, explicit=True), theirs, **CLOSE)
    longest = int(parts.ends(ids).max()) + 1
    assert longest < ids.shape[1]
    torch.testing.assert_close(run(parts, ids[:, :longest]), theirs, **CLOSE)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_the_pooled_row_is_a_row_of_the_map(name):
    _, view, ids = family(name)
    parts = view.parts()
    layers = range(len(parts.blocks))
    trace = Trace(weights=layers, rows=layers)
    run(parts, ids, trace=trace)
    at = parts.pooled(ids)
    for index in layers:
        row = trace["weights", index][torch.arange(len(ids)), :, at]
        torch.testing.assert_close(trace["rows", index], row, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(row.sum(-1), torch.ones(row.shape[:2]))


@pytest.mark.parametrize("name", ["clip", "class token", "transformers SigLIP"])
@torch.no_grad()
def test_a_hidden_position_is_as_if_it_were_not_there(name):
    _, view, ids = family(name)
    parts, hidden = view.parts(), torch.zeros_like(ids, dtype=torch.bool)
    hidden[:, 1] = True
    changed = ids.clone()
    changed[:, 1] = 12
    plain = run(parts, ids, hidden=hidden)
    torch.testing.assert_close(run(parts, changed, hidden=hidden), plain, atol=1e-5, rtol=1e-5)
    assert (run(parts, changed) - run(parts, ids)).abs().max() > 1e-3
    everything = run(parts, ids, hidden=torch.ones_like(hidden))
    assert everything.isfinite().all()


def test_gradients_flow_to_what_was_kept_of_a_frozen_model():
    module = custom()
    view = OpenClipText(module.requires_grad_(False))
    ids = torch.tensor([[48, 9, 11, 49, *[0] * 8]])
    trace = Trace(normed=(1,), weights=(2,))
    feature = run(view.parts(), ids, trace=trace, graph_from=1)
    slopes = torch.autograd.grad(feature.sum(), [trace["normed", 1], trace["weights", 2]])
    assert all(slope.abs().max() > 1e-4 for slope in slopes)


def test_towers_that_cannot_be_opened_say_why():
    foreign = torch.nn.Module()
    foreign.text = torch.nn.Linear(2, 2)
    with pytest.raises(Unsupported, match="its text side is a Linear"):
        OpenClipText(foreign).parts()
    weighing = custom()
    weighing.text.attn_mask[1, 0] = -0.5
    with pytest.raises(Unsupported, match="weighs positions"):
        OpenClipText(weighing).parts()
    nowhere = custom()
    nowhere.text.pool_type = "none"
    with pytest.raises(Unsupported, match="'none'"):
        OpenClipText(nowhere).parts()
