"""Scoring and reporting: sclite, intervals, paired tests, latency, the table, the plots."""
