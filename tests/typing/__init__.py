"""Files that are only type-checked: what a user writes has the types that a user expects."""
