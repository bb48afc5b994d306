"""What `toolrail doctor` checks."""
