"""Influence encoders: the paper's, and the calibrated one with its target."""
