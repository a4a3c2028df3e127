"""What a run is, as data: its schema, recipes, augmentation; units, files, messages.

May import `scaler` and `search_spaces` alone. Read `schema` first (every section of a config file),
then `recipe` (how a network is trained), `run_folder` (where a run lies on disk), `messages`.
"""
