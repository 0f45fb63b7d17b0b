"""EGGAN (Tang et al., "Fine-grained expression manipulation via structured latent space").

Beside the method: datasets, training loop, tracking and instruments that every method stands on.
"""

__version__ = "0.1.0"
