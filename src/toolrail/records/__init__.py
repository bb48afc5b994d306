"""Projections of the record: metrics, logs, prices."""
