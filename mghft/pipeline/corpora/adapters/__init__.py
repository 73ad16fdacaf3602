"""Adapters: one module per kind of corpus on disk, each with `read(card, root) -> Listing`.

A card's field `adapter` names the module; nothing else lists them.
"""
