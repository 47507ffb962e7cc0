"""Nightshade: pictures of one concept, led to pictures of another."""
