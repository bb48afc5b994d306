"""A fault at each await and each store operation of the spine, one after the other: exhaustively, not by chance."""
