"""The trees that every reader must see alike: each function fills an empty directory of a mount."""
import ctypes
import errno
import os
import random
import socket

from volume import run


def copy_of_includes(directory):
    """A copy of /usr/include: 10,000 files of all small sizes, links, real directory shapes."""
    run("cp", "-a", "/usr/include", directory, timeout=300)


def copy_of_documents(directory):
    run("cp", "-a", "/usr/share/doc", directory, timeout=300)


def many_files(directory, count=100_000):
    """`count` small files in one directory, a random half of them removed again."""
    place = os.path.join(directory, "many")
    os.mkdir(place)
    chance = random.Random(7)
    handle = os.open(place, os.O_RDONLY)
    order = list(range(count))
    chance.shuffle(order)
    for number in order:
        out = os.open(
            f"file number {number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=handle
        )
        os.write(out, b"%d " % number * (number % 40))
        os.close(out)
    for number in chance.sample(order, count // 2):
        os.unlink(f"file number {number}", dir_fd=handle)
    os.close(handle)


def random_order(directory):
    """Files written at random places in random order, with holes that are never written."""
    chance = random.Random(11)
    for name, size, count in (
        ("small", 1 << 20, 200),
        ("large", 64 << 20, 3000),
        ("sparse", 512 << 20, 300),
    ):
        with open(os.path.join(directory, f"random-{name}"), "wb", buffering=0) as out:
            for _ in range(count):
                offset = chance.randrange(size)
                if offset // (size // 16) % 4 == 3:
                    continue  # a quarter of the file stays unwritten
                out.seek(offset)
                out.write(chance.randbytes(chance.randrange(1, 20_000)))
            out.truncate(size)


def compressed(directory):
    """Files that LZNT1 compresses: well, not at all, with units of zeros, changed, cut and grown. Only
    ntfs-wal makes a directory that compresses by chattr."""
    place = os.path.join(directory, "packed")
    os.mkdir(place)
    run("chattr", "+c", place)
    chance = random.Random(13)
    kinds = (
        lambda size: b"the same words, and the same again. "[: chance.randrange(1, 36)] * (size // 8),
        chance.randbytes,
        bytes,
    )
    for number in range(40):
        with open(os.path.join(place, f"packed-{number}"), "wb", buffering=0) as out:
            for _ in range(chance.randrange(12)):
                out.seek(chance.randrange(600_000))
                out.write(chance.choice(kinds)(chance.randrange(100_000)))
            if chance.randrange(2):
                out.truncate(chance.randrange(700_000))


BLOCK = 4096


def numbered_block(number):
    return b"%07d\n" % number * (BLOCK // 8)


def punch(handle, offset, length):
    """False where the file system cannot punch holes."""
    keep_size_and_punch = 1 | 2
    offsets = ctypes.c_long(offset), ctypes.c_long(length)
    if ctypes.CDLL(None, use_errno=True).fallocate(handle, keep_size_and_punch, *offsets) == 0:
        return True
    if ctypes.get_errno() in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def fragments(directory, count=20_000, filled=19_000):
    """A file with `count` runs and holes between them, and one with `filled` runs and no hole.

    The second one is made of the clusters that the holes of the first one gave back, when nothing
    else is left of the volume. Without hole punching, only the first is made, by writing every
    second block.
    """
    with open(os.path.join(directory, "fragments-with-holes"), "wb", buffering=0) as out:
        if not punch(out.fileno(), 0, BLOCK):
            for number in range(0, 2 * count, 2):
                os.pwrite(out.fileno(), numbered_block(number), number * BLOCK)
            return
        for number in range(2 * count + 500):
            os.write(out.fileno(), numbered_block(number))
        os.fsync(out.fileno())
        reserve = os.path.join(directory, "reserve")
        with open(reserve, "wb", buffering=0) as kept:
            kept.write(bytes(4 << 20))  # room for the file records that the runs will take
            os.fsync(kept.fileno())
        filler = os.path.join(directory, "filler")
        fill_up(filler)
        os.unlink(reserve)
        for number in range(0, 2 * count, 2):
            punch(out.fileno(), number * BLOCK, BLOCK)
        os.fsync(out.fileno())
    with open(os.path.join(directory, "fragments-filled"), "wb", buffering=0) as out:
        for number in range(filled):
            os.write(out.fileno(), numbered_block(number))
        os.fsync(out.fileno())
    os.unlink(filler)


def fragmented_mft(directory, count=2000):
    """$MFT in pieces of a cluster: single clusters are all that is left when the files are made."""
    filler = os.path.join(directory, "every second cluster")
    fill_up(filler)
    with open(filler, "r+b", buffering=0) as out:
        # The kernel counts a block that the volume refused when it was written back.
        out.truncate(os.path.getsize(filler) - 2 * BLOCK)
        for offset in range(0, os.path.getsize(filler), 2 * BLOCK):
            punch(out.fileno(), offset, BLOCK)
        os.fsync(out.fileno())
    below = os.path.join(directory, "files")
    os.mkdir(below)
    for number in range(count):
        with open(os.path.join(below, f"file {number}"), "xb") as out:
            out.write(b"%d" % number * (number % 20))


def fill_up(path):
    """Takes all the space that is left."""
    with open(path, "wb", buffering=0) as out:
        for size in (1 << 20, 1 << 16, BLOCK):
            try:
                while True:
                    out.write(b"f" * size)
                    os.fsync(out.fileno())
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def legal_names():
    """Names that hold every character that Linux and UTF-16 allow, long ones, and odd ones."""
    characters = [
        chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000 and code != 0x2F
    ]
    characters += [chr(code) for code in range(0x1F300, 0x1F400)] + ["\U00010000", "\U0010FFFF"]
    for first in range(0, len(characters), 60):
        yield f"all {first:05} " + "".join(characters[first : first + 60])
    yield from ("n" * 255, "名" * 255, "\U0001F600" * 127 + "e", "." * 255, " " * 255)
    yield from (
        "CON",
        "aux.txt",
        "COM1",
        "trailing.",
        "trailing ",
        " leading",
        "a:b",
        "back\\slash",
        "q?",
        "star*",
        '"quoted"',
        "<angle>",
        "|",
        "\x01",
        "\x1f\n\t",
        "...",
        "$MFT",
        "$",
        "~1",
        "LONGNA~1.TXT",
        "-rf",
    )
    yield from (
        "e\u0301",
        "\u00e9",
        "\ufb01",
        "fi",
        "\u0130",
        "\u0131",
        "\ufffe",
        "\uffff",
        "\ufeff",
        "\u202e",
    )


CASE_GROUPS = (
    ("readme", "README", "ReadMe", "rEADME"),
    ("ärger", "Ärger", "ÄRGER"),
    ("σ", "Σ", "ς"),
    ("ǆ", "ǅ", "Ǆ"),
    ("straße", "STRASSE", "STRAßE"),
)


def names(directory):
    place = os.path.join(directory, "names")
    os.mkdir(place)
    for number, name in enumerate(legal_names()):
        with open(os.path.join(place, name), "xb") as out:
            out.write(b"%d" % number)
    for number, group in enumerate(CASE_GROUPS):
        for parent in (directory, place):
            for name in group:
                folder = os.path.join(parent, f"{name} directory")
                os.mkdir(folder)
                with open(os.path.join(folder, name), "xb") as out:
                    out.write(name.encode() + b"%d" % number)
                with open(os.path.join(parent, name), "xb") as out:
                    out.write(name.encode())


def links(directory):
    """Hard links within and across directories, one file with 1,000 names, symbolic links."""
    for name in ("a", "b"):
        os.mkdir(os.path.join(directory, name))
    first = os.path.join(directory, "a", "first")
    with open(first, "xb") as out:
        out.write(b"shared content\n" * 1000)
    os.link(first, os.path.join(directory, "a", "second"))
    os.link(first, os.path.join(directory, "b", "third"))
    popular = os.path.join(directory, "popular")
    with open(popular, "xb") as out:
        out.write(b"popular")
    for number in range(999):
        os.link(
            popular, os.path.join(directory, "ab"[number % 2], f"name {number} of the popular file")
        )
    with open(popular, "ab") as out:
        out.write(b" and changed")
    for number in range(0, 999, 3):
        os.unlink(os.path.join(directory, "ab"[number % 2], f"name {number} of the popular file"))
    targets = {
        "relative": "a/first",
        "parent": "../links",
        "absolute": "/usr/bin/env",
        "dangling": "not there",
        "long": "x/" * 1500 + "end",
        "unicode": "ä/名/\U0001F600",
        "directory": "a",
        "one": "a",
        "dot": ".",
    }
    for name, target in targets.items():
        os.symlink(target, os.path.join(directory, f"link {name}"))


def special_files(directory):
    os.mkfifo(os.path.join(directory, "fifo"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(directory, "socket"))
    if os.geteuid() == 0:
        os.mknod(os.path.join(directory, "null"), 0o20666, os.makedev(1, 3))
        os.mknod(os.path.join(directory, "disk"), 0o60660, os.makedev(259, 1000))


TIMES_NS = {
    "epoch": 0,
    "first second": 1_000_000_000,
    "before 1970": -1_234_567_800,
    "in 1601": -11644473599 * 10**9,
    "y2k": 946684800 * 10**9,
    "hundreds": 1234567890123456700,
    "2038": (1 << 31) * 10**9 + 100,
    "2106": (1 << 32) * 10**9 + 900,
    "2446": (1 << 34) * 10**9,
    "9999": 253402300799 * 10**9 + 999999900,
}


def timestamps(directory):
    for name, time in TIMES_NS.items():
        path = os.path.join(directory, f"file of {name}")
        with open(path, "xb") as out:
            out.write(name.encode())
        os.utime(path, ns=(time, time))
        folder = os.path.join(directory, f"directory of {name}")
        os.mkdir(folder)
        with open(os.path.join(folder, "child"), "xb"):
            pass
        os.utime(folder, ns=(time, time))


def shapes(directory):
    """Sizes around every boundary, deep paths, directories of every small size."""
    for size in (
        0,
        1,
        7,
        8,
        500,
        600,
        700,
        800,
        900,
        1000,
        1024,
        4095,
        4096,
        4097,
        65535,
        65536,
        65537,
        1 << 20,
    ):
        with open(os.path.join(directory, f"size {size}"), "xb") as out:
            out.write(random.Random(size).randbytes(size))
    for size in (0, 100, 4096, 300_000):  # grown and shrunk again
        with open(os.path.join(directory, f"shrunk to {size}"), "xb") as out:
            out.write(bytes([size % 251 + 1]) * 400_000)
            out.flush()
            os.truncate(out.name, size)
    for entries in (0, 1, 5, 12, 40, 200):
        folder = os.path.join(directory, f"directory of {entries}")
        os.mkdir(folder)
        for number in range(entries):
            os.mkdir(os.path.join(folder, f"entry {number:04}"))
    deep = directory
    for level in range(60):
        deep = os.path.join(deep, f"level {level}")
        os.mkdir(deep)
    with open(os.path.join(deep, "bottom"), "xb") as out:
        out.write(b"reached")
