"""toolrail.testing by tests."""
