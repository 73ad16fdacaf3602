"""Stickers to descriptions: corpus, images, views, engines, shards and the describe run."""
