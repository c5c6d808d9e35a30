"""A service of HTTP around a store: it takes deletion requests, and one worker applies them."""
