"""The service: what it answers, and the page in a real browser."""
