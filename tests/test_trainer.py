# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What all stages rely on: checkpoints that are whole, runs that go on exactly, weights that are not touched."""

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainerState, TrainingArguments

from xemogpt.data.sample import EmotionSample
from xemogpt.train import dry_run, mixture
from xemogpt.train.alignment_start import AlignmentArguments
from xemogpt.train.checkpoints import damage, last_whole_checkpoint, rows_digest
from xemogpt.train.mixture import EpochSampler
from xemogpt.train.run_card import write_run_card
from xemogpt.train.trainer import CheckedTrainer, NotFiniteError, fingerprints, planned_steps


class Toy(nn.Module):
    """Three layers, the first frozen; `unused` is trainable but has no part in the loss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.drop, self.learned = nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1)
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.learned(self.drop(self.frozen(x).tanh()))[:, 0] - labels).square().mean()}


class Rows(torch.utils.data.Dataset):
    column_names = ("length",)

    def __init__(self, bad: int | None = None) -> None:
        draw = torch.Generator().manual_seed(1)
        self.x, self.bad = torch.randn(23, 4, generator=draw), bad

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Any:
        if index == "length":
            return [1 + number % 5 for number in range(len(self))]
        label = self.x[index].sum() * (float("nan") if index == self.bad else 1)
        return {"id": f"row{index}", "x": self.x[index], "label": label}


class ToyTrainer(CheckedTrainer, Trainer):
    pass


class ChangingRows(Rows):
    """Rows that depend on the epoch; `seen` are the epochs in which they were read."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch, self.seen = 0, []

    def __getitem__(self, index: Any) -> Any:
        self.seen.append(self.epoch)
        return super().__getitem__(index)


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "ids": [row["id"] for row in rows],
        "x": torch.stack([row["x"] for row in rows]),
        "labels": torch.stack([row["label"] for row in rows]),
    }


def trainer(out: Path, bad: int | None = None, model: nn.Module | None = None, **settings: Any) -> ToyTrainer:
    given = {"max_steps": 12, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "logging_steps": 1, "seed": 3}
    given |= {"save_strategy": "steps", "save_steps": 2, "report_to": "none", "use_cpu": True} | settings
    more = {key: given.pop(key) for key in ("declared", "settings", "train_dataset") if key in given}
    arguments = TrainingArguments(str(out), remove_unused_columns=False, disable_tqdm=True, **given)
    model = model or Toy()
    more = {"declared": ["learned.*", "unused"], "train_dataset": Rows(bad)} | more
    return ToyTrainer(model=model, args=arguments, data_collator=collate, **more)


def losses(run: Trainer) -> list[float]:
    return [entry["loss"] for entry in run.state.log_history if "loss" in entry]


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
@pytest.mark.parametrize("kept", [4, 6, 8])  # an epoch has 6 steps: within, at its end, and in the second
def test_resumed_run_is_the_run(tmp_path: Path, strategy: str, kept: int) -> None:
    whole = trainer(tmp_path / "whole", train_sampling_strategy=strategy)
    whole.train()
    torch.rand(7)  # another process has another random state
    again = trainer(tmp_path / "again", train_sampling_strategy=strategy)
    again.train(resume_from_checkpoint=str(tmp_path / f"whole/checkpoint-{kept}"))
    assert losses(again) == losses(whole)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


def test_rows_hear_of_the_epoch(tmp_path: Path) -> None:
    whole, again = ChangingRows(), ChangingRows()
    trainer(tmp_path, train_dataset=whole).train()
    assert whole.seen == [0] * 23 + [1] * 23
    trainer(tmp_path, train_dataset=again).train(str(tmp_path / "checkpoint-8"))
    assert set(again.seen) == {1}
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    trainer(tmp_path, **workers)
    with pytest.raises(ValueError, match="dataloader_persistent_workers: workers that stay"):
        trainer(tmp_path, train_dataset=ChangingRows(), **workers)


@pytest.mark.parametrize("steps", [4, 6])  # within an epoch, and at its end
def test_finished_run_makes_no_further_step(tmp_path: Path, steps: int) -> None:
    settings = {"max_steps": steps, "lr_scheduler_type": "constant", "save_steps": 2}
    whole, again = trainer(tmp_path, **settings), trainer(tmp_path, **settings)
    whole.train()
    again.train(last_whole_checkpoint(tmp_path))
    assert again.state.global_step == steps
    assert losses(again) == losses(whole)
    assert all(torch.equal(again.model.state_dict()[name], value) for name, value in whole.model.state_dict().items())
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / f"checkpoint-{steps}")


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 4}, {"dataloader_drop_last": True}])
def test_planned_steps_are_the_trainers(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = trainer(tmp_path, max_steps=-1, num_train_epochs=1.5, save_strategy="no", **settings)
    run.train()
    assert planned_steps(23, run.args) == run.state.global_step
    assert dry_run._steps(run.args, 23)[0].startswith(f"steps: {run.state.global_step}, of ")


def test_a_clip_is_no_reject_for_good_by_a_bad_moment(tmp_path: Path) -> None:
    clip = tmp_path / "x.mp4"
    clip.write_text("a clip")
    sample = EmotionSample.from_row({"id": "x", "video": str(clip)})

    def failing(error: OSError) -> Any:
        def read(sample: Any) -> Any:
            raise error

        return read

    with pytest.raises(OSError, match="Input/output error"):
        mixture.check_clips([sample], failing(OSError(errno.EIO, "Input/output error", str(clip))), tmp_path)
    gone = mixture.check_clips([sample], failing(FileNotFoundError("no such file")), tmp_path)
    assert gone == mixture.noted_clips([sample], tmp_path) == {"x": mixture.Checked({}, "no such file", [])}
    back = mixture.check_clips([sample], lambda sample: ({"x#see-en": 7}, ["visual"]), tmp_path)
    assert back == mixture.noted_clips([sample], tmp_path) == {"x": mixture.Checked({"x#see-en": 7}, None, ["visual"])}


def test_the_card_says_of_which_step_the_weights_are(tmp_path: Path) -> None:
    state = TrainerState(global_step=9, epoch=1.5, best_global_step=6, best_metric=0.25)
    settings = {
        "output_dir": str(tmp_path),
        "use_cpu": True,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_steps": 3,
    }
    told = []
    for best in (True, False):
        given = TrainingArguments(**settings, load_best_model_at_end=best, metric_for_best_model="uar")
        told.append(write_run_card(tmp_path, "stage 1", AlignmentArguments(), given, state, {}, 4).read_text())
    best = (
        "for 9 steps (1.50 epochs of 4 examples). The weights are those of step 6, the best on validation (uar 0.25)."
    )
    assert best in told[0]
    assert "The weights are those" not in told[1]


def test_who_sees_no_notes_is_told_so(tmp_path: Path) -> None:
    sample = EmotionSample.from_row({"id": "x", "video": "x.mp4"})
    with pytest.raises(ValueError, match=r"says nothing of x.* set output_dir to a folder that all processes share"):
        mixture.noted_clips([sample], tmp_path / "elsewhere")


def test_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int, lengths: list[int] | None = None) -> list[int]:
        sampler = EpochSampler(100, seed, lengths, batch=4)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) == order(0, 0) != order(0, 1) != order(1, 0)
    assert sorted(order(5, 5)) == list(range(100))
    lengths = [number % 10 for number in range(100)]
    grouped = [lengths[index] for index in order(0, 0, lengths)]
    spread = [max(grouped[start : start + 4]) - min(grouped[start : start + 4]) for start in range(0, 100, 4)]
    mixed = [lengths[index] for index in order(0, 0)]
    assert sum(spread) < sum(max(mixed[s : s + 4]) - min(mixed[s : s + 4]) for s in range(0, 100, 4)) / 3
    assert sorted(order(0, 1, lengths)) == list(range(100))


@pytest.mark.parametrize("count", [3, 400, 403])
def test_batches_of_like_length_come_in_no_order_of_length(count: int) -> None:
    lengths = [number % 100 for number in range(count)]
    order = [lengths[index] for index in EpochSampler(count, 0, lengths, batch=4)]
    batches = [order[start : start + 4] for start in range(0, count, 4)]
    assert max(order) in batches[0]  # does it fit in memory?
    assert len(batches[-1]) == (count % 4 or 4)
    means = [sum(batch) / len(batch) for batch in batches]
    if count > 4:
        early, late = means[1 : len(means) // 2], means[len(means) // 2 :]
        assert abs(sum(early) / len(early) - sum(late) / len(late)) < 15  # sorted, it is 50


@pytest.mark.parametrize("kind", ["cut", "gone", "unsealed", "torn seal"])
def test_torn_checkpoint_is_seen_and_the_one_before_it_used(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(tmp_path, max_steps=6).train()
    newest = tmp_path / "checkpoint-6"
    assert last_whole_checkpoint(tmp_path) == str(newest)
    file = newest / ("complete.json" if "seal" in kind else "optimizer.pt")
    if kind in ("cut", "torn seal"):
        file.write_bytes(file.read_bytes()[:-10])
    else:
        file.unlink()
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert "checkpoint-6 is damaged and not used" in caplog.text
    run = trainer(tmp_path, max_steps=6)
    run.train(resume_from_checkpoint=last_whole_checkpoint(tmp_path))
    assert damage(newest) is None  # written anew
    for checkpoint in tmp_path.glob("checkpoint-*"):
        (checkpoint / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        last_whole_checkpoint(tmp_path)


def test_run_killed_in_its_first_save_starts_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer(tmp_path, max_steps=2).train()
    (tmp_path / "checkpoint-2" / "complete.json").unlink()
    assert last_whole_checkpoint(tmp_path) is None
    assert "no checkpoint was ever whole" in caplog.text
    trainer(tmp_path, max_steps=2).train(last_whole_checkpoint(tmp_path))
    assert damage(tmp_path / "checkpoint-2") is None


def test_full_disk_leaves_the_checkpoint_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save

    def full(what: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        if "checkpoint-4" in str(path) and "optimizer" in str(path):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(what, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"checkpoint-4 could not be written .*No space left.*checkpoint-2 is the last"):
        trainer(tmp_path, save_total_limit=1).train()
    assert not (tmp_path / "checkpoint-4").exists()
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    monkeypatch.undo()
    again = trainer(tmp_path, save_total_limit=1)
    again.train(resume_from_checkpoint=last_whole_checkpoint(tmp_path))
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-12"]


def test_fingerprints_see_every_bit_in_whatever_pieces() -> None:
    layer = torch.nn.Linear(3000, 3000, dtype=torch.bfloat16)  # 18 MB: two pieces
    before = fingerprints(layer)
    assert all(torch.equal(before[name], again) for name, again in fingerprints(layer).items())
    with torch.no_grad():
        layer.weight[-1, -1] += 1
    after = fingerprints(layer)
    assert not torch.equal(before["weight"], after["weight"])
    assert torch.equal(before["bias"], after["bias"])


def test_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, max_steps=4, settings={"lora_r": 4, "data": [{"manifest": "a"}]}).train()
    last = last_whole_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate 0.01, now 0.1, lora_r 4, now 8\): set it back"):
        trainer(tmp_path, learning_rate=0.1, max_steps=4, settings={"lora_r": 8}).train(last)
    same = {"lora_r": 4, "data": [{"manifest": "a"}]}
    trainer(tmp_path, max_steps=4, logging_steps=2, settings=same).train(last)  # does not change the course
    (tmp_path / "checkpoint-4/complete.json").unlink()
    with pytest.raises(ValueError, match="is no checkpoint of this program"):
        trainer(tmp_path, max_steps=4).train(str(tmp_path / "checkpoint-4"))


def test_rows_tell_their_order_and_words() -> None:
    rows = [("a", "He frowns."), ("b", "她微笑。")]
    told = [rows_digest(each) for each in (rows, rows[::-1], rows[:1], [rows[0], ("b", "She smiles.")])]
    assert told[0] == rows_digest(iter(rows))
    assert len(set(told)) == 4
    assert told[2].startswith("1 of hash ")


def test_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"row13.*lower learning_rate") as caught:
        trainer(tmp_path, bad=13, logging_steps=50, save_steps=1).train()
    assert len(caught.value.ids) == 4
    assert not trainer(tmp_path).args.logging_nan_inf_filter  # it would hide such losses, at the cost of a wait a step
    steps = sorted(int(path.name.rpartition("-")[2]) for path in tmp_path.glob("checkpoint-*"))
    assert steps == list(range(1, caught.value.step))
    for path in tmp_path.glob("checkpoint-*/model.safetensors"):
        from safetensors.torch import load_file

        assert all(torch.isfinite(value).all() for value in load_file(path).values())


@pytest.mark.parametrize("settings", [{"bad": 13}, {"learning_rate": 1e38, "max_steps": 1, "bad": None}])
def test_broken_steps_after_the_last_log_stop_the_run(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = trainer(tmp_path, **{"save_strategy": "no", "logging_strategy": "no", **settings})
    with pytest.raises(NotFiniteError):
        run.train()


@pytest.mark.parametrize("drop_last", [False, True])
def test_validation_leaves_no_row_out(tmp_path: Path, drop_last: bool) -> None:
    run = trainer(tmp_path, dataloader_drop_last=drop_last, per_device_eval_batch_size=4)
    assert sum(len(batch["x"]) for batch in run.get_eval_dataloader(Rows())) == 23
    assert len(run.get_train_dataloader()) == (5 if drop_last else 6)


def test_undeclared_and_idle_parameters_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no trainable parameter is called so: frozen\.\*"):
        trainer(tmp_path, declared=["learned.*", "unused", "frozen.*"])
    with pytest.raises(ValueError, match="1 parameters would be trained that are not declared, as unused"):
        trainer(tmp_path, declared=["learned.*"])


def test_frozen_weight_that_changes_is_an_error(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    step = torch.optim.AdamW.step

    def careless(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            run.model.frozen.bias[3] += 1e-3
        return step(optimizer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", careless)
        with pytest.raises(AssertionError, match=r"1 frozen parameters have changed in a step, as frozen\.bias"):
            run.train()


def test_step_lost_in_rounding_is_an_error(tmp_path: Path) -> None:
    class Scaled(Toy):
        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": super().forward(x, labels)["loss"] * self.unused.float().mean()}

    model = Scaled()
    model.unused = nn.Parameter(torch.full((2,), 100.0, dtype=torch.bfloat16))
    with pytest.raises(AssertionError, match="1 parameters have a gradient and were not moved, as unused"):
        trainer(tmp_path, model=model, learning_rate=1e-5).train()


def test_warm_up_does_not_count_as_a_step(tmp_path: Path) -> None:
    run = trainer(tmp_path, warmup_steps=3)
    run.train()  # the first step has a rate of 0 and moves nothing
    assert losses(run)


def test_losses_are_lines_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    with caplog.at_level(logging.INFO, "xemogpt"):
        trainer(tmp_path, max_steps=2).train()
    assert "step 1 of 2: loss" in caplog.text
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "checkpoint-2/complete.json").read_text())["configuration"]["max_steps"] == 2
