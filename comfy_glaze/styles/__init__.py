"""The target style T and the redrawing Ω(x, T): banks, candidates, the choice, and its memory."""
