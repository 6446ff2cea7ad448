"""Verbs of `harness image`: parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.group import verb_app
from harness.errors import BadInputError, HarnessError
from harness.images import figures as measured
from harness.images.base import debian
from harness.images.base.make import BaseImage, is_rpios, make_debian, make_rpios
from harness.images.device.disk import MAX_BYTES, Request
from harness.images.device.write import write_image
from harness.images.emulation import board, guest
from harness.images.emulation.verify import BOOT_SECONDS, Emulation, verify
from harness.images.nodes.card_node import CardNode
from harness.images.nodes.known_hosts import dhcp_reservations, known_hosts_line, pin
from harness.images.nodes.login_key import find_key
from harness.images.nodes.make import made_for, make
from harness.paths import cache_directory

app = verb_app(
    "Make SD card images, prove them by an emulated board, and write cards.\n\n"
    "One by one; the playbook image.yml makes those of a whole inventory."
)

Images = Annotated[
    Path, typer.Option("--images", metavar="DIR", help="Directory of the nodes' images, host keys and known_hosts.")
]
Name = Annotated[str, typer.Argument(metavar="NODE", help="Name of the node, such as pi01.")]
IMAGES = Path("build/images")
GIB = 1 << 30

# What the packages below call an option after the variable of the roles.
_OPTIONS = {
    "ansible_host": "--address",
    "ansible_user": "--user",
    "image_base_rpios_archive": "--archive",
    "image_base_rpios_sha256": "--sha256",
    "image_node_authorized_keys": "--authorized-key",
    "image_node_dhcp: false": "leave out --dhcp",
    "image_node_gateway": "--gateway",
    "image_node_key_file": "--key",
    "image_node_locale": "--locale",
    "image_node_mac": "--mac",
    "image_node_nameservers": "--nameserver",
    "image_node_prefix_length": "--prefix-length",
    "image_node_timezone": "--timezone",
    "image_node_wifi_country": "--wifi-country",
    "image_node_wifi_key in a vault, or image_node_wifi_key_file": "--wifi-key-file",
    "image_node_wifi_key or image_node_wifi_key_file": "--wifi-key-file",
    "image_node_wifi_key_file": "--wifi-key-file",
    "image_node_wifi_ssid": "--wifi-ssid",
    "image_write_device": "DEVICE",
    "image_write_max_bytes": "--max-gib",
}


@contextmanager
def _told_in_options() -> Iterator[None]:
    """Errors name the options of the command line instead of the roles' variables."""
    try:
        yield
    except HarnessError as error:
        error.message, error.remedy = (_in_options(text) for text in (error.message, error.remedy))
        raise


def _in_options(text: str) -> str:
    for variable, option in _OPTIONS.items():
        text = text.replace(variable, option)
    return text


@app.command()
def base(
    *,
    suite: Annotated[str, typer.Option(help="Debian release.")] = debian.SUITE,
    package: Annotated[list[str] | None, typer.Option(help="A further Debian package (repeatable).")] = None,
    archive: Annotated[
        Path | None, typer.Option(help="A .img.xz of Raspberry Pi OS Lite 64-bit to use instead of Debian.")
    ] = None,
    sha256: Annotated[str, typer.Option(help="SHA-256 of --archive, from where you downloaded it.")] = "",
    images: Images = IMAGES,
) -> None:
    """Make the base image of all cards.

    It is found in the cache where it was made before. Its path is printed.
    """
    with _told_in_options():
        _make_private(images)
        made = make_rpios(str(archive), sha256, _cache(), images) if archive else _debian(suite, package or [], images)
    _say(f"made in {made.seconds:.1f} s" if made.changed else "found in the cache")
    typer.echo(made.image)


def _debian(suite: str, packages: list[str], images: Path) -> BaseImage:
    return make_debian(debian.DebianBase.of(suite, debian.COMPONENTS, packages), [], _cache(), images)


@app.command()
def node(
    name: Name,
    *,
    address: Annotated[str, typer.Option(help="The board's address.")],
    user: Annotated[str, typer.Option(help="Its only user: sudo without a password, no password login.")] = "pi",
    base: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="Base image.", show_default="Debian, made where not cached")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Private key whose public half may log in.", show_default="DIR/id_ed25519, made where missing"
        ),
    ] = None,
    authorized_key: Annotated[
        list[str] | None, typer.Option(help="A further public key that may log in (repeatable).")
    ] = None,
    prefix_length: Annotated[
        int, typer.Option(help="Length of the network's prefix, in bits.")
    ] = CardNode.prefix_length,
    gateway: Annotated[str, typer.Option(help="Address of the router.", show_default="none")] = "",
    nameserver: Annotated[
        list[str] | None, typer.Option(help="Address of a name server (repeatable).", show_default="none")
    ] = None,
    dhcp: Annotated[bool, typer.Option("--dhcp", help="Ask for the address instead; needs --mac.")] = False,
    mac: Annotated[str, typer.Option(help="The board's MAC address.")] = "",
    timezone: Annotated[str, typer.Option(help="Time zone.")] = CardNode.timezone,
    locale: Annotated[str, typer.Option(help="Locale.")] = CardNode.locale,
    serial_console: Annotated[
        bool, typer.Option(help="Kernel messages and a login prompt on the serial pins.")
    ] = CardNode.serial_console,
    wifi_ssid: Annotated[str, typer.Option(help="Name of a Wi-Fi to join.", show_default="a cable")] = "",
    wifi_country: Annotated[str, typer.Option(help="Its country, such as DE.")] = "",
    wifi_key_file: Annotated[str, typer.Option(help="A file with its key.")] = "",
    images: Images = IMAGES,
) -> None:
    """Make the image of one node and pin its host key.

    The key is pinned in known_hosts beside the images. The image's path is printed.
    """
    with _told_in_options():
        _make_private(images)
        public, _ = find_key(key.expanduser() if key else _own_key(images), may_make=key is None)
        settings = {
            "name": name,
            "address": address,
            "user": user,
            "authorized_keys": [public, *(authorized_key or ())],
            "prefix_length": prefix_length,
            "gateway": gateway,
            "nameservers": nameserver or [],
            "dhcp": dhcp,
            "mac": mac,
            "timezone": timezone,
            "locale": locale,
            "serial_console": serial_console,
            "wifi": {"ssid": wifi_ssid, "country": wifi_country, "key_file": wifi_key_file},
        }
        one = CardNode.parse(settings)
        begin_with = base or _debian(debian.SUITE, [], images).image
        if not begin_with.is_file():
            raise BadInputError(f"{begin_with}: no such base image", "make it first: `harness image base`")
        made = make(one, begin_with, is_rpios(begin_with), images, images / "host_keys")
    pin(images / "known_hosts", [known_hosts_line(one, made.host_key)])
    _say(f"made in {made.seconds:.1f} s" if made.changed else "nothing to change")
    if reservation := dhcp_reservations([one]):
        _say(f"reserve its address: {reservation.strip()}")
    typer.echo(made.image)


@app.command("verify")
def verify_verb(
    name: Name,
    *,
    key: Annotated[
        Path | None, typer.Option(help="Private key that may log in.", show_default="DIR/id_ed25519")
    ] = None,
    machine: Annotated[
        str, typer.Option(help=f"What is emulated: {', '.join(board.MACHINES)}; virt is faster and proves less.")
    ] = board.MACHINES[0],
    boot_seconds: Annotated[
        float, typer.Option(min=1, help="Limit from power on to SSH, and again to the end of the first boot.")
    ] = BOOT_SECONDS,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the emulated node running.")] = False,
    images: Images = IMAGES,
) -> None:
    """Boot an image as an emulated Raspberry Pi 3.

    It must come up as the node it was made for: name, address, board, passwords off.
    """
    with _told_in_options():
        image = images / f"{name}.img"
        one, host_key = made_for(image)
        private = key.expanduser() if key else _own_key(images)
        if not private.is_file():
            raise BadInputError(f"{private}: no such private key", "name the one that may log in with --key")
        emulation = Emulation(one, image, machine, _emulated(images, name), private, host_key, boot_seconds)
        booted = verify(emulation, images, keep=keep)
    for label, value in booted.identity.items():
        typer.echo(f"{label}: {value}")
    typer.echo(f"SSH after {booted.ssh_seconds:.0f} s, ready after {booted.ready_seconds:.0f} s")
    if keep:
        typer.echo(
            f"it runs: ssh -i {private} -p {booted.port} -o HostKeyAlias={name} "
            f"-o UserKnownHostsFile={emulation.directory / 'known_hosts'} {one.user}@127.0.0.1"
        )
        typer.echo(f"end it: harness image stop {name}")


@app.command()
def stop(name: Name, images: Images = IMAGES) -> None:
    """Stop what `verify --keep` left running."""
    typer.echo(f"{name} stopped" if guest.stop(_emulated(images, name)) else f"{name} was not running: nothing to do")


@app.command()
def write(
    name: Annotated[str, typer.Argument(metavar="NODE", help="Name of the node, or the path of an image (.img).")],
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The card's whole device, best by /dev/disk/by-id/.")],
    *,
    serial: Annotated[
        str | None, typer.Option(help="The device's serial, to confirm; asked for where it is left out.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at the device and write nothing.")] = False,
    max_gib: Annotated[float, typer.Option(min=0, help="Refuse a larger device, in GiB.")] = MAX_BYTES / GIB,
    allow_loop: Annotated[bool, typer.Option("--allow-loop", help="Allow a loop device, for trying it out.")] = False,
    images: Images = IMAGES,
) -> None:
    """Write an image to a card, as root.

    It is read back and compared. Whatever may be no card is refused.
    """
    image = Path(name) if name.endswith(".img") else images / f"{name}.img"
    request = {"image": image, "device": device, "max_bytes": int(max_gib * GIB), "allow_loop": allow_loop}
    with _told_in_options():
        found = write_image(Request.parse({**request, "write": False}))
        _say(f"{found['path']}: {found['model']}, serial {found['serial'] or 'none'}, {found['bytes'] / GIB:.2f} GiB")
        if dry_run:
            _say(f"--dry-run: nothing was written; confirm with --serial {found['confirm']}")
            return
        confirm = _confirmation(found, image) if serial is None else serial
        done = write_image(Request.parse({**request, "write": True, "confirm": confirm}))
    typer.echo(
        f"{done['written_bytes']} B written in {done['write_seconds']:.1f} s, "
        f"read back and compared in {done['verify_seconds']:.1f} s"
    )


def _confirmation(found: dict[str, Any], image: Path) -> str:
    if not sys.stdin.isatty():
        raise BadInputError(
            f"{found['path']} will not be written: nobody is there to confirm it", f"give --serial {found['confirm']}"
        )
    _say(f"{found['path']} will be overwritten with {image}.")
    return str(typer.prompt(f"Type {found['confirm']} to go on", err=True))


@app.command()
def figures(images: Images = IMAGES) -> None:
    """Show the measured seconds beside what they may be."""
    known = measured.read(images)
    for row in measured.bars(known):
        verdict = "held" if row["held"] else "missed"
        typer.echo(f"{row['name']}: {row['seconds']} s, at most {row['bar_seconds']} s: {verdict}")


def _cache() -> Path:
    return cache_directory() / "images"


def _make_private(images: Path) -> None:
    """Make the directory, for its owner's eyes alone: host keys are secrets."""
    images.mkdir(parents=True, exist_ok=True, mode=0o700)


def _own_key(images: Path) -> Path:
    return images / "id_ed25519"


def _emulated(images: Path, name: str) -> Path:
    return images / "verify" / name


def _say(text: str) -> None:
    typer.echo(text, err=True)
