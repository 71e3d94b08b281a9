import torch

# The tensors of these tests are small: more threads only wait for one another, for minutes on a busy machine.
torch.set_num_threads(1)
