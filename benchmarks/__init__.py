"""Suites of (dataset, method, seed) cells: how they are run, scored and tracked."""
