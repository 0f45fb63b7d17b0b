"""Trials: where they are stored, who runs them, and what is tracked of them."""
