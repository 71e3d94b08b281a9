"""What a model costs on this machine: time, memory, and how far from its matrix products."""
