"""A value too long to show: what of it is shown, said in words, and read on. Pure functions."""
