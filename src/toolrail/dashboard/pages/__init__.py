"""The pages: each reads `Records` and renders one template."""
