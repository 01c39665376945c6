"""The cage around one process of the learner's: what it started, kept or opened ends with it.

On Linux each process gets namespaces of its own, where the system lets us: it is the first process of its
process space, sees no network and no other process, and writes to folders that are gone with it. Elsewhere it
has limits and a folder of its own. As a script, this tells which of the two works here, and why.

It uses nothing but Python's own modules.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

with contextlib.suppress(ModuleNotFoundError):  # Windows has none, and no process is put into a cage there
    import resource

__all__ = ["CAGE", "NOBODY", "SANDBOX", "WORDS", "Cage", "best_cage"]

CAGE = __file__  #: as a script it prints the name of the cage that works, and why not the better one
WORDS = {
    "namespaces": "each process in namespaces of its own",
    "limits": "each process with limits and without namespaces of its own",
}
MIB = 2**20
SANDBOX = "EIP_SANDBOX"  #: set where bubblewrap has hidden all files that are nobody's business
LIMITS = {
    "RLIMIT_CORE": 0,
    "RLIMIT_FSIZE": MIB,
    "RLIMIT_NOFILE": 64,
    "RLIMIT_AS": 1024 * MIB,
    "RLIMIT_CPU": 20,
}
WORKS = "they work"
CROWD = 64  #: processes and threads
NOBODY = 65534
OWN_ACCOUNTS = 2**30  #: from here on numbers are no accounts; each zygote has 256 of its own

NEW_USER, NEW_MOUNTS, NEW_PROCESSES = 0x10000000, 0x00020000, 0x20000000
NEW_OTHERS = 0x04000000 | 0x08000000 | 0x40000000  # uts, ipc, net
READ_ONLY, PRIVATE, BIND, RECURSIVE = 1, 1 << 18, 4096, 16384
NO_SUID_NO_DEVICES = 2 | 4
MOUNT_SETATTR, ATTR_READ_ONLY, HERE, ALL_BELOW = 442, 1, -100, 0x8000
KEYCTL = {"x86_64": 250, "aarch64": 219}
END_WITH_PARENT, SUBREAPER, NO_NEW_PRIVILEGES = 1, 36, 38
CAPABILITIES_3 = 0x20080522

EMPTY = ("/tmp", "/dev/shm")  # what each process gets anew
ALSO_EMPTY = ("/home", "/media", "/mnt", "/root", "/run", "/srv", "/var")  # where bubblewrap does not hide it
COURSE = Path(__file__).resolve().parents[3]
NOT_TOLD = ("exercises", "solutions", "tests")  # folders of the course that hold answers


Live = Callable[[Callable[[], None]], None]


class Cage:
    """The weaker cage: limits, a process group, a folder; where root grades, an account for each process."""

    spaces = False

    def __init__(self) -> None:
        self._folders: dict[int, str] = {}  #: of the processes that have not been ended
        self._count = 0
        self._accounts = OWN_ACCOUNTS + int.from_bytes(os.urandom(2)) * 256
        if sys.platform == "linux":  # what a process leaves behind becomes a child of this one
            _call("prctl", SUBREAPER, 1, 0, 0, 0)

    def fork(self, live: Live) -> int:
        """Start a process that calls `live` in the cage, with what gives up its last rights."""
        self._count += 1
        folder = tempfile.mkdtemp(prefix="answer-")  # a new name: a number comes again one day
        child = os.fork()
        if child == 0:
            _lead(live, folder, self._give_up_rights, counted=os.geteuid() == 0 or SANDBOX in os.environ)
        self._folders[child] = folder
        return child

    def end(self, child: int) -> None:
        """End a process and what it started, once. It is not waited for before: its number is no other's."""
        folder = self._folders.pop(child, None)
        if folder is None:
            return
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for _ in range(100):  # each that ends leaves its own children to us
            if not [*map(_end_left_one, _children() - {*self._folders})]:
                break
        shutil.rmtree(folder, ignore_errors=True)

    def end_all(self) -> None:
        """End all processes."""
        for child in [*self._folders]:
            self.end(child)

    def _give_up_rights(self) -> None:
        if os.geteuid() == 0:
            own = self._accounts + self._count % 256
            for account in (own, NOBODY):  # some containers have no such numbers
                with contextlib.suppress(OSError):
                    os.setgroups([])
                    os.setresgid(account, account, account)
                    os.setresuid(account, account, account)
                    break
        if sys.platform == "linux":
            _drop_capabilities()


class Spaces(Cage):
    """The cage of namespaces. The end of its first process is the end of all in it.

    To make one changes this process for good: it goes on in a child, in a process space that it may come
    back to, so that each life takes one fork. Raises OSError where the system does not let us.
    """

    spaces = True

    def __init__(self) -> None:
        super().__init__()
        _unshare(NEW_MOUNTS | NEW_PROCESSES)
        _set_mounts(PRIVATE)
        needed = _needed()
        if SANDBOX not in os.environ:
            _hide([*ALSO_EMPTY, *(str(COURSE / name) for name in NOT_TOLD)], needed)
        _go_on_in_a_child()
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._needed = needed

    def fork(self, live: Live) -> int:
        """Start a process that calls `live` in the cage. Raises OSError."""
        self._count += 1
        _call("unshare", NEW_PROCESSES)  # it begins with the next child
        try:
            child = os.fork()
            if child == 0:
                _lead(live, "/tmp", self._give_up_rights, counted=True, enter=self._enter)
        finally:
            _call("setns", self._own, NEW_PROCESSES)
        self._folders[child] = ""
        return child

    def _enter(self) -> None:
        os.close(self._own)
        _unshare(NEW_MOUNTS | NEW_OTHERS)
        keyring = KEYCTL.get(platform.machine())
        if keyring:  # a new one: the keys of a session would outlive its processes
            _library().syscall(keyring, 1, 0)  # refused where there are none to share
        with contextlib.suppress(OSError):  # pages that no process holds need not be in sight of any
            _write("/proc/sys/kernel/shmall", str(16 * MIB // resource.getpagesize()))
        _set_mounts(PRIVATE, ATTR_READ_ONLY)
        _hide(EMPTY, self._needed)
        _mount(b"tmpfs", "/proc", READ_ONLY | NO_SUID_NO_DEVICES, b"size=4k")

    def end(self, child: int) -> None:
        """End a process and what it started, once."""
        if self._folders.pop(child, None) is not None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def best_cage() -> Cage:
    """The cage of namespaces where the system lets us, else the weaker one."""
    return Cage() if why_no_spaces() else Spaces()


def why_no_spaces() -> str:
    """The reason why this system gives no namespaces; "" where it does. It is tried, in a child."""
    if sys.platform != "linux":
        return "only Linux has namespaces"
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        said = "a process does not live in them"
        try:
            life = Spaces().fork(lambda give_up_rights: give_up_rights())
            said = said if os.waitpid(life, 0)[1] else WORKS
        except OSError as error:
            said = f"the system gives no namespaces: {error.args[1]}"
        finally:
            os.write(writes, said.encode())
            os._exit(1)
    os.close(writes)
    with open(reads, encoding="utf-8") as told:
        said = told.read()
    os.waitpid(child, 0)
    return "" if said == WORKS else said or "what tried them was ended"


def _lead(
    live: Live,
    folder: str,
    give_up_rights: Callable[[], None],
    *,
    counted: bool,
    enter: Callable[[], None] = lambda: None,
) -> NoReturn:
    """Lead the life of a new process. `counted` says that processes are counted for its account alone."""
    failed = 1
    try:
        enter()
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.close(nothing)
        if folder != "/tmp":
            os.chmod(folder, 0o777)
        os.chdir(folder)
        tempfile.tempdir = os.environ["HOME"] = os.environ["TMPDIR"] = folder
        for name, most in LIMITS.items():
            with contextlib.suppress(ValueError):  # macOS knows no limit of memory
                resource.setrlimit(getattr(resource, name), (most, most))
        if counted:
            resource.setrlimit(resource.RLIMIT_NPROC, (CROWD, CROWD))
        live(give_up_rights)
        failed = 0
    finally:
        os._exit(failed)


def _children() -> set[int]:
    """The children of this process, as far as the system tells."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return {*map(int, file.read().split())}
    except OSError:
        return set()


def _end_left_one(child: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# Namespaces


def _unshare(spaces: int) -> None:
    """Get namespaces of one's own. Raises OSError where the system does not let us."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _call("unshare", spaces)  # its rights go with the account, see `_give_up_rights`
        return
    _call("unshare", NEW_USER | spaces)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _set_mounts(propagation: int, attributes: int = 0) -> None:
    """Set how all mounts are shared, and attributes that they get."""
    setting = struct.pack("QQQQ", attributes, 0, propagation, 0)
    _call("syscall", MOUNT_SETATTR, HERE, b"/", ALL_BELOW, setting, len(setting))


def _go_on_in_a_child() -> None:
    """Return in a child, which ends with this process; this one waits for it, and ends as it does."""
    child = os.fork()
    if child == 0:
        _call("prctl", END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        return
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os._exit(os.waitpid(child, 0)[1] != 0)
    finally:
        os._exit(1)


def _hide(folders: Sequence[str], needed: Sequence[str]) -> None:
    """Lay an empty folder over each, but keep what Python and `eip_ref` are read from."""
    kept = {
        path: os.open(path, os.O_PATH)
        for path in needed
        if any(path.startswith(f"{folder}/") for folder in folders)
    }
    for folder in folders:
        if os.path.isdir(folder):
            size = "16m" if folder in EMPTY else "4k"
            _mount(b"tmpfs", folder, NO_SUID_NO_DEVICES, f"size={size},mode=1777".encode())
    for path, file in kept.items():
        os.makedirs(path)
        _mount(f"/proc/self/fd/{file}".encode(), path, BIND | RECURSIVE)
        os.close(file)


def _needed() -> list[str]:
    """The folders that Python reads, the outer ones alone; of the course only its package."""
    package = Path(__file__).resolve().parents[2]
    paths = map(str, (sys.prefix, sys.base_prefix, *sys.path, package))
    read = {Path(path) for path in paths if os.path.isdir(path)}
    read.discard(package.parent)
    return [str(path) for path in sorted(read) if not read & {*path.parents}]


def _mount(source: bytes, target: str, flags: int, data: bytes | None = None) -> None:
    _call("mount", source, target.encode(), b"tmpfs", ctypes.c_ulong(flags), data)


def _drop_capabilities() -> None:
    """Keep no right that the account has in its own namespaces, and get none by starting a program."""
    _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call("capset", struct.pack("Ii", CAPABILITIES_3, 0), bytes(24))


@cache
def _library() -> ctypes.CDLL:
    """The C library."""
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: Any) -> None:
    """Call a function of the C library: Python 3.11 has no `os.unshare`. Raises OSError."""
    if getattr(_library(), name)(*args) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


if __name__ == "__main__":
    why = why_no_spaces()
    print("limits" if why else "namespaces", why)
