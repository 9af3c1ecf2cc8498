"""LML-IQA: no-reference image quality assessment by contrastive local manifold learning.

The public names are those of ``__init__.pyi``. Each is imported on first use, so that ``import lml_iqa`` is fast.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
