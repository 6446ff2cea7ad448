"""The launcher's hand on a node: starts, watches and stops the ranks of a trial. Standard library only.

The harness runs `python agent VERB` on a node, over SSH or as a local process, and speaks to it on stdin and stdout: a request
is one JSON line (for `run`, files that ranks begin with follow it), a reply one JSON line, and `follow` a stream of frames (a
JSON line, and as many raw bytes after it as its `bytes` says). Every rank has a *keeper*: this program again (`agent keep
DIRECTORY`), the main process of the rank's systemd unit or process group. The keeper writes the rank's exit state, and ends
the rank when the harness has not renewed its lease: a harness that was killed, or a controller that lost its power, leaves
nothing running.

A rank's directory, `<root>/trials/<run>/<trial>/<node>/<rank>/` (nodes that are one machine share the root):
    spec.json      command, environment, limits (mode 0600: the environment holds the trial's token)
    output         stdout and stderr of the rank, in order
    checkpoint.npz what the rank can be continued from (the harness names the file); resume.npz what it began with
    keeper.json    process id, start time and boot of the keeper
    exit.json      how it ended; written last, atomically
It is removed once the harness has all of it. `<root>/held/<node>.json` is locked while a harness uses the node; `<root>/code/`
has the code, this package too, protected and checked (receive.py); `<root>/jobs/` what the ranks of `harness launch` work with.
Nobody but the node's user may enter these directories.
"""
