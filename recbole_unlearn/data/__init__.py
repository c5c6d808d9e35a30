"""What an unlearning run makes of atomic files: the split, the request, what remains, the loaders."""
