"""Whether a method keeps the contract of `eggan.method`: checks that know nothing of its insides."""
