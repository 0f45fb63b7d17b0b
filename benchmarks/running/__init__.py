"""Cells of a suite: planned, claimed, trained, scored, tracked, resumed."""
