"""Methods that revise a table by an influence function."""
