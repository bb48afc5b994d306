"""Codecs between a provider's wire form and calls and results: pure functions, one file per provider."""
