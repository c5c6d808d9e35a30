"""Deletion requests against a saved model: a store of versions, requests and receipts."""
