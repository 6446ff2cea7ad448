"""The verbs: what each is called, what it is for, and the module that is imported when it is used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """`help` is the first line of the verb's own help, so that all verbs can be listed without importing any."""

    module: str
    help: str


SECTIONS = {
    "Run": {
        "demo": Verb(
            "running.demo", "Provision this machine as local nodes and sweep the quickstart experiment on them."
        ),
        "plan": Verb("running.plan", "Show the trials and where each rank goes; nothing is run, no node is contacted."),
        "sweep": Verb("running.sweep", "Run an experiment at every point of its axes and collect time and accuracy."),
        "benchmark": Verb("running.benchmark", "Measure how fast each node trains by itself, all at the same time."),
        "launch": Verb(
            "running.launch", "Run any distributed program: harness launch -n 4 -- python train.py --its --args."
        ),
        "programs": Verb("running.programs", "List the programs that come with the harness, or show one of them."),
    },
    "Nodes": {
        "init": Verb(
            "nodes.init",
            "Write an inventory for boards that run: finds them, shows and pins their host keys, and names the next command.",
        ),
        "provision": Verb(
            "nodes.provision",
            "Run a playbook on the nodes: site (installs everything), check, reset, image, or one that takes care of them.",
        ),
        "check": Verb(
            "nodes.check", "Examine every node: SSH, clock, memory, disk, runtime, and the network of each pair."
        ),
        "status": Verb("nodes.status", "Show what runs on every node, who holds it, and what earlier runs left there."),
        "clean": Verb("nodes.clean", "Stop and remove what earlier runs left on the nodes; nothing else is touched."),
        "image": Verb("nodes.image", "Make SD card images, prove them by an emulated board, and write cards."),
        "cluster": Verb("nodes.cluster", "Virtual Raspberry Pi clusters on this machine (root, Linux)."),
    },
    "Results": {
        "watch": Verb(
            "results.watch", "Show a run on a page that follows it while it goes on: progress, nodes, accuracy, logs."
        ),
        "report": Verb(
            "results.report", "Make a run's report.html and figures again, from its CSV files and manifest."
        ),
        "compare": Verb(
            "results.compare",
            "Compare runs: what differed first, then their numbers side by side with intervals and ratios.",
        ),
        "predict": Verb(
            "results.predict", "Predict other cluster sizes, links and batches from a run's measured trials."
        ),
        "advise": Verb(
            "results.advise", "Say which way to train a model together is quickest on some nodes, before anything runs."
        ),
        "pack": Verb(
            "results.pack",
            "Pack a run into one archive with everything to read it later: tables, manifest, report, experiment, columns.",
        ),
        "export": Verb(
            "results.export",
            "Write a run in a format of another project: Parquet tables, an MLflow store, TensorBoard logs, an RO-Crate.",
        ),
        "logs": Verb("results.logs", "Print what a rank printed, while it runs or later."),
    },
    "Shell": {"completion": Verb("completion", "Print the shell script that completes harness commands.")},
}

VERBS = {name: verb for section in SECTIONS.values() for name, verb in section.items()}
