"""The lab: what a model that is fine-tuned on cloaked art learns from it, measured."""
