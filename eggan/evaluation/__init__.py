"""Scoring: metrics and statistics as pure functions, instruments with frozen weights."""
