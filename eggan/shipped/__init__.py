"""Weights that come with the package, each with a card: what made them, what they reach, their sha256."""
