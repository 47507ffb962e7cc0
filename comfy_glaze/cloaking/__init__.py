"""The cloak δ: Eq. 2 of Glaze inside a hard budget, and what it measures."""
