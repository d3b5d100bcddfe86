"""An audit of models: attribution gap, composition and guards on one page."""
