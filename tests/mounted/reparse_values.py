"""Reparse points as Windows, WSL and others make them, for the suites."""
import os
import struct
import subprocess

from cases import CaseSkipped
from volume import BUILD

MOUNT_POINT = 0xA0000003
SYMLINK = 0xA000000C
WOF = 0x80000017
DEDUP = 0x80000013
APP_EXEC_LINK = 0x8000001B
CLOUD_1 = 0x9000101A
GLOBAL_REPARSE = 0xA0000019
XATTR = "system.ntfs_reparse_data"
WOF_FORMATS = {("XPRESS", 4096): 0, ("LZX", 32768): 1, ("XPRESS", 8192): 2, ("XPRESS", 16384): 3}


def value(tag, data):
    return struct.pack("<IHH", tag, len(data), 0) + data


def symlink(target, relative=False):
    name = target.encode("utf-16-le")
    lengths = struct.pack("<HHHH", 0, len(name), len(name), len(name))
    return value(SYMLINK, lengths + struct.pack("<I", int(relative)) + name + name)


def junction(target):
    name = target.encode("utf-16-le")
    lengths = struct.pack("<HHHH", 0, len(name), len(name) + 2, len(name))
    return value(MOUNT_POINT, lengths + name + b"\0\0" + name + b"\0\0")


def wof(kind, chunk_bytes):
    return value(WOF, struct.pack("<IIII", 1, 2, 1, WOF_FORMATS[kind, chunk_bytes]))


def compressed(kind, chunk_bytes, data):
    """What the stream WofCompressedData has of a file with that data."""
    packer = os.path.join(BUILD, "tests", "mounted", "wof_packer")
    if not os.path.exists(packer):
        raise CaseSkipped(f"{packer} is not built")
    number = str(WOF_FORMATS[kind, chunk_bytes])
    return subprocess.run([packer, number], input=data, stdout=subprocess.PIPE, check=True).stdout


def get(path):
    return os.getxattr(path, XATTR, follow_symlinks=False)


def get_by_peer(path):
    """The same of ntfs-3g, which must be asked with just the room that it needs."""
    command = ["getfattr", "-h", "--absolute-names", "--only-values", "-n", XATTR, path]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def put(path, data):
    os.setxattr(path, XATTR, data, follow_symlinks=False)


def delete(path):
    os.removexattr(path, XATTR, follow_symlinks=False)
