"""Files as other systems make them, for scripts/features: made through ntfs-3g on a volume, and
then tried by tests/support/feature_probe.cc, which gets a list of what to do with each.
"""
import os
import struct
import subprocess
import typing

import reparse_values as reparse
from security import descriptor
from volume import Ntfs3g, mounted, run

MAKER_OPTIONS = "compression,efs_raw,streams_interface=windows"
TIMES = struct.pack("<3Q", *(130000000000000000 + n for n in range(3)))
ATTRIBUTES = struct.pack("<I", 0x22)  # hidden, archive
DESCRIPTOR = descriptor("S-1-5-32-544", "S-1-5-18", [(0, 3, 0x1F01FF, "S-1-1-0")])


class Name(typing.NamedTuple):
    """An extended attribute that means something of NTFS."""

    name: str
    value: bytes
    known_as: str = ""  # another name that gives the same to ntfs-3g and to ntfs-wal; "": this one
    kept: bytes = b""  # and the value under it
    removable: bool = False

    @property
    def feature(self):
        return f"`system.{self.name}`"

    def other_reader(self):
        """Name and value by which another program finds what was set."""
        return self.known_as or self.name, self.kept or self.value


def big_endian(numbers):
    return struct.pack(f">{len(numbers) // 8}Q", *struct.unpack(f"<{len(numbers) // 8}Q", numbers))


NAMES = (
    Name("ntfs_attrib", ATTRIBUTES),
    Name("ntfs_attrib_be", ATTRIBUTES[::-1], "ntfs_attrib", ATTRIBUTES),
    Name("dos_attrib", ATTRIBUTES[:1], "ntfs_attrib", ATTRIBUTES),
    Name("ntfs_times", TIMES),
    Name("ntfs_times_be", big_endian(TIMES), "ntfs_times", TIMES),
    Name("ntfs_crtime", TIMES[:8], "ntfs_times", TIMES[:8]),
    Name("ntfs_crtime_be", big_endian(TIMES[:8]), "ntfs_times", TIMES[:8]),
    Name("ntfs_acl", DESCRIPTOR),
    Name("ntfs_security", DESCRIPTOR, "ntfs_acl", DESCRIPTOR),
    Name("ntfs_ea", b"\x10\0\0\0\0\2\3\0EA\0abc\0\0", removable=True),
    Name("ntfs_reparse_data", reparse.symlink("target", True), removable=True),
    Name("ntfs_object_id", b"fedcba987654321", removable=True),  # and a byte that differs
    Name("ntfs_dos_name", b"SHORT~1", removable=True),
)
PURPOSES = ("read", "set", "remove")


def of_purpose(name, value, purpose):
    """No two files of a volume have the same object id."""
    if name.name != "ntfs_object_id":
        return value
    return value + bytes([PURPOSES.index(purpose)])


LINKS = {
    "relative symbolic link of Windows": (reparse.symlink("target", True), "target"),
    "relative symbolic link of Windows to nothing": (reparse.symlink("nothing", True), "nothing"),
    "symbolic link of WSL": (
        reparse.value(0xA000001D, struct.pack("<I", 2) + b"target"),
        "target",
    ),
}
INTERIX_LINK = "symbolic link of Interix (ntfs-3g's)"
ABSOLUTE_LINK = "absolute symbolic link of Windows"
JUNCTION = "junction"
SHORT_NAMES = "short (8.3) names: found, and gone with the long ones"
COMPRESSED = "compressed file (LZNT1)"
OVERLAY = {  # kind and bytes of a chunk
    "file that Windows compressed (CompactOS, XPRESS)": ("XPRESS", 4096),
    "file that Windows compressed (CompactOS, LZX)": ("LZX", 32768),
}
ENCRYPTED = "encrypted files as they lie, for backups"
FEATURES = (
    *(name.feature for name in NAMES),
    *(*LINKS, INTERIX_LINK, ABSOLUTE_LINK, JUNCTION),
    *(SHORT_NAMES, COMPRESSED, *OVERLAY, ENCRYPTED),
)


class Maker:
    """Fills a folder and keeps the list of what is to be tried there."""

    def __init__(self, place):
        self.place = place
        self.lines = []
        os.mkdir(place)
        for purpose in PURPOSES:
            os.mkdir(self.path(purpose))

    def path(self, name):
        return os.path.join(self.place, name)

    def add(self, feature, kind, name, *words):
        self.lines.append("\t".join((feature, kind, name, *words)) + "\n")

    def make(self, name, content=b""):
        with open(self.path(name), "xb") as out:
            out.write(content)
        return self.path(name)

    def names(self):
        for name in NAMES:
            known_as, kept = name.other_reader()
            for purpose in PURPOSES if name.removable else PURPOSES[:2]:
                file = f"{purpose}/{name.name}"
                if purpose != "set":
                    value = of_purpose(name, kept, purpose)
                    os.setxattr(self.make(file), "system." + known_as, value)
                value = of_purpose(name, name.value, purpose)
                words = ["system." + name.name] + [value.hex()] * (purpose != "remove")
                self.add(name.feature, purpose + " attribute", file, *words)

    def links(self):
        self.make("target", b"found")
        for number, (feature, (value, target)) in enumerate(LINKS.items()):
            reparse.put(self.make(f"link {number}"), value)
            self.add(feature, "link", f"link {number}", target)
        os.symlink("target", self.path("interix link"))
        self.add(INTERIX_LINK, "link", "interix link", "target")
        reparse.put(self.make("absolute"), reparse.symlink(r"\??\C:\prepared\target"))
        self.add(ABSOLUTE_LINK, "content", "absolute", "found")
        os.mkdir(self.path("junction"))
        os.mkdir(self.path("directory"))
        self.make("directory/file", b"found")
        reparse.put(self.path("junction"), reparse.junction(r"\??\C:\prepared\directory"))
        self.add(JUNCTION, "content", "junction/file", "found")

    def short_names(self):
        os.mkdir(self.path("short"))
        words = ("ALONGN~1.TEX", "A long name.text", "ANOTHE~1.TEX", "Another long name.text")
        for short, name in (words[:2], words[2:]):
            path = self.make("short/" + name, b"content")
            os.setxattr(path, "system.ntfs_dos_name", short.encode())
        self.add(SHORT_NAMES, "short names", "short", *words)

    def packed(self):
        text = b"compress!\n" * 100000
        os.mkdir(self.path("packed"))
        os.setxattr(self.path("packed"), "system.ntfs_attrib_be", bytes((0, 0, 8, 0x10)))
        self.make("packed/file", text)
        self.add(COMPRESSED, "content", "packed/file", "compress!")
        for feature, (kind, chunk_bytes) in OVERLAY.items():
            path = self.make(kind)
            os.truncate(path, len(text))
            with open(path + ":WofCompressedData", "wb") as out:
                out.write(reparse.compressed(kind, chunk_bytes, text))
            reparse.put(path, reparse.wof(kind, chunk_bytes))
            self.add(feature, "content", kind, "compress!")

    def encrypted(self):
        raw = b"as it lies".ljust(4096, b".") + struct.pack("<H", 100)
        os.setxattr(self.make("encrypted", raw), "system.ntfs_efsinfo", struct.pack("<I596x", 600))
        self.add(ENCRYPTED, "content", "encrypted", "as it lies")

    def finish(self):
        with open(self.path("list"), "x", encoding="ascii") as out:
            out.writelines(self.lines)


class PlainNtfs3g(Ntfs3g):
    """With no options but those given."""

    def mount(self, image, directory, options=""):
        run("ntfs-3g", "-o", options, image, directory)


def prepare(image):
    """Makes `prepared` on the volume."""
    with mounted(PlainNtfs3g(), image, MAKER_OPTIONS) as directory:
        maker = Maker(os.path.join(directory, "prepared"))
        maker.names()
        maker.links()
        maker.short_names()
        maker.packed()
        maker.encrypted()
        maker.finish()


def value_of(path, name):
    """None when the file has none. ntfs-3g must be asked with just the room that it needs."""
    command = ["getfattr", "-h", "--absolute-names", "--only-values", "-n", "system." + name, path]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def effects(image, judge):
    """What setting and removing did, by feature, as another program sees it."""
    found = {name.feature: [] for name in NAMES}
    with mounted(judge, image, "ro") as directory:
        place = os.path.join(directory, "prepared")
        for name in NAMES:
            known_as, kept = name.other_reader()
            told = value_of(os.path.join(place, "set", name.name), known_as)
            if told is not None and told.startswith(of_purpose(name, kept, "set")):
                found[name.feature].append("write")
            path = os.path.join(place, "remove", name.name)
            if name.removable and os.path.lexists(path) and value_of(path, known_as) is None:
                found[name.feature].append("remove")
    return found
