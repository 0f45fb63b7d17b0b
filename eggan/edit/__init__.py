"""Editing photographs of faces."""

from pathlib import Path

EXAMPLE_PHOTOGRAPH = Path(__file__).parent / "examples" / "astronaut.jpg"  # its origin is in NOTICE
