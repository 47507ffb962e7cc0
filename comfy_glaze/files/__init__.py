"""Artwork in and out: what a picture file holds, what may travel, and writing it whole or not at
all."""
