"""Which activation made a result, and who said so, stays with it."""

from dataclasses import replace

import pytest

from clipsight.results import Provenance
from results.scenes import PROVENANCE


@pytest.mark.parametrize(
    ("activation", "shown"),
    [
        ("QuickGELU, by the tag 'openai' of ViT-B-32", " · QuickGELU · "),
        ("GELU, assumed: nothing says which", " · GELU (assumed) · "),
        ("GELU", " · GELU · "),
    ],
)
def test_the_activation_is_kept_and_shown_in_a_word(activation, shown):
    provenance = replace(PROVENANCE, activation=activation)
    assert shown in provenance.line()
    assert Provenance.from_dict(provenance.to_dict()) == provenance


def test_files_from_before_it_was_recorded_still_load():
    old = PROVENANCE.to_dict()
    del old["activation"]
    assert Provenance.from_dict(old).activation == ""
    assert "GELU" not in Provenance.from_dict(old).line()
