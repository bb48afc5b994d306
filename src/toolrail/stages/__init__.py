"""The stages of one call: one file each, in the order of the listing in `rail`."""
