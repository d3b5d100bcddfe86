"""Pages: plain facts in, self-contained HTML out. Knows no result and no model."""

from .render import data_uri, render

__all__ = ["data_uri", "render"]
