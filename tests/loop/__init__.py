"""The loop by tests: patterns, limits, sessions, histories, faults of the model, streams and sync code."""
