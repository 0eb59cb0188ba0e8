"""What `loader serve` answers with: an extra, `pip install '.[serve]'`. Nothing outside of it imports from here."""
