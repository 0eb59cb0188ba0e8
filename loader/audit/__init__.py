"""Compares what was sent with what should be there: status, verify, reconcile, check."""
