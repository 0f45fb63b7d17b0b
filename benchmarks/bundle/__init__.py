"""Suites on a node without a network: a folder that runs there, and archives of results that come home."""
