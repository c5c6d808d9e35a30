"""Searching files of any format for tokens that are known by their keyed hashes alone."""
