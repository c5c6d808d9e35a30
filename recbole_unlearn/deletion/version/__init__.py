"""What a version of a store holds: a model, its encoder and all of its data."""
