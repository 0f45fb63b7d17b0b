"""Optuna studies over a method's settings, on validation identities only."""
