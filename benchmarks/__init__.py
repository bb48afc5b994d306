"""Benchmarks: each file measures one promise of cost, prints a table, and exits 1 when a bound is missed."""
