#!/usr/bin/python3
"""Files that LZNT1 compresses: ntfs-3g and this program read what the other wrote, and write to it;
The Sleuth Kit reads ours; chattr turns compression on and off. And ranges that are taken out of
files, compressed or not, and put in; and encrypted files, as ntfs-3g saves them.

usage: compression.py [WORD...]     only cases whose names contain a word
"""
import errno
import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from volume import KIB, MIB, PROGRAM, Ntfs3g, mounted, run

UNIT = 64 * KIB
COMPRESSED = 0x800
WORDS = b"the quick brown fox jumps over a lazy dog and so on ".split()


def text(chance, size):
    """What compresses to about a half."""
    out = bytearray()
    while len(out) < size:
        out += chance.choice(WORDS) + b" %d " % chance.randrange(10000)
    return bytes(out[:size])


def contents(seed):
    """Names and what the files hold."""
    chance = random.Random(seed)
    sizes = (0, 1, 300, 900, 4095, 4096, 5000, UNIT - 1, UNIT, UNIT + 1, 3 * UNIT + 77)
    files = {f"text-{size}": text(chance, size) for size in sizes}
    files |= {f"random-{size}": chance.randbytes(size) for size in sizes}
    files["zeros"] = bytes(5 * UNIT)
    mixed = [text(chance, UNIT), chance.randbytes(UNIT), bytes(UNIT), text(chance, 20000)]
    files["mixed"] = b"".join(chance.choice(mixed) for _ in range(24))
    files["long"] = text(chance, 5 * MIB)
    return files


def write_files(directory, files):
    for name, data in files.items():
        with open(os.path.join(directory, name), "wb") as out:
            out.write(data)


def change_files(directory, files, seed):
    """Writes here and there, appends, cuts and grows; the same to `files`."""
    chance = random.Random(seed)
    for name in sorted(files):
        data = bytearray(files[name])
        with open(os.path.join(directory, name), "r+b", buffering=0) as out:
            for _ in range(6):
                at = chance.randrange(len(data) + 20000)
                piece = chance.choice((text(chance, 9000), chance.randbytes(9000), bytes(9000)))
                piece = piece[: chance.randrange(1, 9000)]
                out.seek(at)
                out.write(piece)
                if len(data) < at:
                    data += bytes(at - len(data))
                data[at : at + len(piece)] = piece
            size = chance.randrange(len(data) + 3 * UNIT)
            out.truncate(size)
            data = data[:size] + bytes(max(0, size - len(data)))
        files[name] = bytes(data)


def expect_files(directory, files):
    for name, data in files.items():
        with open(os.path.join(directory, name), "rb") as source:
            expect(source.read() == data, f"{name} has other contents")
        with open(os.path.join(directory, name), "rb", buffering=0) as source:
            chance = random.Random(len(data))
            for _ in range(20):
                at = chance.randrange(len(data) + 1)
                source.seek(at)
                count = chance.randrange(1, 5000)
                expect(source.read(count) == data[at : at + count], f"{name} differs at {at}")


def check(image):
    report = json.loads(run(PROGRAM, "check", image, "--json").stdout)
    expect_equal(report["errors"], [], "check")


def attributes_of(path):
    shown = run("getfattr", "-h", "--only-values", "-e", "hex", "-n", "system.ntfs_attrib_be", path)
    return int.from_bytes(shown.stdout.encode("latin-1", "replace")[:4], "big")


def set_attributes(path, bits):
    run("setfattr", "-h", "-n", "system.ntfs_attrib_be", "-v", f"0x{bits:08x}", path)


def stat_json(image, path):
    return json.loads(run(PROGRAM, "stat", image, path, "--json").stdout)


def make_with_ntfs3g(image, files, cluster_size):
    peer = Ntfs3g()
    peer.format(image, 128 * MIB, "--cluster-size", str(cluster_size))
    with mounted(peer, image, "compression") as directory:
        place = os.path.join(directory, "packed")
        os.mkdir(place)
        set_attributes(place, 0x10 | COMPRESSED)
        write_files(place, files)
        change_files(place, files, 3)


def theirs(work, cluster_size):
    """ntfs-3g writes; we read, change, and it reads and changes. (With clusters of 1024 bytes it damages
    its own compressed files; with 512 it gives up those with units in fragments.)"""
    image = os.path.join(work, "theirs.img")
    files = contents(1)
    make_with_ntfs3g(image, files, cluster_size)
    check(image)
    for name in ("mixed", "long", "text-300"):
        with open(os.path.join(work, "out"), "wb") as out:
            shown = subprocess.run(
                [PROGRAM, "cat", image, f"/packed/{name}"], stdout=out, timeout=60, check=True
            )
            expect_equal(shown.returncode, 0, "cat")
        with open(os.path.join(work, "out"), "rb") as out:
            expect(out.read() == files[name], f"cat shows other contents of {name}")
    ours = volume.subject()
    with mounted(ours, image) as directory:
        expect_files(os.path.join(directory, "packed"), files)
    with mounted(ours, image) as directory:
        place = os.path.join(directory, "packed")
        change_files(place, files, 4)
        expect_files(place, files)
        more = contents(2)
        more = {f"new-{name}": data for name, data in more.items()}
        write_files(place, more)
        files |= more
    check(image)
    with mounted(ours, image) as directory:
        expect_files(os.path.join(directory, "packed"), files)
    with mounted(Ntfs3g(), image, "compression") as directory:
        expect_files(os.path.join(directory, "packed"), files)
        if cluster_size == 4096:
            change_files(os.path.join(directory, "packed"), files, 5)
    check(image)
    with mounted(ours, image) as directory:
        expect_files(os.path.join(directory, "packed"), files)


def make_ours(work, cluster_size=4096):
    image = os.path.join(work, "ours.img")
    driver = volume.subject()
    driver.format(image, 128 * MIB, "--cluster-size", str(cluster_size))
    files = contents(6)
    with mounted(driver, image) as directory:
        place = os.path.join(directory, "packed")
        os.mkdir(place)
        run("chattr", "+c", place)
        os.mkdir(os.path.join(place, "below"))
        expect("c" in run("lsattr", "-d", os.path.join(place, "below")).stdout.split()[0],
               "a directory does not take compression over")
        write_files(place, files)
        change_files(place, files, 7)
        for name in files:
            shown = run("lsattr", os.path.join(place, name)).stdout.split()[0]
            expect("c" in shown, f"{name} does not take compression over: {shown}")
    check(image)
    return image, files


def other_readers(work):
    image, files = make_ours(work)
    expect(stat_json(image, "/packed/long")["allocated_size"] < len(files["long"]) * 3 // 4,
           "what compresses takes as much as if it did not")
    if shutil.which("icat") is None:
        raise CaseSkipped("The Sleuth Kit is not installed")
    for name, data in files.items():
        record = stat_json(image, f"/packed/{name}")["file_reference"]
        record = int(str(record).split("-")[0].split(":")[0], 0) & 0xFFFFFFFFFFFF
        out = os.path.join(work, "out")
        with open(out, "wb") as target:
            done = subprocess.run(
                ["icat", "-f", "ntfs", image, str(record)], stdout=target, timeout=60, check=False
            )
        expect_equal(done.returncode, 0, f"icat of {name}")
        with open(out, "rb") as source:
            expect(source.read() == data, f"icat shows other contents of {name}")


def turned_on_and_off(work):
    image = os.path.join(work, "turned.img")
    driver = volume.subject()
    driver.format(image, 128 * MIB)
    files = contents(8)
    with mounted(driver, image) as directory:
        write_files(directory, files)
        change_files(directory, files, 9)
        path = os.path.join(directory, "long")
        before = os.stat(path).st_blocks
        for name in files:
            run("chattr", "+c", os.path.join(directory, name))
        os.sync()
        expect_files(directory, files)
        expect(os.stat(path).st_blocks < before * 3 // 4, "chattr +c saves no blocks")
        change_files(directory, files, 10)
    check(image)
    with mounted(Ntfs3g(), image) as directory:
        expect_files(directory, files)
    with mounted(driver, image) as directory:
        expect_files(directory, files)
        for name in files:
            run("chattr", "-c", os.path.join(directory, name))
        path = os.path.join(directory, "long")
        expect("c" not in run("lsattr", path).stdout.split()[0], "chattr -c leaves the flag")
        change_files(directory, files, 11)
        expect_files(directory, files)
        refused = run("chattr", "+i", path, check=False)
        expect(refused.returncode != 0, "chattr +i is taken")
    check(image)
    with mounted(Ntfs3g(), image) as directory:
        expect_files(directory, files)


def control(number):
    """_IOWR('w', number, three numbers of 8 bytes), see fuse/range_ioctl.h."""
    return 3 << 30 | 24 << 16 | ord("w") << 8 | number


COLLAPSE, INSERT = control(0x10), control(0x11)


def shift(handle, command, offset, length):
    """Returns 0, or the error."""
    try:
        answer = fcntl.ioctl(handle, command, struct.pack("<QQQ", offset, length, 0))
    except OSError as refused:
        return refused.errno
    os.ftruncate(handle.fileno(), struct.unpack("<QQQ", answer)[2])
    return 0


def moved(work):
    image = os.path.join(work, "moved.img")
    driver = volume.subject()
    driver.format(image, 128 * MIB)
    with mounted(driver, image) as directory:
        for name in ("plain", "packed"):
            path = os.path.join(directory, name)
            with open(path, "wb"):
                pass
            if name == "packed":
                run("chattr", "+c", path)
            chance = random.Random(5)
            data = bytearray()
            with open(path, "r+b", buffering=0) as out:
                for _ in range(60):
                    size = len(data)
                    at = chance.randrange(size // UNIT + 1) * UNIT
                    length = chance.randrange(1, 4) * UNIT
                    kind = chance.randrange(4)
                    if kind < 2:
                        piece = text(chance, chance.randrange(1, 3 * UNIT))
                        at += chance.randrange(UNIT)
                        out.seek(at)
                        out.write(piece)
                        data += bytes(max(0, at + len(piece) - size))
                        data[at : at + len(piece)] = piece
                    elif kind == 2 and at + length < size:
                        expect_equal(shift(out, COLLAPSE, at, length), 0, "collapse")
                        del data[at : at + length]
                    elif kind == 3 and at < size:
                        expect_equal(shift(out, INSERT, at, length), 0, "insert")
                        data[at:at] = bytes(length)
                    # The kernel keeps nothing that has moved.
                    expect_equal(os.fstat(out.fileno()).st_size, len(data), f"size of {name}")
                    out.seek(0)
                    expect(out.read() == data, f"{name} has other contents")
                for at, length in ((1, UNIT), (UNIT, 1), (0, len(data) + UNIT), (0, 0)):
                    expect_equal(shift(out, COLLAPSE, at, length), errno.EINVAL, f"collapse {at} {length}")
            with open(path, "rb") as source:
                expect_equal(shift(source, COLLAPSE, 0, UNIT), errno.EACCES, "collapse of what is open for reading")
                expect(source.read() == data, f"{name} has other contents")
            # Should the kernel ever let it through, fallocate(2) is the better way.
            done = run("fallocate", "-c", "-o", "0", "-l", str(UNIT), path, check=False)
            expect(done.returncode != 0, "fallocate -c reaches a file system in user space")
    check(image)


def encrypted(work):
    """ntfs-3g restores one as from a backup; we tell of it what ntfs-3g tells."""
    image = os.path.join(work, "encrypted.img")
    peer, ours = Ntfs3g(), volume.subject()
    peer.format(image, 64 * MIB)
    padding = 100
    raw = random.Random(1).randbytes(20480) + struct.pack("<H", padding)
    keys = struct.pack("<I", 600) + random.Random(2).randbytes(596)
    with mounted(peer, image, "efs_raw") as directory:
        path = os.path.join(directory, "secret")
        with open(path, "wb") as out:
            out.write(raw)
        os.setxattr(path, "system.ntfs_efsinfo", keys)
        with open(os.path.join(directory, "plain"), "wb") as out:
            out.write(raw)
    with mounted(peer, image, "efs_raw,ro") as directory:
        with open(os.path.join(directory, "secret"), "rb") as source:
            expect(source.read() == raw, "ntfs-3g does not show what it restored")
    check(image)
    with mounted(ours, image) as directory:
        path = os.path.join(directory, "secret")
        expect_equal(os.stat(path).st_size, 20480 - padding, "size")
        expect(os.getxattr(path, "system.ntfs_efsinfo") == keys, "other keys")
        for action in (lambda: open(path, "rb").read(), lambda: os.truncate(path, 1)):
            expect_equal(refusal(action), errno.EACCES, "what an encrypted file gives")
        got = refusal(lambda: os.getxattr(os.path.join(directory, "plain"), "system.ntfs_efsinfo"))
        expect_equal(got, errno.ENODATA, "keys of a plain file")
    with mounted(ours, image, "ro,efs_raw") as directory:
        for name in ("secret", "plain"):
            path = os.path.join(directory, name)
            expect_equal(os.stat(path).st_size, len(raw), f"raw size of {name}")
            with open(path, "rb", buffering=0) as source:
                for at, count in ((0, 30000), (20000, 481), (20480, 2), (20481, 1), (512, 100)):
                    source.seek(at)
                    expect(source.read(count) == raw[at : at + count], f"raw {name} at {at}")


def refusal(call):
    try:
        call()
    except OSError as refused:
        return refused.errno
    return 0


def fsx(work):
    image = os.path.join(work, "fsx.img")
    driver = volume.subject()
    driver.format(image, 128 * MIB)
    with mounted(driver, image) as directory:
        run("chattr", "+c", directory)
        run(volume.program("fsx"), *FSX, os.path.join(directory, "file"), timeout=300)
    check(image)


def speed(work):
    image = os.path.join(work, "speed.img")
    driver = volume.subject()
    driver.format(image, 1024 * MIB)
    size = 64 * MIB
    data = text(random.Random(1), 4 * MIB) * (size // (4 * MIB))
    with mounted(driver, image) as directory:
        run("chattr", "+c", directory)
        start = time.monotonic()
        with open(os.path.join(directory, "file"), "wb") as out:
            out.write(data)
            os.fsync(out.fileno())
        wrote = time.monotonic() - start
    with mounted(driver, image) as directory:
        start = time.monotonic()
        with open(os.path.join(directory, "file"), "rb") as source:
            expect(source.read() == data, "other contents")
        took = time.monotonic() - start
    print(f"     written {size / wrote / 1e6:.0f} MB/s, read {size / took / 1e6:.0f} MB/s", flush=True)


FSX = ["--seed", "1", "--ops", "2000", "--length", "3000000"]


def main():
    suite = Suite("compression")
    driver = volume.subject_of(suite, "is a peer here")
    with volume.work_directory("compression") as work:
        cases = {
            "ntfs-3g and we, clusters of 4096": lambda: theirs(work, 4096),
            "ntfs-3g and we, clusters of 512": lambda: theirs(work, 512),
            "other readers": lambda: other_readers(work),
            "on and off": lambda: turned_on_and_off(work),
            "ranges taken out and put in": lambda: moved(work),
            "encrypted files": lambda: encrypted(work),
            "fsx": lambda: fsx(work),
            "speed": lambda: speed(work),
        }
        suite.run(cases)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
