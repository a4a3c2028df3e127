"""The machines of a run: Ray itself, clusters, worker processes, shares of a card.

Read `cluster` first (how a run gets its machines), then `shares` (how many workers a card takes).
All of Ray's private names stand in `ray_internals`.
"""
