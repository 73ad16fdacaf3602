"""The shipped eye: a small backbone that was trained to tell emoji apart, and how to make it again."""
