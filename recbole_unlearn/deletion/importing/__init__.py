"""A trained checkpoint of this package or of RecBole becomes the first version of a store."""
