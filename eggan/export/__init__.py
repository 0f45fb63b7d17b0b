"""Trained methods as files for other programs."""
