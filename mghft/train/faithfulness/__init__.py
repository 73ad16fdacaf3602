"""Faithfulness of descriptions: do they fit their picture better than those of other stickers?"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audit": ["Audit", "AuditConfig", "audit"],
        "ranks": ["agreement_ranks", "picture_ranks"],
    },
)
