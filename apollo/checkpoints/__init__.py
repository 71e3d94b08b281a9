"""Model files: every shape in the wild is read, what a user needs is written, and nothing in a file is ever run."""

from apollo.checkpoints.loading import load_discriminator, load_model
from apollo.checkpoints.published import from_published, to_published
from apollo.checkpoints.saving import save_model

__all__ = ["from_published", "load_discriminator", "load_model", "save_model", "to_published"]
