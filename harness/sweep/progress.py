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
        self._console = console
        self._trials = list(trials)
        self._quiet = quiet
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal and not quiet else None
        )
        self._costs: dict[str, float] = {}
        self._trial: Trial | None = None
        self._began = 0.0
        self._epoch = 0
        self._share = 0.0
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
        self._trial, self._began, self._epoch, self._share = trial, time.monotonic(), 0, 0.0
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
        total = self._trial.epochs or None
        if event.kind == wire.READY:
            self._show("training")
        elif event.kind == wire.PROGRESS:
            steps = max(event.number("steps") or 1, 1)
            done = (event.number("epoch") or 1) - 1 + (event.number("step") or 0) / steps
            self._share = min(done / (total or 1), 1.0)  # a program without a parameter for epochs has one
            self._show(f"{_of(event, total)}, step {event.values['step']}/{event.values['steps']}")
        elif event.kind == wire.EPOCH:
            self._share = (event.number("epoch") or 0) / total if total else 0.0
            accuracy = event.number("validation_accuracy")
            shown = f", validation accuracy {accuracy:.2%}" if accuracy is not None else ""
            text = f"{_of(event, total)} in {event.number('train_seconds') or 0:.1f} s{shown}"
            self._show(text)
            if not self._live:
                self._print(f"{self._trial.id}: {text}{self._left()}")

    def end(self, trial: Trial, outcome: Outcome, row: Row) -> None:
        """A trial is over."""
        self._costs[trial.id] = time.monotonic() - self._began
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

    def _left(self) -> str:
        """The time left, from what finished trials cost; nothing while none has."""
        if not self._costs:
            return ""
        mean = sum(self._costs.values()) / len(self._costs)
        waiting = len(self._trials) - len(self._costs) - (1 if self._trial else 0)
        seconds = waiting * mean
        if self._trial:
            spent = time.monotonic() - self._began
            seconds += spent * (1 - self._share) / self._share if self._share > 0.05 else max(mean - spent, 0.0)
        if seconds < 1 and not waiting:
            return ""
        minutes, rest = divmod(round(seconds), 60)
        return f"  (about {minutes}:{rest:02d} left)"


def _of(event: Event, total: int | None) -> str:
    return f"epoch {event.values['epoch']}{f'/{total}' if total else ''}"
