"""What models can do and cost: an immutable catalog, read from disk."""
