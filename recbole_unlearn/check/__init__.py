"""Checks of a user's own backbone, before a run and in the contract of its author's tests."""
