"""Reference rows and re-implemented methods that EGGAN is compared with."""
