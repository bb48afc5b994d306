"""A long run with faults: what must stay flat stays flat."""
