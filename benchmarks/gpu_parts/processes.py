"""Whether training works on the device as the command has it: distributed, stopped and gone on with."""

from __future__ import annotations

import copy
import tempfile
from functools import partial
from pathlib import Path

import torch
from networks import networks
from part import Part, music, needs, run_apollo, set_precision
from torch.nn.parallel import DistributedDataParallel

from apollo.nn import Apollo

RECIPE = """
exp: {{dir: "{folder}", name: run}}
datas: {{_target_: apollo.data.DataModule, original_dir: "{folder}/music", valid_dir: "{folder}/valid",
  segments: {seconds}, valid_original: original.wav, valid_codec: codec.wav, codec: {{enable: true}},
  num_steps: {steps}, batch_size: 2, num_workers: {workers}}}
model: {{_target_: apollo.nn.Apollo, win: {win}, feature_dim: {width}, layer: {blocks}, output: residual}}
discriminator: {{_target_: apollo.nn.MultiFrequencyDiscriminator, window: [64, 512]}}
optimizer_g: {{_target_: torch.optim.AdamW, lr: 0.001}}
optimizer_d: {{_target_: torch.optim.AdamW, lr: 0.0001}}
scheduler_g: {{_target_: torch.optim.lr_scheduler.StepLR, step_size: 1}}
scheduler_d: {{_target_: torch.optim.lr_scheduler.StepLR, step_size: 1}}
loss_g: {{_target_: apollo.nn.losses.GeneratorLoss}}
loss_d: {{_target_: apollo.nn.losses.DiscriminatorLoss}}
metrics: {{_target_: apollo.nn.losses.NegativeSDR}}
system: {{_target_: apollo.training.system.ApolloSystem}}
checkpoint: {{_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: "${{exp.dir}}/${{exp.name}}/checkpoints",
  monitor: val_loss, save_last: true, save_top_k: -1}}
trainer: {{_target_: lightning.pytorch.Trainer, max_epochs: 2, accelerator: {accelerator}, devices: 1,
  enable_progress_bar: false, enable_model_summary: false, log_every_n_steps: 1, precision: {precision}}}
"""
LARGE = {"seconds": 0.5, "steps": 4, "win": 20, "width": 32, "blocks": 2, "workers": 2}


def main() -> None:
    """Check everything."""
    part = Part()
    set_precision("fp32")
    part.check("gradients of one distributed process, relative error", partial(distributed, part, False))
    part.check("the same with gradient checkpointing, relative error", partial(distributed, part, True))
    for precision in ("32",) if part.small else ("32", "bf16", "16"):
        part.check(
            f"`apollo train` in {precision}, gone on with after its first epoch, relative error",
            partial(resumed, part, precision),
        )


def distributed(part: Part, checkpointing: bool) -> tuple[float, float]:
    """A process group of one gives the gradients of none."""
    model: Apollo = networks(part)["256x6"].train()
    model.checkpointing = checkpointing
    waveform = music(0.3 if part.small else 1.0)[None].to(part.device)
    twin = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group(
            "nccl" if part.device.type == "cuda" else "gloo", init_method=f"file://{folder}/store", rank=0, world_size=1
        )
        try:
            devices = [0] if part.device.type == "cuda" else None
            wrapped = DistributedDataParallel(twin, device_ids=devices, static_graph=checkpointing)
            for network in (model, wrapped):
                network(waveform).square().mean().backward()
        finally:
            torch.distributed.destroy_process_group()
    plain, joined = (torch.cat([p.grad.flatten() for p in one.parameters()]) for one in (model, twin))
    return float((plain - joined).norm() / plain.norm()), 1e-5


def resumed(part: Part, precision: str) -> tuple[float, float]:
    """A run of two epochs, and one that goes on from its first epoch, end at the same weights."""
    needs("av", "soundfile", "soxr", "lightning", "omegaconf")
    from apollo.audio import degrade, write

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        valid = 11025 if part.small else 66150
        song = 0.5 * music(3.0 if part.small else 8.0).numpy()
        (folder / "valid" / "song").mkdir(parents=True)
        (folder / "music").mkdir()
        write(folder / "music" / "song.wav", song, 44100)
        write(folder / "valid" / "song" / "original.wav", song[:, :valid], 44100)
        write(folder / "valid" / "song" / "codec.wav", degrade(song[:, :valid], 44100, bitrate=32000), 44100)
        accelerator = "cpu" if part.device.type == "cpu" else "cuda"
        size = {"seconds": 0.1, "steps": 2, "win": 100, "width": 16, "blocks": 1, "workers": 0} if part.small else LARGE
        recipe = RECIPE.format(folder=folder.as_posix(), accelerator=accelerator, precision=precision, **size)
        (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")

        def train(name: str, *more: str) -> Path:
            run_apollo(part, "train", "-c", folder / "recipe.yaml", f"exp.name={name}", *more)
            return folder / name / "checkpoints" / "last.ckpt"

        whole = train("whole")
        (half,) = whole.parent.glob("epoch=0*.ckpt")
        gone_on = train("half", "-m", str(half))
        states = [torch.load(path, map_location="cpu", weights_only=True)["state_dict"] for path in (whole, gone_on)]
    one, two = (torch.cat([value.double().flatten() for value in state.values()]) for state in states)
    # Some of CUDA's sums depend on the order in which threads come, which is not always the same.
    return float((one - two).norm() / one.norm()), 0.0 if part.small else 1e-3


if __name__ == "__main__":
    main()
