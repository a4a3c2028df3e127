"""What a run is, as data: its schema, recipes, augmentation; units, files, messages.

May import `scaler` and `search_spaces` alone. Read `schema` first (every section of a config file),
then `recipe` (how a network is trained), `run_folder` (where a run lies on disk), `messages`.
"""

import lazy_loader

# The schema is imported when first used: `messages` and `units` do not need it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
