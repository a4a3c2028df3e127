"""Networks to take away: a folder that loads again, exchange formats, standalone code.

May import `training`, `data` and `config`. Read `folder` first (what is written), then `formats`,
`timm`, `code`.
"""

import lazy_loader

# Public names are imported when first used: torch, ray and optuna take seconds to load.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
