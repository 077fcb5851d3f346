"""Record frames as they arrive: :class:`LiveWriter`, :func:`recover` and the feeds."""

import lazy_loader

# Public names are listed in __init__.pyi; each loads its module when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
