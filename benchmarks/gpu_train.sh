#!/usr/bin/env bash
# Trains the default model's recipe for as many minutes as there are, with its learning rate brought down by the end.
#
#     benchmarks/gpu_train.sh MINUTES SHARDS OUT [key=value ...]
#
# SHARDS is what `apollo data prepare` made, with train and valid in it (docs/data.md). A short run tells what starting
# and an epoch take; then the recipe is run for as many epochs as fit, and its schedule is made for as many. OUT/result
# holds the best model, the last checkpoint, the metrics and the curves; key=value goes to `apollo train` as it is.
set -euo pipefail
if (($# < 3)); then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
minutes=$1 shards=$2 out=$3
shift 3
changes=("$@")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
began=$(date +%s%3N)

# Trains for a number of epochs under a name.
run() {
    local name=$1 epochs=$2
    shift 2
    python -m apollo train -c "$root/configs/default-model.yaml" exp.dir="$out" exp.name="$name" \
        datas.train_dir="$shards/train" datas.valid_dir="$shards/valid" datas.num_workers="$(nproc)" \
        trainer.max_epochs="$epochs" trainer.enable_progress_bar=false "$@" "${changes[@]}"
}

# When an epoch of the probe ended, in milliseconds.
ended() {
    stat -c %.3Y "$out/probe/checkpoints/epoch=$1.ckpt" | tr -d .
}

mkdir -p "$out"
# An epoch is timed inside of one run: how long a process takes to start differs by more, most of all on a cold disk.
run probe 3 checkpoint.save_top_k=-1
probed=$(($(date +%s%3N) - began))
epoch=$((($(ended 2) - $(ended 0)) / 2))
((epoch > 0)) || epoch=1
starting=$((probed - 3 * epoch))
rm -r "$out/probe"

# A tenth of what is left is kept for a machine that slows down, and for the curves.
left=$((${minutes%.*} * 60000 - probed - starting))
epochs=$((left * 9 / 10 / epoch))
((epochs > 1)) || epochs=2
printf 'starting takes %d ms, an epoch %d ms: %d epochs\n' "$starting" "$epoch" "$epochs"
run run "$epochs"

mkdir -p "$out/result"
cp "$out"/run/*.safetensors "$out/run/config.yaml" "$out/run/checkpoints/last.ckpt" "$out/result/"
cp "$out"/run/logs/*/metrics.csv "$out/result/"
python "$root/benchmarks/training_curves.py" "$out/run" -o "$out/result/curves.png" || echo 'no curves were drawn' >&2
ls -l "$out/result"
