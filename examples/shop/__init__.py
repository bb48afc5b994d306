"""An example shop for a model to work in: a catalogue, orders, a shipping service, and the tools on top of them.

Start with `tools.py` (what a model may do) and `open.py` (how the systems behind it are opened).
"""
