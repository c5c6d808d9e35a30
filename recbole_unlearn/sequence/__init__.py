"""Requests of single users, one after the other: what many small revisions add up to."""
