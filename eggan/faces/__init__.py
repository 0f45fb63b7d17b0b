"""Faces in photographs: where they are, their landmarks, and the square that networks see."""
