"""Networks and losses: tensors in, tensors out; no file, no configuration, no trainer."""

from apollo.nn.discriminator import MultiFrequencyDiscriminator
from apollo.nn.generator import Apollo

__all__ = ["Apollo", "MultiFrequencyDiscriminator"]
