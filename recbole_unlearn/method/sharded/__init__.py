"""Methods that train a model a shard, and retrain the shards that a request touches."""
