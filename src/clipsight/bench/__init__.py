"""Measurements of models and methods, by published protocols."""
