"""One way to train a network, for trials, members and proxies alike.

May import `config` and `data`. Read `loop` first (an epoch after the other), then `trial` (a short
training in a search), `members.run` (`scaler train`), and what the loop calls: `gradients`,
`optimizer`, `augmentation`, `accuracy`.
"""
