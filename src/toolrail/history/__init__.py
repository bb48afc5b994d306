"""Histories in the providers' wire forms: what makes one valid, and mending a broken one."""
