"""Datasets of photographs: RaFD, MMI and folders, in the same format as SynFACS."""
