"""Images and their labels: where they come from, how they are divided, decoded and kept.

May import `config`. Read `sources` first (from a config to the parts of a data set), then `images`
(what a part is), `listing` and `table` (how files are listed), `published` and `cifar` (data sets
by name), `split`, `decoding`.
"""
