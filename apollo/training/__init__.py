"""Training: configuration, the GAN step, and a run from start to end."""
