"""Search files of any format for tokens of which only keyed hashes are known."""
