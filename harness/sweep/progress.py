"""What a person sees while a sweep runs: one line a trial, a live line for the one that runs, and the time left."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.console import visible
from harness.contract import wire
from harness.contract.events import Event
from harness.experiment.plan import Trial
from harness.launch.launcher import Outcome
from harness.launch.placement import Rank
from harness.nodes.connection.tunnel import tunnel
from harness.nodes.inventory import Cluster, Node
from harness.results.rows import Row
from harness.sweep.pace import Costs, Pace, clock

_PATH = re.compile(r"/[A-Za-z0-9_./-]{0,100}")


class Progress:
    """Prints to a terminal with a live line, elsewhere one line an epoch."""

    def __init__(
        self,
        console: Console,
        trials: Sequence[Trial],
        quiet: bool = False,
        warnings: Sequence[str] = (),
        heading: str = "",
        cluster: Cluster | None = None,
    ) -> None:
        """Of a cluster in dilated time rates are shown as they would be in real time, times left as a clock here tells them."""
        self._console = console
        self._quiet = quiet
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal and not quiet else None
        )
        self._costs = Costs()
        self._trial: Trial | None = None
        self._waiting = [trial.id for trial in trials]
        self._began = 0.0
        self._pace = Pace(None)
        self._workers: float | None = None
        self._dilation = cluster.time_dilation if cluster else 1.0
        self._warnings = warnings
        self._heading = heading
        self._namespace = cluster.network_namespace if cluster else None

    def __enter__(self) -> Progress:
        if self._heading:
            self._console.print(Text(visible(self._heading)), soft_wrap=True)
        for text in self._warnings:
            self.warning(text)
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def begin(self, trial: Trial, attempt: int, recovery: int = 0, finished: int = 0) -> None:
        """A trial starts, after so many epochs that are done."""
        self._trial, self._began = trial, time.monotonic()
        self._pace, self._workers = Pace(trial.epochs), None
        if trial.id in self._waiting:  # what was to come before it and was not run, will not be
            self._waiting = self._waiting[self._waiting.index(trial.id) + 1 :]
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._show(f"starting on {trial.nodes} node{'s' if trial.nodes > 1 else ''}{again}")
        after = f", goes on after epoch {finished}" if finished else ""
        if recovery:
            self._print(f"{trial.id}: started again in place (recovery {recovery}){after}", "yellow")
        elif attempt > 1:
            self._print(f"{trial.id}: trying again{again}{after}", "yellow")

    def event(self, rank: Rank, event: Event) -> None:
        """A rank printed an event; one worker speaks for all, since they go in step."""
        if self._trial and event.kind == wire.DASHBOARD:
            self._say_where(self._trial, rank.node, event)
        if self._trial is None or not rank.finishes or event.number("rank") != 0:
            return
        total, now = self._trial.epochs or None, time.monotonic()
        if event.kind == wire.READY:
            self._workers = event.number("workers")
            self._pace.ready(now)
            self._show("training")
        elif event.kind == wire.PROGRESS:
            epoch, step, steps = event.number("epoch"), event.number("step"), event.number("steps")
            self._pace.progress(now, epoch or 0, step or 0, steps or 0)
            facts = [
                _of(event, total),
                f"step {event.values['step']}/{event.values['steps']}",
                *self._rate(),
                *self._rest(),
            ]
            self._show(", ".join(facts))
        elif event.kind == wire.EPOCH:
            self._pace.finished(now, event.number("epoch") or 0)
            accuracy = event.number("validation_accuracy")
            shown = f", validation accuracy {accuracy:.2%}" if accuracy is not None else ""
            text = f"{_of(event, total)} in {event.number('train_seconds') or 0:.1f} s{shown}"
            self._show(text)
            if not self._live:
                self._print(f"{self._trial.id}: {text}{self._left()}")

    def end(self, trial: Trial, outcome: Outcome, row: Row) -> None:
        """A trial is over."""
        self._costs.add(trial.id, time.monotonic() - self._began)
        self._trial = None
        if outcome.status == "ok":
            rate, accuracy = row["images_per_train_second"], row["validation_accuracy"]
            facts = [f"{row['total_seconds']:.1f} s"]
            facts += [f"{rate:.0f} images/s"] if isinstance(rate, int | float) else []
            facts += [f"validation accuracy {accuracy:.2%}"] if isinstance(accuracy, float) else []
            mark = ("suspect", "yellow") if row["status"] == "suspect" else ("ok", "green")
            self._print(Text.assemble(mark, f" {trial.id}: {', '.join(facts)}{self._left()}"))
        else:
            self._print(Text.assemble(("failed", "red"), visible(f" {trial.id}: {outcome.failure}")))
            for line in outcome.failure.last_lines[-5:] if outcome.failure else ():
                self._console.print(Text(visible(f"    | {line}")))
        for warning in outcome.warnings:
            self.warning(f"{trial.id}: {warning}")

    def note(self, text: str) -> None:
        """What goes on meanwhile."""
        self._print(text)

    def warning(self, text: str) -> None:
        """Something the user should know."""
        self._console.print(Text(visible(f"warning: {text}")), style="yellow")

    def _say_where(self, trial: Trial, node: Node, event: Event) -> None:
        """Print how a person reaches a dashboard; also where little is printed, for it was asked for."""
        port, path = int(event.number("port") or 0), str(event.values.get("path", "/"))
        if not 0 < port < 65536 or not _PATH.fullmatch(path):  # they go into a command
            return
        command = tunnel(node, port, namespace=self._namespace)
        here = f"{trial.id}: dashboard: http://127.0.0.1:{port}{path}"
        text = f"{here} on this machine, while this runs in another terminal:\n    {command}" if command else here
        self._console.print(Text("\n".join(map(visible, text.split("\n")))), soft_wrap=True)

    def _print(self, text: str | Text, style: str = "") -> None:
        """Text as it is: a program's words, or a path, may look like markup."""
        if not self._quiet:
            self._console.print(Text(visible(text)) if isinstance(text, str) else text, style=style)

    def _show(self, text: str) -> None:
        if self._live and self._trial:
            self._live.update(Text(f"{self._trial.id}: {text}{self._left()}", style="cyan"))

    def _rate(self) -> list[str]:
        """How fast steps are made: images a second of all workers, where the batch is known."""
        steps = self._pace.steps_per_second
        if steps is None or self._trial is None:
            return []
        batch = self._trial.batch
        images = steps * self._dilation * batch * self._workers if batch and self._workers else None
        return [f"{steps * self._dilation:,.3g} steps/s" if images is None else f"{images:,.0f} images/s"]

    def _rest(self) -> list[str]:
        """The time left of the trial that runs, where others are to come."""
        seconds = self._pace.seconds_left(time.monotonic())
        return [] if seconds is None or not self._waiting else [f"{clock(seconds)} left of it"]

    def _left(self) -> str:
        """The time left, from what finished trials cost; nothing while it is not known of all that are to come."""
        expected = [self._costs.expected(trial) for trial in self._waiting]
        if self._trial:
            now = time.monotonic()
            expected.append(self._costs.rest(self._trial.id, now - self._began, self._pace.seconds_left(now)))
        known = [seconds for seconds in expected if seconds is not None]
        if len(known) < len(expected) or (sum(known) < 1 and not self._waiting):
            return ""
        return f"  (about {clock(sum(known))} left)"


def _of(event: Event, total: int | None) -> str:
    return f"epoch {event.values['epoch']}{f'/{total}' if total else ''}"
