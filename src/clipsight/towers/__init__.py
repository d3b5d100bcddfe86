"""Towers seen through one view: an adapter per family, the loader, the model card."""
