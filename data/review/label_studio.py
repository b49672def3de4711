# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The same review through Label Studio: tasks and the labelling page's XML out, its JSON export in."""

from typing import Any
from xml.sax.saxutils import quoteattr

from xemogpt.data.review.ratings import DIMENSIONS, SIDES, Item, rating


def interface(items: list[Item]) -> str:
    """The labelling page, for the project's settings."""
    clip = '<Video name="clip" value="$clip"/>'
    if _with_sound(items):
        clip = '<Video name="clip" value="$clip" muted="true" sync="sound"/>'
        clip += '\n  <Audio name="sound" value="$sound" sync="clip"/>'
    parts = []
    for side, title in zip(SIDES, ("Text A", "Text B"), strict=True):
        parts.append(f'  <Header value="{title}"/><Text name="{side}" value="${side}"/>')
        for name in DIMENSIONS:
            parts.append(f"  <Header value={quoteattr(name)} size='5'/>")
            parts.append(f'  <Rating name="{side}_{name}" toName="{side}" maxRating="5"/>')
    return f"<View>\n  {clip}\n" + "\n".join(parts) + "\n</View>\n"


def to_tasks(items: list[Item], prefix: str) -> list[dict[str, Any]]:
    """Tasks for import. They name a clip by its key: neither its id nor which text is which is told.

    Args:
        prefix: address of the folder in which Label Studio finds the media, under their keys.
    """
    tasks, with_sound = [], _with_sound(items)
    for item in items:
        urls = {key: f"{prefix}{key}.{path.rsplit('.', 1)[-1]}" for key, path in item.files.items()}
        media = {"clip": urls[item.key]}
        if with_sound:  # one page for all tasks: where the sound is not separate, it is the clip's
            media["sound"] = urls.get(item.sound_key, urls[item.key])
        tasks.append({"data": {"key": item.key} | media | _texts(item)})
    return tasks


def from_export(tasks: list[dict[str, Any]], items: list[Item]) -> list[dict[str, Any]]:
    """Ratings from Label Studio's JSON export; a scale that nobody touched is None.

    Raises:
        ValueError: no export, a task of other clips, a value that is no rating, two of one rater for a clip.
    """
    known = {item.key: item for item in items}
    rows: list[dict[str, Any]] = []
    given: set[tuple[str, str]] = set()
    for number, task in enumerate(tasks, 1):
        try:
            item = known[task["data"]["key"]]
            for annotation in task["annotations"]:
                if annotation.get("was_cancelled"):
                    continue
                scores: dict[str, dict[str, int | None]] = {side: dict.fromkeys(DIMENSIONS) for side in item.sides}
                for result in annotation["result"]:
                    side, _, name = result["from_name"].partition("_")
                    if side in scores and name in DIMENSIONS:
                        scores[side][name] = result["value"]["rating"]
                row = rating(item, f"ls-{_name(annotation['completed_by'])}", scores)
                if (who := (row["rater"], item.id)) in given:
                    raise ValueError(f"{row['rater']} has rated it twice; delete one of them")
                given.add(who)
                rows.append(row)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"task {number}: is none that was exported for these clips ({error!r})") from None
        except ValueError as error:
            raise ValueError(f"task {number}, {item.id}: {error}") from None
    return rows


def _with_sound(items: list[Item]) -> bool:
    return any(item.sound_key in item.files for item in items)


def _texts(item: Item) -> dict[str, str]:
    return {side: getattr(item, side) for side in SIDES}


def _name(who: Any) -> str:
    return str(who["id"] if isinstance(who, dict) else who)
