# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The loaded model: media in, paragraphs out, one clip or many."""

import contextlib
import hashlib
import os
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor, BatchFeature, PreTrainedConfig, StaticCache

from xemogpt.data.cues import split_cues
from xemogpt.data.jsonl import one_line
from xemogpt.data.media import decode_media
from xemogpt.hub.compose import own_processor, torch_dtype
from xemogpt.hub.merge import adapter_of
from xemogpt.inference.clips import Clip
from xemogpt.inference.explanation import Decoding, Explanation, Question, Rejection, shown
from xemogpt.media_xemogpt import probe

TINY = "xemogpt-tiny"
TOKEN_KEYS = ("input_ids", "attention_mask", "mm_token_type_ids")  # padded on the left, all else on the right
DECODING_THREADS = 2
MARKED = 16.18  # values of a weight, see `weights_mark`; no whole number, or all would be of the same few columns
HUB_ARGUMENTS = ("cache_dir", "local_files_only", "token")  # of loading, that the processor needs as well
PLACING = {"device_map", "quantization_config"}  # with these transformers says where the weights are
OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)  # a clip may be too long for the machine
DeviceLost = getattr(torch, "AcceleratorError", ())  # torch 2.8; nothing is caught where it is absent


class Answer(NamedTuple):
    """What was generated for one clip, whether the model ended it itself, and how many tokens it took."""

    text: str
    finished: bool
    tokens: int


class Explainer:
    """A loaded model with its processor.

    Args:
        model: a folder, a Hub id, a loaded (model, processor) pair (put in eval mode), or None for the one that
            `adapter` was trained on, without one for the small embedded one.
        adapter: a folder or Hub id with a PEFT adapter.
        device: e.g. "cuda", "cpu", "mps"; default: cuda where there is one, else cpu.
        dtype: e.g. "bfloat16"; default: bfloat16 on cuda, elsewhere what the checkpoint holds. "int8" holds the LLM's
            weights as int8 and all else in bfloat16, on the CPU (see `xemogpt.inference.int8`).
        trust_remote_code: run the code that a model brings along; default: yes for a folder, no for a Hub id. Where
            only the adapter names the folder, or this is False, the folder's weights are run by this package's code.
        revision: of a Hub id, a branch, tag or commit.
        model_kwargs: further arguments of the model's `from_pretrained`: `device_map`, `quantization_config`,
            `attn_implementation`, `token`, ... With one of the first two, transformers places the model.

    Raises:
        FileNotFoundError: no such model folder.
        ValueError: a Hub id without `trust_remote_code`, an unknown device or dtype, not an XEmoGPT model, an adapter
            of another model, or arguments that contradict each other.
        OSError: the model cannot be fetched or read.
    """

    def __init__(
        self,
        model: str | os.PathLike | tuple[Any, Any] | None = None,
        *,
        adapter: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        trust_remote_code: bool | None = None,
        revision: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
    ):
        named = model is not None
        model = base_of(model, adapter)
        self.name, self.revision = model_name(model), revision
        self.adapter = None if adapter is None else os.fspath(adapter)
        device, int8 = _device(device), dtype == "int8"
        if int8:
            if adapter is not None or isinstance(model, tuple):
                raise ValueError(
                    "int8 takes a model by its name and no adapter: merge the adapter into the model first"
                )
            device, dtype = device or torch.device("cpu"), torch.bfloat16
        elif isinstance(dtype, str):
            dtype = torch_dtype(dtype)
        if isinstance(model, tuple):
            if revision is not None or model_kwargs:
                raise ValueError(
                    "revision and model_kwargs say how to load; give them with a name, not with a model that "
                    "is loaded already"
                )
            self.model, self.processor = model
            asked = {"device": device, "dtype": dtype}
            if given := {name: value for name, value in asked.items() if value is not None}:
                self.model.to(**given)  # never unasked: what is quantised, or on several devices, cannot be moved
        else:
            source, trust = _source(model, trust_remote_code, named)
            if revision is not None and Path(source).is_dir():
                raise ValueError(f"{self.name}: is a folder, which has no revisions; leave revision out")
            options = _options(model_kwargs or {}, device, int8)
            device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
            if dtype is None:
                dtype = torch.bfloat16 if device.type == "cuda" else "auto"
            hub = {name: options[name] for name in HUB_ARGUMENTS if name in options}
            hub |= {} if revision is None else {"revision": revision}
            kind = PreTrainedConfig.get_config_dict(source, **hub)[0].get("model_type")
            if kind != "xemogpt":  # said before any code of the folder is run
                raise ValueError(f"{self.name}: holds a model of type {kind!r}, not an XEmoGPT")
            if Path(source).is_dir() and not any(Path(source).glob("*.safetensors")):
                raise FileNotFoundError(
                    f"{self.name}: a configuration without weights; make a model (xemogpt convert-release, xemogpt "
                    "compose), or leave the model out to use the small embedded one"
                )
            options |= hub | {"dtype": dtype, "trust_remote_code": trust}
            if trust:
                self.processor = AutoProcessor.from_pretrained(source, trust_remote_code=True, **hub)
                self.model = AutoModelForMultimodalLM.from_pretrained(source, **options)
            else:
                from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
                from xemogpt.processing_xemogpt import XEmoGPTProcessor

                self.processor = own_processor(XEmoGPTProcessor, source)
                self.model = XEmoGPTForConditionalGeneration.from_pretrained(source, **options)
            if not PLACING & options.keys():
                self.model.to(device)
        self.untrained_parts = list(self.model.config.untrained_parts)
        self.caution: str | None = getattr(self.model.config, "caution", None)  # older code does not know it
        if self.adapter is not None:
            self._load_adapter(self.adapter, self.name if isinstance(model, tuple) else source)
        elif not isinstance(model, tuple) and (Path(source) / "adapter" / "adapter_config.json").is_file():
            warnings.warn(
                f"{self.name}: the adapter in it is not used; add --adapter {self.name}/adapter", stacklevel=2
            )
        self.model.eval()
        self.dtype = dtype_name("int8" if int8 else self.model.dtype)
        self.weights = weights_mark(self.model)
        if int8:
            from xemogpt.inference.int8 import to_int8

            to_int8(self.model)
        self._tokenizer_lock = threading.Lock()  # fast tokenizers refuse to be used by two threads at once

    def _load_adapter(self, adapter: str, source: str) -> None:
        _is_folder(adapter, "adapter")
        adapter_of(adapter, source)
        try:
            loaded = self.model.load_adapter(adapter)
        except RuntimeError as error:
            raise ValueError(f"{adapter}: is no adapter of {self.name}; its weights have other shapes") from error
        wrong = {*loaded.missing_keys, *loaded.unexpected_keys, *(str(key) for key in loaded.mismatched_keys)}
        if wrong:
            raise ValueError(f"{adapter}: is no adapter of {self.name}; {len(wrong)} keys do not fit, as {min(wrong)}")
        configs = self.model.peft_config.values()
        trained = {name for config in configs for name in config.modules_to_save or ()}  # whole parts, not just LoRA
        self.untrained_parts = [part for part in self.untrained_parts if part.split(".")[0] not in trained]
        self.caution = None  # it told of the model without the adapter

    def explain(
        self,
        clips: Sequence[Clip],
        question: Question | None = None,
        decoding: Decoding | None = None,
        streamer: Any = None,
    ) -> list[Explanation]:
        """Explain clips in one batch; whatever is wrong with one of them is raised.

        Args:
            streamer: receives the tokens as they come; one clip, no beams.
        """
        question, decoding = question or Question(), decoding or Decoding()
        if streamer is not None and (len(clips) != 1 or decoding.num_beams != 1):
            raise ValueError(
                f"streaming takes one clip and one beam, not {len(clips)} clips and {decoding.num_beams} beams"
            )
        started = time.perf_counter()
        answers = self.generate([self.prepare(clip, question) for clip in clips], decoding, streamer)
        seconds = (time.perf_counter() - started) / max(1, len(clips))
        return [
            self._explanation(clip, answer, question, decoding, seconds)
            for clip, answer in zip(clips, answers, strict=True)
        ]

    def explain_each(
        self,
        clips: Iterable[Clip],
        question: Question | None = None,
        decoding: Decoding | None = None,
        batch_size: int = 8,
    ) -> Iterator[Explanation | Rejection]:
        """Explain any number of clips in their order. One that fails is a `Rejection` and costs no other its answer.

        Media are decoded in threads, at most two batches ahead, while the model generates.
        """
        question, decoding = question or Question(), decoding or Decoding()
        if batch_size < 1:
            raise ValueError(f"the batch size must be at least 1, not {batch_size}")
        pool = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="media")
        try:
            prepared = _ahead(pool, self.prepare, clips, question, 2 * batch_size)
            answered = False
            while batch := list(islice(prepared, batch_size)):
                for outcome in self._explain_batch(batch, question, decoding, sound=answered):
                    answered = answered or isinstance(outcome, Explanation)
                    yield outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _explain_batch(
        self, batch: list[tuple[Clip, Future]], question: Question, decoding: Decoding, sound: bool
    ) -> Iterator[Explanation | Rejection]:
        """`sound`: the model has answered before; else, where none of its first clips is answered, it is to blame."""
        started = time.perf_counter()
        inputs: list[BatchFeature | Exception] = [future.exception() or future.result() for _, future in batch]
        generated = self.generate_each([each for each in inputs if not isinstance(each, Exception)], decoding)
        failures = [each for each in generated if isinstance(each, Exception)]
        blameless = sound or len(failures) < len(generated)
        if not blameless and not all(isinstance(each, OUT_OF_MEMORY) for each in failures):
            raise failures[0]
        answers = iter(generated)
        outcomes = [each if isinstance(each, Exception) else next(answers) for each in inputs]
        seconds = (time.perf_counter() - started) / len(batch)
        for (clip, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                yield Rejection(clip, one_line(outcome))
            else:
                yield self._explanation(clip, outcome, question, decoding, seconds)

    def generate_each(self, inputs: list[BatchFeature], decoding: Decoding) -> list[Answer | Exception]:
        """As `generate`, but where that fails, out of memory included, each clip is tried alone and may have an error
        in the place of its answer.

        Raises:
            torch.AcceleratorError: the device is lost; no clip is to blame.
        """
        if not inputs:
            return []
        try:
            return list(self.generate(inputs, decoding))
        except DeviceLost:
            raise
        except Exception as error:  # whatever it is, it must not cost the other clips their answers
            if len(inputs) == 1:
                _let_go(error)
                return [error]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return [answer for each in inputs for answer in self.generate_each([each], decoding)]

    def prepare(self, clip: Clip, question: Question) -> BatchFeature:
        """Read a clip's media and write its prompt: CPU inputs of batch size 1. Several threads may call this."""
        clip = clip.located()
        messages = self.processor.conversation(
            clip.video, clip.audio, clip.subtitle, question.text, question.task, question.language, clip.sampling_rate
        )
        decode_media(messages, self.processor)  # here, outside the lock that the template needs
        with self._tokenizer_lock:
            return self.processor.apply_chat_template(
                [messages], tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
            )

    def generate(self, inputs: Sequence[BatchFeature], decoding: Decoding, streamer: Any = None) -> list["Answer"]:
        """The answers to prepared clips, generated as one batch."""
        device = _home(self.model)
        batch = collate(inputs, self.processor.tokenizer.pad_token_id or 0).to(device)
        arguments = decoding.arguments()
        if device.type == "cpu":  # a cache that grows is copied at every token
            longest = batch["input_ids"].shape[1] + decoding.max_new_tokens
            config = self.model.config.get_text_config(decoder=True)
            arguments["past_key_values"] = StaticCache(config=config, max_cache_len=longest)
        with torch.inference_mode(), _seeded(decoding.seed if decoding.do_sample else None, device):
            ids = self.model.generate(**batch, **arguments, streamer=streamer)
        ids = ids[:, batch["input_ids"].shape[1] :]
        ends = self.model.generation_config.eos_token_id
        ends = torch.tensor([] if ends is None else ends, device=ids.device)
        ended = torch.isin(ids, ends)  # (B, S)
        finished = ended.any(1).tolist()
        tokens = (ended.cumsum(1) - ended.long() == 0).sum(1).tolist()  # up to the first end, and with it
        with self._tokenizer_lock:
            texts = self.processor.batch_decode(ids, skip_special_tokens=True)
        return [Answer(text.strip(), *each) for text, *each in zip(texts, finished, tokens, strict=True)]

    def _explanation(
        self, clip: Clip, answer: "Answer", question: Question, decoding: Decoding, seconds: float
    ) -> Explanation:
        sound = sound_of(clip)
        return Explanation(
            video=shown(clip.video),
            text=answer.text,
            cues=split_cues(answer.text, question.task if question.task in ("visual", "audio") else None),
            task=question.task,
            language=question.language,
            prompt_id=question.prompt_id,
            model=self.name,
            instruction=question.instruction,
            adapter=self.adapter,
            untrained_parts=list(self.untrained_parts),
            generation=decoding.settings(),
            audio=shown(clip.audio),
            subtitle=shown(clip.subtitle),
            id=clip.id,
            seconds=round(seconds, 3),
            finished=answer.finished,
            dtype=self.dtype,
            weights=self.weights,
            caution=self.caution,
            revision=self.revision,
            sound_seconds=sound,
            heard_seconds=None if sound is None else min(sound, self.processor.max_audio_seconds),
        )


def base_of(model: Any, adapter: str | os.PathLike | None) -> Any:
    """The model as given, or where none is, the one that the adapter names.

    Raises:
        FileNotFoundError: no such adapter, or its model is gone. ValueError: it names none.
    """
    if model is not None or adapter is None:
        return model
    _is_folder(os.fspath(adapter), "adapter")
    return adapter_of(adapter)[1]


def model_name(model: str | os.PathLike | tuple[Any, Any] | None) -> str:
    """The name under which results record a model: as given, or the one that a loaded model was loaded by."""
    if model is None:
        return TINY
    if isinstance(model, tuple):
        return model[0].config._name_or_path or type(model[0]).__name__
    return os.fspath(model)


def dtype_name(dtype: str | torch.dtype) -> str:
    """A dtype as results record it: `bfloat16`, ..., or `int8`."""
    if dtype == "int8":
        return "int8"
    return str(torch_dtype(dtype) if isinstance(dtype, str) else dtype).removeprefix("torch.")


def weights_mark(model: torch.nn.Module) -> str:
    """A hash of a few values of each weight: another training has others, whatever its folder is called.

    What lies on disk (`device_map`) or is packed by a quantisation is left out.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        if type(weight) is torch.Tensor and weight.is_floating_point() and weight.numel() and not weight.is_meta:
            values = weight.reshape(-1)[:: int(weight.numel() / MARKED) | 1]
            digest.update(values.cpu().double().numpy().tobytes())  # in this order: Apple's mps has no float64
    return digest.hexdigest()[:16]


def collate(inputs: Sequence[BatchFeature], pad_token_id: int) -> BatchFeature:
    """Join model inputs of batch size 1: tokens padded on the left, media on the right, in the order of the clips.

    A clip without a medium has no row in that medium's tensors, as the model expects.
    """
    batch = {}
    for name in dict.fromkeys(name for each in inputs for name in each):
        rows = [each[name] for each in inputs if name in each]
        longest, left = max(row.shape[-1] for row in rows), name in TOKEN_KEYS
        fill = pad_token_id if name == "input_ids" else 0
        batch[name] = torch.cat(
            [
                torch.nn.functional.pad(row, (missing, 0) if left else (0, missing), value=fill)
                for row in rows
                for missing in [longest - row.shape[-1]]
            ]
        )
    return BatchFeature(batch)


def _ahead(pool: ThreadPoolExecutor, function: Any, clips: Iterable[Clip], question: Question, ahead: int) -> Iterator:
    """(clip, future of `function(clip, question)`) in order, with at most `ahead` clips under way or waiting."""
    waiting: deque[tuple[Clip, Future]] = deque()
    for clip in clips:
        waiting.append((clip, pool.submit(function, clip, question)))
        if len(waiting) >= ahead:
            yield waiting.popleft()
    yield from waiting


def sound_of(clip: Clip) -> float | None:
    """Seconds of a clip's sound; None where it has none, or nothing says how long it is."""
    clip = clip.located()
    sound = clip.video if clip.audio is None else clip.audio
    if isinstance(sound, (str, os.PathLike)):
        with contextlib.suppress(OSError, ValueError):  # gone since it was read: the answer stays
            seconds = None if os.fspath(sound).lower() == "none" else probe(sound).audio_duration
            return None if seconds is None else round(seconds, 3)
    elif clip.audio is not None and clip.audio is not False:
        return round(max(np.shape(sound)) / clip.sampling_rate, 3)
    return None


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of an error hold, a batch's memory on the device among it; where it arose stays told."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _home(model: Any) -> torch.device:
    """Where inputs go: the device of the first weight that is on any, and does not wait on disk."""
    return next((weight.device for weight in model.parameters() if not weight.is_meta), torch.device("cpu"))


def _options(model_kwargs: dict[str, Any], device: torch.device | None, int8: bool) -> dict[str, Any]:
    """Arguments of `from_pretrained` that fit the others."""
    options = dict(model_kwargs)
    for name in ("dtype", "revision", "trust_remote_code"):
        if name in options:
            raise ValueError(f"{name} is an argument of its own: give it beside model_kwargs, not in it")
    if int8 and PLACING & options.keys():
        raise ValueError("int8 is this package's own way on the CPU, without device_map and quantization_config")
    if device is not None and "device_map" in options:
        raise ValueError("device and device_map both say where the model goes: give one of them")
    if device is not None and "quantization_config" in options:
        options["device_map"] = {"": device}
    return options


@contextlib.contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Within, random numbers follow `seed`; the caller's random state is left as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _source(model: str | os.PathLike | None, trust: bool | None, named: bool) -> tuple[str, bool]:
    """What transformers loads, and whether it may run the code found there.

    named: by the user. A folder that only an adapter names may have come with it, and nobody has chosen to run it.
    """
    if model is None or model == TINY:
        from xemogpt.hub.tiny import tiny_path

        return os.fspath(tiny_path()), True
    name = os.fspath(model)
    if _is_folder(name, "model"):
        return os.path.expanduser(name), named if trust is None else trust
    if not trust:
        raise ValueError(
            f"{name} comes from the Hub with code of its own: read that code, then allow it with --trust-remote-code "
            "(trust_remote_code=True in Python)"
        )
    return name, True


def _is_folder(name: str, what: str) -> bool:
    """Whether `name` is a folder; what is neither a folder nor can be a Hub id is refused."""
    folder = Path(name).expanduser()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{name}: is a file, not the folder of a model or adapter")
    if not folder.exists() and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise FileNotFoundError(f"{name}: no such {what} folder, and no Hub id of the form owner/name")
    return folder.is_dir()


def _device(device: str | torch.device | None) -> torch.device | None:
    try:
        device = None if device is None else torch.device(device)
    except RuntimeError:
        raise ValueError(f"unknown device {device!r}; give cpu, cuda, cuda:1 or mps") from None
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device is not None and not available.get(device.type, True):
        raise ValueError(f"there is no {device.type} device here; leave the device out to use what there is")
    return device
