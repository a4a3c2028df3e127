"""One way to train a network, for trials, members and proxies alike.

May import `config` and `data`. Read `training` first (what a training is), then `loop` (epoch by
epoch) and what it calls: `batches`, `augmentation`, `gradients`, `optimizer`,
`hardware`. Then `trial` (a short training in a search) and `members.run` (`scaler
train`).
"""
