"""What edits do to photographs: `eggan bench photos`."""
