"""Edits become scores: instruments, metrics, costs, and what readers must know of them."""
