#!/usr/bin/python3
"""What files have beside their contents, by every reader there is, and their comparison.

Details map (path, what) to text. The root's path is "". A value that a reader has and cannot tell is
None; of what it can tell of no file at all, it says so in `untold`.

  what          value
  stream NAME   length and SHA-256 of a named stream (those of symlinks: not through a mount, where
                extended attributes of the namespace user.* stand for them)
  system.NAME   the extended attribute by which ntfs-3g and ntfs-wal show the same bytes, in hex;
                "!" and an error where reading it failed

  reader        tells
  mount         (of ntfs-wal or ntfs-3g) all; streams of more than 64 KiB by their names alone.
                Of a file with several links, ntfs-3g tells the 8.3 name where the link has it, ntfs-wal
                where any has
  libfsntfs     streams, attribute bits (not that of directories and of indexes), times, descriptors in
                $Secure
  sleuthkit     streams that are not empty (of those it shows no names)

command line: details.py READER SOURCE            prints the details
"""
import ctypes
import errno
import hashlib
import os
import re
import stat
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cases import CaseSkipped  # noqa: E402
from manifest import FIRST_USER_RECORD, SYSTEM_NAMES  # noqa: E402
from volume import mounted  # noqa: E402

ATTRIBUTES, TIMES, DESCRIPTOR = "system.ntfs_attrib", "system.ntfs_times", "system.ntfs_acl"
SHORT_NAME = "system.ntfs_dos_name"
SYSTEM = (
    ATTRIBUTES,
    TIMES,
    DESCRIPTOR,
    SHORT_NAME,
    "system.ntfs_reparse_data",
    "system.ntfs_ea",
    "system.ntfs_object_id",
    "system.ntfs_efsinfo",
)
STREAM = "stream"
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.lgetxattr.restype = ctypes.c_ssize_t
TROUBLE = "!"
STREAMS_AS_XATTR = "streams_interface=xattr"
NOT_OF_LIBFSNTFS = 0x10 | 0x10000000 | 0x20000000


class Details(dict):
    def __init__(self):
        super().__init__()
        self.untold = set()


def get_attribute(place, name):
    """With room for all: ntfs-3g gives EIO when there is less than the value needs."""
    room = ctypes.create_string_buffer(65536)
    length = LIBC.lgetxattr(
        os.fsencode(place), name.encode("utf-8", "surrogateescape"), room, 65536
    )
    if length < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)
    return room.raw[:length]


def kind_of(what):
    return what.split(" ")[0]


def digest(content):
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}"


def add_streams(details, path, place):
    names = [name for name in os.listxattr(place, follow_symlinks=False) if name[:5] == "user."]
    for name in names:
        value = None
        if not stat.S_ISLNK(os.lstat(place).st_mode):
            try:
                value = digest(get_attribute(place, name))
            except OSError as error:
                if error.errno not in (errno.E2BIG, errno.ERANGE):
                    value = f"{TROUBLE}{errno.errorcode[error.errno]}"
        details[path, f"{STREAM} {name[5:]}"] = value


def add_system(details, path, place):
    for name in SYSTEM:
        try:
            details[path, name] = get_attribute(place, name).hex()
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                details.untold.add(name)
            elif error.errno != errno.ENODATA:
                details[path, name] = f"{TROUBLE}{errno.errorcode[error.errno]}"


def from_directory(directory, streams=True):
    """Of a mounted tree, whose streams are shown as user.*."""
    details = Details()
    if not streams:
        details.untold.add(STREAM)
    places = [directory]
    for parent, directories, files in os.walk(directory):
        places += (os.path.join(parent, name) for name in directories + files)
    for place in places:
        path = os.path.relpath(place, directory).removeprefix(".")
        add_system(details, path, place)
        if streams:
            add_streams(details, path, place)
    return details


def from_mount(driver, image):
    with mounted(driver, image, "ro," + STREAMS_AS_XATTR) as directory:
        return from_directory(directory)


def add_file_of_libfsntfs(details, path, entry):
    bits = entry.file_attribute_flags & ~NOT_OF_LIBFSNTFS
    details[path, ATTRIBUTES] = struct.pack("<I", bits).hex()
    times = (
        entry.get_creation_time_as_integer(),
        entry.get_modification_time_as_integer(),
        entry.get_access_time_as_integer(),
        entry.get_entry_modification_time_as_integer(),
    )
    details[path, TIMES] = struct.pack("<4Q", *times).hex()
    try:
        descriptor = entry.security_descriptor_data
    except OSError:
        descriptor = None  # neither in $Secure nor in an attribute
    details[path, DESCRIPTOR] = descriptor.hex() if descriptor else None
    for stream in entry.alternate_data_streams:
        content = stream.read(stream.size) if stream.size else b""
        details[path, f"{STREAM} {stream.name}"] = digest(content)


def from_libfsntfs(image):
    try:
        import pyfsntfs
    except ImportError as missing:
        raise CaseSkipped("python3-libfsntfs is not installed") from missing
    volume = pyfsntfs.volume()
    volume.open(image)
    details = Details()
    details.untold.update(set(SYSTEM) - {ATTRIBUTES, TIMES, DESCRIPTOR})
    pending = [("", volume.get_root_directory())]
    while pending:
        path, entry = pending.pop()
        add_file_of_libfsntfs(details, path, entry)
        if not entry.has_directory_entries_index():
            continue
        for child in entry.sub_file_entries:
            if child.file_reference & 0xFFFFFFFFFFFF >= FIRST_USER_RECORD and child.name:
                pending.append((os.path.join(path, child.name), child))
    volume.close()
    return details


def is_of_system(path):
    return path.split("/")[0].split(":")[0] in SYSTEM_NAMES


def from_sleuthkit(image):
    details = Details()
    details.untold.update(SYSTEM)
    listing = subprocess.run(
        ["fls", "-u", "-r", "-p", image], capture_output=True, timeout=900, check=True
    )
    lines = [
        re.fullmatch(r"\S+ (?:\* )?(\d+)-(\d+)-(\d+)(?:\([^)]*\))?:\t(.*)", line)
        for line in listing.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
    ]
    entries = [line.groups() for line in lines if line and not is_of_system(line.group(4))]
    numbers = {path: number for number, _, _, path in entries}
    for number, kind, identifier, name in entries:
        path, _, stream = name.rpartition(":")
        if kind == "128" and numbers.get(path) == number:
            source = f"{number}-{kind}-{identifier}"
            content = subprocess.run(
                ["icat", image, source], capture_output=True, timeout=120, check=True
            ).stdout
            details[path, f"{STREAM} {stream}"] = digest(content)
    return details


def adapt_to_libfsntfs(what, value):
    if what != ATTRIBUTES or value is None:
        return value
    bits = struct.unpack("<I", bytes.fromhex(value))[0] & ~NOT_OF_LIBFSNTFS
    return struct.pack("<I", bits).hex()


def adapt_to_sleuthkit(what, value):
    return None if value and kind_of(what) == STREAM and value.startswith("0 ") else value


def adapt(details, reader):
    """The details as this reader must tell them."""
    adapted = Details()
    adapted.untold = details.untold
    changes = {"libfsntfs": adapt_to_libfsntfs, "sleuthkit": adapt_to_sleuthkit}
    change = changes.get(reader, lambda _, value: value)
    adapted.update({key: change(key[1], value) for key, value in details.items()})
    return adapted


def compare(mine, theirs):
    """The differences, one line each, and how often a side cannot tell what the other does. A
    peer that fails cannot tell; we may not fail."""
    differences, unsaid = [], {}
    for key in sorted(mine.keys() | theirs.keys(), key=repr):
        kind = kind_of(key[1])
        ours, other = mine.get(key, "none"), theirs.get(key, "none")
        silent = kind in mine.untold | theirs.untold or None in (ours, other)
        if silent or other.startswith(TROUBLE):
            unsaid[kind] = unsaid.get(kind, 0) + 1
        elif ours != other:
            differences.append(f"{key[1]} of {key[0]!r}: {ours}, the peer says {other}")
    return differences, unsaid


READERS = {"directory": from_directory, "libfsntfs": from_libfsntfs, "sleuthkit": from_sleuthkit}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in READERS:
        print(__doc__, file=sys.stderr)
        return 64
    details = READERS[sys.argv[1]](sys.argv[2])
    for (path, what), value in sorted(details.items()):
        print(f"{path!r}: {what}: {value}")
    print(f"not told: {', '.join(sorted(details.untold)) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
