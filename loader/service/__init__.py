"""What `loader run` and `loader serve` do. FastAPI and the rest of the extra `serve` are imported for `serve` alone."""
