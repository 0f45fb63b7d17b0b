"""The page of `eggan bench photos`."""
