"""Imported last by the process that others are forked from: what it has imported, their garbage collectors leave alone.

A collection looks at each object, and by that copies the memory that a fork shares with its parent.
"""

import gc

gc.collect()
gc.freeze()
