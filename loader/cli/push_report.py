"""What `push` and `run` print about what they have sent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from loader.cli import options, output
from loader.delivery import answers, limits
from loader.delivery.push import Push, held_back
from loader.delivery.selection import InWindow, Pending
from loader.errors import GuardError
from loader.hours import floor_hour, iso
from loader.money import decimal_text

if TYPE_CHECKING:
    from loader.delivery.retry import Sent


def report_pushes(pushes: Sequence[Push], sent: Sent, style: str, selected: InWindow | Pending, name: str = "") -> None:
    """Print what pushes have sent together.

    Args:
        pushes: one for each stream.
        sent: what they have sent together.
        style: text, json or none.
        selected: the hours that were selected.
        name: the stream, when it has a name.

    Raises:
        GuardError: hours were held back.
    """
    held = held_back(pushes)
    of_stream = f"{name}: " if name else ""
    if style == "json":
        output.print_json(answers.pushes_answer(pushes, sent), sys.stdout)
    elif style == "none":
        pass
    elif any(push.plan and push.plan.hours for push in pushes):
        click.echo(
            f"{of_stream}Sent {sent.hours:,} hours, {sent.lines:,} lines, {sent.bytes:,} bytes,"
            f" ${decimal_text(sent.cost)} in {sum(push.seconds for push in pushes):.1f} s."
        )
    elif not held:
        output.say(f"{of_stream}Nothing to send: {_why_nothing(pushes, selected)}.")
    if held:
        raise GuardError(limits.explain(held))


def _why_nothing(pushes: Sequence[Push], selected: InWindow | Pending) -> str:
    """Why nothing was sent. That nothing is missing is said only if the whole source was read since the last hour."""
    if not isinstance(selected, Pending):
        return f"no lines in {selected.window}"
    now = floor_hour(options.now())
    plans = [push.plan for push in pushes if push.plan]
    if all(push.source_is_whole for push in pushes) and all(plan.built_at >= now for plan in plans):
        return "CloudZero holds every complete hour as it is"
    until = min((plan.complete_until for plan in plans), default=now)
    return f"CloudZero holds what was summed of the hours before {iso(until)} as it is"
