"""What a run showed: tables, figures and one page, made from the store alone.

May import `steps` and what it imports. Read `report` first (what is written), then `tables`,
`figures` with `charts/` (each chart as data), `page` with `templates/`, and `analysis/` (what users
call).
"""
