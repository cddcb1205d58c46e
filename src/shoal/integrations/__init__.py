"""Shoal's models inside other packages; each integration is imported on its own."""
