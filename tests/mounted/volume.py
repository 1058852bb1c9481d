"""Volumes for the suites: making them, mounting them, and the file systems that do so.

The suites test ntfs-wal; NTFS_WAL_SUBJECT=ntfs-3g (or ext4) runs them with a peer instead, which
shows that a suite itself is right. NTFS_WAL_BUILD names the build folder (build), NTFS_WAL_WORK
where images and mount points go (/var/tmp; it must be a real disk for O_DIRECT).
"""
import contextlib
import os
import shutil
import subprocess
import tempfile
import time

from cases import CaseFailure, CaseSkipped

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("NTFS_WAL_BUILD") or os.path.join(ROOT, "build"))
WORK = os.environ.get("NTFS_WAL_WORK") or "/var/tmp"
PROGRAM = os.path.join(BUILD, "ntfs-wal")
IMAGES = os.environ.get("NTFS_WAL_IMAGES") or os.path.join(
    os.path.dirname(ROOT), "shared", "images"
)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def run(*command, timeout=120, check=True, **options):
    """Runs a command; its output is in the failure when it fails or takes too long."""
    shown = " ".join(str(word) for word in command)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            text=True,
            errors="replace",
            **options,
        )
    except subprocess.TimeoutExpired as late:
        raise CaseFailure(f"no end after {timeout} s: {shown}") from late
    if check and done.returncode != 0:
        raise CaseFailure(
            f"exit code {done.returncode}: {shown}\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return done


def wait_until(condition, what, timeout=30.0):
    """Polls until the condition holds: states are waited for, never slept for."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise CaseFailure(f"not within {timeout} s: {what}")
        time.sleep(0.02)


def is_mounted(directory):
    real = os.path.realpath(directory).encode().replace(b" ", b"\\040")
    with open("/proc/self/mounts", "rb") as mounts:
        return any(line.split()[1] == real for line in mounts)


def server_of(directory, names=("ntfs-wal", "mount.ntfs-wal")):
    """The process that serves the mount, or None: it has the mount point on its command line."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as source:
                words = source.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if directory in words and os.path.basename(words[0]) in names and int(pid) != os.getpid():
            return int(pid)
    return None


def make_sparse(image, size):
    with open(image, "wb") as out:
        out.truncate(size)


class NtfsWal:
    name = "ntfs-wal"
    is_ntfs = True

    def format(self, image, size, *options):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(image)
        run(PROGRAM, "format", image, "--size", size, *options)

    def mount(self, image, directory, options=""):
        extra = ["-o", options] if options else []
        run(PROGRAM, "mount", image, directory, *extra, timeout=60)

    def unmount(self, directory):
        run(PROGRAM, "umount", directory, timeout=180)


class Ntfs3g:
    name = "ntfs-3g"
    is_ntfs = True

    def format(self, image, size, *options):
        make_sparse(image, size)
        clusters = (
            ["-c", options[options.index("--cluster-size") + 1]]
            if "--cluster-size" in options
            else []
        )
        run("mkntfs", "-q", "-F", *clusters, image)

    def mount(self, image, directory, options=""):
        run(
            "ntfs-3g",
            "-o",
            ",".join(filter(None, ["big_writes,special_files=wsl", options])),
            image,
            directory,
        )

    def unmount(self, directory):
        # The daemon writes its last metadata after the unmount, with the image open all the while.
        run("umount", directory)
        wait_until(
            lambda: run("pgrep", "-f", f"ntfs-3g .* {directory}$", check=False).returncode != 0,
            "ntfs-3g ended",
        )


class Ext4:
    name = "ext4"
    is_ntfs = False

    def format(self, image, size, *_options):
        make_sparse(image, size)
        run("mke2fs", "-q", "-t", "ext4", "-m", "0", "-F", "-I", "256", image)

    def mount(self, image, directory, options=""):
        run("mount", "-o", ",".join(filter(None, ["loop", options])), image, directory)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(directory, "lost+found"))

    def unmount(self, directory):
        run("umount", directory)


SUBJECTS = {subject.name: subject for subject in (NtfsWal(), Ntfs3g(), Ext4())}


def subject():
    """The file system under test; the suite is skipped when it is not built."""
    chosen = SUBJECTS[os.environ.get("NTFS_WAL_SUBJECT") or "ntfs-wal"]
    if chosen.name == "ntfs-wal" and not os.access(PROGRAM, os.X_OK):
        raise CaseSkipped(f"{PROGRAM} is not built: run scripts/build")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise CaseSkipped("no access to /dev/fuse on this machine")
    return chosen


def subject_of(suite, no_peer=None):
    """The file system under test. Where there is none the suite ends, skipped; likewise where it is
    a peer, of which `no_peer` says why it cannot be judged."""
    try:
        driver = subject()
        if no_peer and driver.name != "ntfs-wal":
            raise CaseSkipped(f"{driver.name} {no_peer}")
        return driver
    except CaseSkipped as reason:
        suite.skip("all", str(reason))
        suite.finish()


def force_unmount(directory):
    for command in (["fusermount3", "-u", "-z", directory], ["umount", "-l", directory]):
        if is_mounted(directory):
            subprocess.run(command, capture_output=True, timeout=30, check=False)


@contextlib.contextmanager
def mounted(driver, image, options="", directory=None):
    """The image's tree while the context lasts; unmounted cleanly, or by force on failure."""
    place = directory or tempfile.mkdtemp(prefix="mount-", dir=os.path.dirname(image))
    try:
        driver.mount(image, place, options)
        yield place
        driver.unmount(place)
    finally:
        force_unmount(place)
        if directory is None:
            with contextlib.suppress(OSError):
                os.rmdir(place)


@contextlib.contextmanager
def killed(image, directory, options=""):
    """Mounted by ntfs-wal while the context lasts; the daemon is killed at its end."""
    more = ["-o", options] if options else []
    server = subprocess.Popen(
        [PROGRAM, "mount", "-f", image, directory, *more], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: is_mounted(directory), "mounted")
        yield
    finally:
        server.kill()
        server.wait(timeout=60)
        force_unmount(directory)


@contextlib.contextmanager
def work_directory(prefix):
    path = tempfile.mkdtemp(prefix=f"ntfs-wal-{prefix}-", dir=WORK)
    try:
        yield path
    finally:
        for name in os.listdir(path):
            force_unmount(os.path.join(path, name))
        shutil.rmtree(path, ignore_errors=True)


RINGS_SWITCH = "/sys/module/fuse/parameters/enable_uring"


def may_turn_rings():
    """Whether the kernel has FUSE over io_uring, and this program may turn it on."""
    return os.access(RINGS_SWITCH, os.W_OK)


@contextlib.contextmanager
def rings(value):
    """FUSE over io_uring for mounts that are made meanwhile: "Y" or "N"; then as it was."""
    with open(RINGS_SWITCH, encoding="ascii") as source:
        before = source.read()
    try:
        with open(RINGS_SWITCH, "w", encoding="ascii") as out:
            out.write(value)
        yield
    finally:
        with open(RINGS_SWITCH, "w", encoding="ascii") as out:
            out.write(before)


SOURCES = {
    "fsx": ["tests/mounted/fsx.cc", "tests/support/sha256.cc"],
    "hammer": ["tests/mounted/hammer.cc"],
    "listing": ["tests/mounted/listing.cc"],
    "tree_lister": ["tests/support/tree_lister.cc", "tests/support/sha256.cc"],
    "metadata_bench": ["tests/support/metadata_bench.cc"],
    "memory_fuse": ["tests/support/memory_fuse.cc"],
}
FUSE_FLAGS = ["-I/usr/include/fuse3", "-lfuse3"]


def program(name):
    """Path of a test program: that of the build, or compiled here when that is missing or old."""
    sources = [os.path.join(ROOT, source) for source in SOURCES[name]]
    newest = max(os.path.getmtime(source) for source in sources)
    built = os.path.join(BUILD, "tests", "mounted", name)
    if os.path.exists(built) and os.path.getmtime(built) >= newest:
        return built
    cache = os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ntfs-wal"
    )
    os.makedirs(cache, exist_ok=True)
    target = os.path.join(cache, name)
    if not os.path.exists(target) or os.path.getmtime(target) < newest:
        part = f"{target}.{os.getpid()}"
        flags = FUSE_FLAGS if name == "memory_fuse" else []
        run(
            "g++",
            "-std=c++20",
            "-O2",
            "-I",
            ROOT,
            *sources,
            "-o",
            part,
            *flags,
            "-lpthread",
            timeout=300,
        )
        os.rename(part, target)
    return target


def unpack_image(name, directory):
    """Unpacks one of the collected images; skipped when the collection is not there."""
    archive = os.path.join(IMAGES, name + ".img.tar.xz")
    if not os.path.exists(archive):
        raise CaseSkipped(f"no {archive} (NTFS_WAL_IMAGES names the folder)")
    run("tar", "-xSJf", archive, "-C", directory, timeout=300)
    return os.path.join(directory, os.path.basename(name) + ".img")
