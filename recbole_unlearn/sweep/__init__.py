"""Searches settings with Ray Tune, on simulated requests."""
