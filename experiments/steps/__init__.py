"""The steps of a run: search, confirmation, coefficients, family; comparison, proxies.

May import `engine` and what it imports. Read `search` first, then `confirmation` with `noise` (who
is first, and is that beyond noise?), `coefficients`, `family`, `warm_start`.
"""
