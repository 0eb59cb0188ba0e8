"""What to send, in which bodies, until each outcome is certain; and the log of what was sent."""
