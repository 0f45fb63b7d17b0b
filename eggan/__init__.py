"""EGGAN (Tang et al., "Fine-grained expression manipulation via structured latent space") and its substrate."""

__version__ = "0.1.0"
