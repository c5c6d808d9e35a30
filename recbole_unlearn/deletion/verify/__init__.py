"""Search a store and other places for what should be forgotten, of which only keyed hashes are known."""
