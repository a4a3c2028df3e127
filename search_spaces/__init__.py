"""What a network can be: architectures, blocks, search spaces, and the networks built from them."""

import lazy_loader

# Public names are imported when first used: torch, ray and optuna take seconds to load.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
