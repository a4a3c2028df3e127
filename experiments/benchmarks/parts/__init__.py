"""What measurements are made of: tables, made-up spaces, searches; one file is of one benchmark.

Two are commands too, which make what is kept: `curve_table` and `macro_runs`.
"""
