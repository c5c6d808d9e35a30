"""Make a new version that lacks what requests name, and check it."""
