"""Network namespaces as hosts: each has an address, an SSH server, a home, /tmp, /dev/shm, processes of its own.

They reach each other through a bridge and nothing else. Needs root, iproute2, openssh-server and rsync.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweep.cluster.processes import descendants

MINE = os.getpid() % 250
"""Two test runs at once have different names and addresses."""
NETWORK = f"10.77.{MINE}"
HOME = "/run/sweeper"
SHARED = "/run/shared"
"""Where every host sees the shared folder."""
USER = "root"
PROGRAMS = ("ip", "sshd", "rsync", "ssh-keygen", "unshare", "setsid")
PROBE = """
mount -t tmpfs tmpfs /tmp; mkdir /tmp/upper /tmp/work /tmp/all
mount -t overlay overlay -o lowerdir=/etc,upperdir=/tmp/upper,workdir=/tmp/work /tmp/all
"""
HOST = """
set -e
hostname {name}; mount --make-rprivate /
mount --bind {folder}/passwd /etc/passwd; mount --bind {folder}/hosts /etc/hosts; mount -t tmpfs tmpfs /dev/shm
mount --bind {shared} {folder}/run/shared
mount -t tmpfs tmpfs {folder}/changes; cp -a {folder}/../environment {folder}/changes/upper; mkdir {folder}/changes/work
mount -t overlay overlay -o lowerdir={packages},upperdir={folder}/changes/upper,workdir={folder}/changes/work \
    {folder}/run/sweeper/venv
mount --rbind {folder}/run /run
cd /; mount --bind {folder}/tmp /tmp
exec {sshd} -D -e -h /run/sshd/host_key -o PidFile=none -o PermitRootLogin=prohibit-password \
    -o PasswordAuthentication=no -o UsePAM=no -o StrictModes=no -o AuthorizedKeysFile={home}/.ssh/authorized_keys
"""


def what_is_missing() -> str | None:
    """Return why no hosts can be made here, None if they can."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-ec", PROBE], capture_output=True)
    return None if probe.returncode == 0 else f"no namespaces or overlays here: {probe.stderr.decode().strip()}"


@dataclass(frozen=True)
class Host:
    """One of them, as the others see it."""

    name: str
    address: str
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def home(self) -> Path:
        """Its home, seen from outside."""
        return self.folder / HOME.removeprefix("/")

    def run(self, command: str, *, key: Path, timeout: float = 120) -> str:
        """Run a command there through SSH, in a login shell as Ray does."""
        options = ["-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        done = subprocess.run(
            ["ssh", "-q", *options, f"{USER}@{self.address}", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def processes(self) -> dict[int, str]:
        """Return the command lines of what runs there, except its SSH server."""
        found = {}
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if line and "sshd" not in line:
                    found[pid] = line
        return found

    def cut(self) -> None:
        """Take its link down."""
        _ip("link", "set", _link(self.name), "down")

    def mend(self) -> None:
        """Bring its link up."""
        _ip("link", "set", _link(self.name), "up")


@contextlib.contextmanager
def hosts(count: int, folder: Path, shared: Path) -> Iterator[list[Host]]:
    """Make hosts h1, h2, ... for the block; `shared` is a folder that all see. `folder`/key opens them.

    Each has a ~/venv already, as a machine without a way to PyPI: this Python's packages, over which its changes lie.
    """
    _moved_scripts(folder / "environment")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    made: list[Host] = []
    bridge = f"br-sweep{MINE}"
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{NETWORK}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        names = {f"h{number}": f"{NETWORK}.{10 + number}" for number in range(1, count + 1)}
        for name, address in names.items():
            made.append(_start(name, address, names, bridge, folder, shared))
        for host in made:
            _wait_for_ssh(host, folder / "key")
        yield made
    finally:
        for host in made:
            _stop(host)
        for name in [f"h{number}" for number in range(1, count + 1)]:
            # The link first: a namespace lives on while something in it still ends.
            subprocess.run(["ip", "link", "del", _link(name)], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", _namespace(name)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


def _moved_scripts(folder: Path) -> None:
    """Write how a ~/venv differs from this Python: the paths in its scripts, and no way to the checkout."""
    (folder / "bin").mkdir(parents=True)
    mine = f"#!{sys.prefix}".encode()
    for script in Path(sys.prefix, "bin").iterdir():
        if script.is_file() and not script.is_symlink() and (content := script.read_bytes()).startswith(mine):
            copy = folder / "bin" / script.name
            copy.write_bytes(content.replace(mine, f"#!{HOME}/venv".encode(), 1))
            copy.chmod(0o755)
    for link in Path(sys.prefix).glob("lib/python*/site-packages/__editable__*sweep*.pth"):
        empty = folder / link.relative_to(sys.prefix)
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.write_text("")


def _link(name: str) -> str:
    return f"v{MINE}-{name}"


def _namespace(name: str) -> str:
    return f"sweep{MINE}-{name}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _start(name: str, address: str, names: dict[str, str], bridge: str, folder: Path, shared: Path) -> Host:
    own = folder / name
    for part in ("run/sweeper/.ssh", "run/sweeper/venv", "run/shared", "run/sshd", "tmp", "changes"):
        (own / part).mkdir(parents=True)
    (own / "tmp").chmod(0o1777)
    (own / "run/sshd").chmod(0o755)
    shutil.copy(folder / "key", own / "run/sshd/host_key")
    shutil.copy(folder / "key.pub", own / "run/sweeper/.ssh/authorized_keys")
    for file in (".bashrc", ".profile"):
        shutil.copy(f"/etc/skel/{file}", own / "run/sweeper" / file)
    (own / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {host}\n" for host, ip in names.items()))
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    entries = [[*parts[:5], HOME, "/bin/bash"] if parts[0] == USER else parts for parts in users]
    (own / "passwd").write_text("".join(":".join(parts) + "\n" for parts in entries))
    namespace, link = _namespace(name), _link(name)
    _ip("netns", "add", namespace)
    _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip("link", "set", link, "master", bridge)
    _ip("link", "set", link, "up")
    _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    _ip("-n", namespace, "link", "set", "eth0", "up")
    _ip("-n", namespace, "link", "set", "lo", "up")
    _ip("-n", namespace, "route", "add", "default", "via", f"{NETWORK}.1")
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    script = HOST.format(name=name, home=HOME, folder=own, shared=shared, sshd=sshd, packages=sys.prefix)
    isolation = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # Nothing of the caller's environment: a host has its own.
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, "unshare", *isolation, "bash", "-c", script],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": HOME},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Host(name, address, own, process)


def _wait_for_ssh(host: Host, key: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            host.run("true", key=key, timeout=10)
            return
        except (AssertionError, subprocess.TimeoutExpired):
            if time.monotonic() > deadline:
                raise AssertionError(Path(f"{host.folder}.log").read_text()) from None
            time.sleep(0.2)


def _stop(host: Host) -> None:
    """End all processes of a host: the first one of its PID namespace takes the others along."""
    for pid in [*descendants(host.process.pid), host.process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    host.process.wait()
