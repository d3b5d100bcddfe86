"""Measuring: is it better, on which protocol."""
