"""Checks that what was sent is there: status, verify, reconcile, check."""
