"""Trials on machines: candidates, early stopping, workers; the only room that imports Ray.

May import `training`, `samplers`, `store` and what they import. Read `session` first (a run that is
open for work), then `searcher` (what happens to a trial), `candidates`, `early_stopping`, and the
folder `machines`.
"""
