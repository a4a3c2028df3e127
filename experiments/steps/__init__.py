"""The steps of a run: search, confirmation, coefficients, family; comparison, proxies.

May import `engine` and what it imports. Read `search` first, then `confirmation` with `noise` (is
the first better than the second beyond noise?), `coefficients`, `family`, `warm_start`.
"""
