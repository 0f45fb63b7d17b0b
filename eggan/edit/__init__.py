"""Editing one picture."""
