"""From atomic files to what an unlearning run needs: the split, the request, what remains, the loaders."""
