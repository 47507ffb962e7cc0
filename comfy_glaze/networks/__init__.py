"""Φ and the perceptual metrics, pipelines and captioners: networks by name, from disk or hub."""
