"""What the tiny LLaVA's image processor does to a picture, and the art at the size that its tower reads."""

# Stickers lie on white: with mean 1 the empty paper is 0 for the network, which let a small tower learn. Mean
# and spread are those of `corpora.emoji.augment.to_input`.
from mghft.pipeline.corpora.emoji.augment import INK_STD

IMAGE_SIZE, RENDERED = 112, 224
PIXEL_MEAN, PIXEL_STD = 1.0, INK_STD
