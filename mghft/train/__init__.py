"""Training and evaluation of MGHFT on described stickers; heavy imports stay inside the modules."""
