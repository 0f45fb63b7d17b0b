"""Trials trained again, on fresh seeds or other budgets."""
