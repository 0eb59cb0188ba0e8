"""Writes a month as a billing drop for an AnyCost Bucket."""
