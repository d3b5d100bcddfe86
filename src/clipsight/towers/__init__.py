"""Towers behind one interface: an adapter per family, the loader, the model card."""
