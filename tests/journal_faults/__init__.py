"""Journals that were spoiled: whatever was acknowledged has to be read back, or it has to be said that it is not."""
