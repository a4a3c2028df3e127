"""Trials and where they are kept: one durable study store, and the tables that it gives.

May import `config` and `samplers`. Read `trial` first (a trial's data), then `store` (a run's
studies), `optuna_tables` (a trial as rows), `trials` (`load_trials`, the frame).
"""
