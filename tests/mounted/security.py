#!/usr/bin/python3
"""Security of mounted volumes: descriptors by extended attribute and inherited, owners and modes by
a user mapping, POSIX access control lists. Judges: ntfssecaudit, ntfs-3g, ext4, and the checker.

usage: security.py [WORD...]     only cases whose names contain a word
"""
import ctypes
import errno
import itertools
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys

import volume
from cases import CaseSkipped, Suite, expect, expect_equal
from peers_agree import run_vm
from volume import MIB, PROGRAM, mounted, run

LIBC = ctypes.CDLL(None, use_errno=True)
ACL = "system.ntfs_acl"
ALLOW, DENY = 0, 1
OBJECT, CONTAINER, NO_PROPAGATE, INHERIT_ONLY, INHERITED = 1, 2, 4, 8, 16
PRESENT, AUTO_INHERITED, PROTECTED, SELF_RELATIVE = 0x0004, 0x0400, 0x1000, 0x8000
ALL, READ, MODIFY, GENERIC_ALL = 0x001F01FF, 0x00120089, 0x001301BF, 0x10000000
EVERYONE, CREATOR_OWNER, SYSTEM = "S-1-1-0", "S-1-3-0", "S-1-5-18"
ADMINISTRATORS, USERS = "S-1-5-32-544", "S-1-5-32-545"
SOMEBODY, HIS_GROUP = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-513"
MAPPING = """# users of the tests
1001::S-1-5-21-1-2-3-1001
1002::S-1-5-21-1-2-3-1002
:1001:S-1-5-21-1-2-3-2001
:1002:S-1-5-21-1-2-3-2002
::S-1-5-21-9-8-7-10000
"""


# Descriptors. MS-DTYP 2.4.6.


def sid_bytes(text):
    authority, *rest = [int(word) for word in text.split("-")[2:]]
    head = bytes([1, len(rest)]) + authority.to_bytes(6, "big")
    return head + struct.pack(f"<{len(rest)}I", *rest)


def sid_text(data):
    rest = struct.unpack_from(f"<{data[1]}I", data, 8)
    return "-".join(["S-1", str(int.from_bytes(data[2:8], "big")), *map(str, rest)])


def descriptor(owner, group, aces, control=0):
    """aces: (type, flags, mask, sid)"""
    body = b""
    for kind, flags, mask, sid in aces:
        sid = sid_bytes(sid)
        body += struct.pack("<BBHI", kind, flags, 8 + len(sid), mask) + sid
    dacl = struct.pack("<BBHHH", 2, 0, 8 + len(body), len(aces), 0) + body
    owner, group = sid_bytes(owner), sid_bytes(group)
    at = 20 + len(dacl)
    head = struct.pack(
        "<BBHIIII", 1, 0, control | PRESENT | SELF_RELATIVE, at, at + len(owner), 0, 20
    )
    return head + dacl + owner + group


def parts(data):
    """(owner, group, aces, control)"""
    _, _, control, owner, group, _, dacl = struct.unpack_from("<BBHIIII", data)
    aces, at = [], dacl + 8
    for _ in range(struct.unpack_from("<H", data, dacl + 4)[0]):
        kind, flags, size, mask = struct.unpack_from("<BBHI", data, at)
        aces.append((kind, flags, mask, sid_text(data[at + 8 :])))
        at += size
    return sid_text(data[owner:]), sid_text(data[group:]), aces, control & ~SELF_RELATIVE & ~PRESENT


def get(path, name=ACL):
    """With a buffer of the right size: ntfs-3g gives EIO for others."""
    path, name = os.fsencode(path), name.encode()
    size = LIBC.lgetxattr(path, name, None, 0)
    value = ctypes.create_string_buffer(max(size, 1))
    size = LIBC.lgetxattr(path, name, value, size) if size > 0 else size
    if size < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return value.raw[:size]


def put(path, data, name=ACL):
    os.setxattr(path, name, data, follow_symlinks=False)


def made(directory, name, content=b""):
    path = os.path.join(directory, name)
    with open(path, "wb") as out:
        out.write(content)
    return path


# Judges.


def check(image):
    report = json.loads(run(PROGRAM, "check", image, "--json").stdout)
    expect_equal(report["errors"], [], "check")


def audit(image):
    """ntfssecaudit finds nothing wrong with $Secure and with what files refer to."""
    if shutil.which("ntfssecaudit") is None:
        return
    text = run("ntfssecaudit", "-ar", image).stdout
    expect("No errors were found" in text, f"ntfssecaudit: {text[-2000:]}")


NUMBERS = itertools.count()


def judge(driver, image):
    """A long descriptor comes last: behind a short one, ntfssecaudit goes on in old bytes."""
    number = next(NUMBERS)
    aces = [(ALLOW, 0, ALL, f"S-1-5-21-{index}-{index}-7-{number}") for index in range(500)]
    with mounted(driver, image) as directory:
        put(made(directory, "last"), descriptor(SOMEBODY, HIS_GROUP, aces))
    check(image)
    audit(image)


def need(program):
    if shutil.which(program) is None:
        raise CaseSkipped(f"{program} is not installed")


# Cases.


def by_extended_attribute(driver, image):
    wanted = descriptor(SOMEBODY, HIS_GROUP, [(ALLOW, 0, ALL, SOMEBODY), (DENY, 0, 1, EVERYONE)])
    with mounted(driver, image) as directory:
        path = made(directory, "file")
        before = get(path)
        expect_equal(get(path, "system.ntfs_security"), before, "the other name's value")
        put(path, wanted)
        expect_equal(get(path, "system.ntfs_security"), wanted, "value set")
        put(path, before, "system.ntfs_security")
        expect_equal(get(path), before, "value set by the other name")
        put(path, wanted)
        os.mkdir(os.path.join(directory, "directory"))
        put(os.path.join(directory, "directory"), wanted)
        for bad in (b"", b"nonsense", wanted[:-1]):
            try:
                put(path, bad)
            except OSError as refusal:
                expect_equal(refusal.errno, 22, "errno of a bad descriptor")
            else:
                expect(False, f"{bad!r} is taken")
        expect_equal(os.listxattr(path), [], "names listed")
    with mounted(driver, image) as directory:
        for name in ("file", "directory"):
            expect_equal(get(os.path.join(directory, name)), wanted, f"{name} after a remount")
    judge(driver, image)


def many(driver, image):
    """More than a block of $SDS holds, by turns with ntfs-3g; each reads what the other made."""
    chance = random.Random(7)
    wanted = {}

    def add(directory, prefix, count):
        for number in range(count):
            length = chance.choice([1, 2, 5, 30, 400])
            aces = [
                (ALLOW, 0, ALL, f"S-1-5-21-{len(wanted)}-{number}-7-{index}")
                for index in range(length)
            ]
            name = f"{prefix}{number}"
            wanted[name] = descriptor(SOMEBODY, HIS_GROUP, aces)
            put(made(directory, name), wanted[name])

    def agree(directory):
        for name, data in wanted.items():
            expect_equal(get(os.path.join(directory, name)), data, f"descriptor of {name}")

    with mounted(driver, image) as directory:
        add(directory, "ours", 120)
        agree(directory)
    judge(driver, image)
    if shutil.which("ntfs-3g") is not None:
        peer = volume.SUBJECTS["ntfs-3g"]
        with mounted(peer, image, "permissions") as directory:
            agree(directory)
            add(directory, "theirs", 40)
        check(image)
        with mounted(driver, image) as directory:
            agree(directory)
            add(directory, "again", 40)
        judge(driver, image)
        with mounted(peer, image, "permissions") as directory:
            agree(directory)


def inherited(driver, image):
    parent = descriptor(
        SOMEBODY,
        HIS_GROUP,
        [
            (ALLOW, OBJECT | CONTAINER | INHERIT_ONLY, GENERIC_ALL, CREATOR_OWNER),
            (ALLOW, OBJECT, READ, USERS),
            (ALLOW, CONTAINER | NO_PROPAGATE, MODIFY, USERS),
            (ALLOW, 0, ALL, EVERYONE),
        ],
        AUTO_INHERITED,
    )
    with mounted(driver, image) as directory:
        below = os.path.join(directory, "inherits")
        os.mkdir(below)
        put(below, parent)
        file = [(ALLOW, INHERITED, ALL, SOMEBODY), (ALLOW, INHERITED, READ, USERS)]
        expect_equal(
            parts(get(made(below, "file"))),
            (SOMEBODY, HIS_GROUP, file, AUTO_INHERITED),
            "a file's descriptor",
        )
        deeper = os.path.join(below, "directory")
        os.mkdir(deeper)
        marked = INHERIT_ONLY | INHERITED
        expect_equal(
            parts(get(deeper))[2],
            [
                (ALLOW, INHERITED, ALL, SOMEBODY),
                (ALLOW, OBJECT | CONTAINER | marked, GENERIC_ALL, CREATOR_OWNER),
                (ALLOW, OBJECT | marked, READ, USERS),
                (ALLOW, INHERITED, MODIFY, USERS),
            ],
            "a directory's entries",
        )
        expect_equal(parts(get(made(deeper, "file")))[2], file, "entries of a file further down")
        os.symlink("file", os.path.join(below, "link"))
        expect_equal(parts(get(os.path.join(below, "link")))[2], file, "entries of a link")
        # What a new volume's root passes on: nobody's files belong to the system.
        owner, group, aces, control = parts(get(made(directory, "in the root")))
        expect_equal((owner, group, control), (ADMINISTRATORS, ADMINISTRATORS, 0), "owner")
        grants = [ADMINISTRATORS, SYSTEM, "S-1-5-11", USERS]
        expect_equal([ace[3] for ace in aces], grants, "grants")
    judge(driver, image)


def on_a_volume_of_windows(driver, work):
    image = volume.unpack_image("ms_lastaccess", work)
    with mounted(driver, image) as directory:
        names = [name for name in os.listdir(directory) if os.path.isdir(f"{directory}/{name}")]
        users = [n for n in names if parts(get(f"{directory}/{n}"))[0].startswith("S-1-5-21-")]
        expect(users, f"no directory of a user among {names}")
        for name in ["", *users]:
            below = os.path.join(directory, name)
            of_windows = [
                path
                for path in (os.path.join(below, entry) for entry in os.listdir(below))
                if os.path.isfile(path)
            ]
            ours = parts(get(made(below, "made here")))
            if name and of_windows:
                expect_equal(ours, parts(get(of_windows[0])), f"beside {of_windows[0]}")
            expect(ours[0] != SYSTEM, f"{name or 'root'}: the system's file")
    judge(driver, image)


def write_mapping(directory, text=MAPPING):
    os.makedirs(os.path.join(directory, ".NTFS-3G"), exist_ok=True)
    with open(os.path.join(directory, ".NTFS-3G", "UserMapping"), "w", encoding="utf-8") as out:
        out.write(text)


def shown(path):
    status = os.lstat(path)
    return status.st_uid, status.st_gid, oct(status.st_mode)


def mapped(driver, image):
    """Owners and modes become lists and come back; ntfs-3g writes and shows the same."""
    need("ntfs-3g")
    chance = random.Random(11)
    ids = [0, 1001, 1002, 500, 70000]
    modes = [0o644, 0o755, 0o600, 0o777, 0, 0o4755, 0o2770, 0o1777, 0o076, 0o745]

    def fill(directory, prefix):
        """Paths, each with what it must show."""
        wanted = {}
        for number in range(150):
            mode = modes[number] if number < len(modes) else chance.randrange(0o10000)
            uid, gid = chance.choice(ids), chance.choice(ids)
            path = os.path.join(directory, f"{prefix}{number}")
            os.mkdir(path) if number % 3 == 0 else made(directory, f"{prefix}{number}")
            os.chown(path, uid, gid)
            os.chmod(path, mode)
            kind = stat.S_IFDIR if number % 3 == 0 else stat.S_IFREG
            wanted[os.path.basename(path)] = (uid, gid, oct(kind | mode))
        return wanted

    with mounted(driver, image) as directory:
        write_mapping(directory)
    peer = volume.SUBJECTS["ntfs-3g"]
    state = chance.getstate()
    with mounted(driver, image) as directory:
        wanted = fill(directory, "ours")
    chance.setstate(state)
    with mounted(peer, image) as directory:
        wanted |= fill(directory, "theirs")
        for name, information in wanted.items():
            expect_equal(shown(os.path.join(directory, name)), information, f"ntfs-3g: {name}")
        lists = {name: get(os.path.join(directory, name)) for name in wanted}
    with mounted(driver, image) as directory:
        for name, information in wanted.items():
            expect_equal(shown(os.path.join(directory, name)), information, name)
            expect_equal(get(os.path.join(directory, name)), lists[name], f"descriptor of {name}")
    for number in range(150):
        expect_equal(lists[f"ours{number}"], lists[f"theirs{number}"], f"descriptor {number}")
    judge(driver, image)


def as_user(uid, *command):
    return subprocess.run(
        command, user=uid, group=uid, extra_groups=[], capture_output=True, check=False
    ).returncode


def mapped_is_enforced(driver, image):
    os.chmod(os.path.dirname(image), 0o711)  # the way to the mount point
    with mounted(driver, image) as directory:
        write_mapping(directory)
        os.chmod(directory, 0o777)
    with mounted(driver, image) as directory:
        os.chmod(directory, 0o777)
        secret = made(directory, "secret", b"x")
        os.chown(secret, 1001, 1001)
        os.chmod(secret, 0o600)
        expect_equal(as_user(1001, "cat", secret), 0, "its owner reads it: exit code")
        expect(as_user(1002, "cat", secret) != 0, "somebody else reads it")
        expect(as_user(1002, "chmod", "666", secret) != 0, "somebody else changes it")
        expect_equal(as_user(1001, "chmod", "604", secret), 0, "its owner changes it: exit code")
        expect_equal(as_user(1002, "cat", secret), 0, "somebody else reads it then: exit code")
        mine = os.path.join(directory, "mine")
        expect_equal(as_user(1002, "mkdir", mine), 0, "mkdir: exit code")
        expect_equal(shown(mine)[:2], (1002, 1002), "owner of a new directory")
        owner, group, _, control = parts(get(mine))
        expect_equal((owner, group), ("S-1-5-21-1-2-3-1002", "S-1-5-21-1-2-3-2002"), "its SIDs")
        expect_equal(control, PROTECTED, "its control bits")
        # The kernel is told when a descriptor that is set changes them.
        os.chmod(secret, 0o600)
        expect(as_user(1002, "cat", secret) != 0, "somebody else reads it again")
        put(secret, get(mine))
        expect_equal(as_user(1002, "cat", secret), 0, "the new owner reads it: exit code")
        expect(as_user(1001, "truncate", "-s0", secret) != 0, "the old owner writes it")
        expect_equal(shown(secret)[:2], (1002, 1002), "owner after a descriptor was set")
    judge(driver, image)


def mapped_elsewhere(driver, image, work):
    mapping = os.path.join(work, "mapping")
    with open(mapping, "w", encoding="utf-8") as out:
        out.write(MAPPING.replace("1-2-3", "3-2-1"))
    with mounted(driver, image, f"usermapping={mapping}") as directory:
        path = made(directory, "file of 1001")
        os.chown(path, 1001, 1002)
        expect_equal(
            parts(get(path))[:2], ("S-1-5-21-3-2-1-1001", "S-1-5-21-3-2-1-2002"), "owner and group"
        )
    with mounted(driver, image, f"usermapping={mapping},inherit") as directory:
        below = os.path.join(directory, "below")
        os.mkdir(below)
        put(below, descriptor(SOMEBODY, HIS_GROUP, [(ALLOW, OBJECT, ALL, CREATOR_OWNER)]))
        os.chmod(directory, 0o777)
        expect_equal(
            parts(get(made(below, "root's")))[:3],
            (ADMINISTRATORS, ADMINISTRATORS, [(ALLOW, 0, ALL, ADMINISTRATORS)]),
            "what root's file inherits",
        )
    for options in (f"usermapping={work}/none", "usermapping=not/here"):
        done = run(PROGRAM, "mount", image, work, "-o", options, check=False)
        expect(done.returncode != 0 and "user mapping" in done.stderr, f"{options}: {done.stderr}")
    judge(driver, image)


# POSIX access control lists, told as what each step leaves; ext4 shows what is right.

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
NOBODY = 0xFFFFFFFF


def posix_acl(*entries):
    """entries: (tag, permissions[, id])"""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, bits, *(rest or (NOBODY,))) for tag, bits, *rest in entries
    )


FULL = posix_acl((1, 7), (2, 6, 1001), (4, 5), (8, 7, 1002), (0x10, 7), (0x20, 0))
PLAIN = posix_acl((1, 6), (4, 4), (0x20, 0))
OTHER = posix_acl((1, 6), (2, 4, 1002), (4, 4), (8, 5, 1001), (0x10, 5), (0x20, 4))


def state_of(path):
    lists = {}
    for name in (ACCESS, DEFAULT):
        try:
            lists[name] = get(path, name).hex()
        except OSError as error:
            lists[name] = error.errno
    return oct(os.lstat(path).st_mode), lists


def acl_story(directory):
    """(what was done, what it left) of each step."""
    told = []

    def tell(what, path):
        told.append((what, state_of(path)))

    os.umask(0o022)
    file = made(directory, "file")
    put(file, FULL, ACCESS)
    tell("a list", file)
    for mode in (0o640, 0o777, 0o700):
        os.chmod(file, mode)
        tell(f"chmod {oct(mode)}", file)
    told.append(("named user", as_user(1001, "cat", file)))
    os.chmod(file, 0o740)
    told.append(("named user within the mask", as_user(1001, "cat", file)))
    told.append(("somebody else", as_user(1003, "cat", file)))
    put(file, PLAIN, ACCESS)
    tell("a list that is a mode", file)
    put(file, FULL, ACCESS)
    os.removexattr(file, ACCESS)
    tell("the list removed", file)
    for bad in (b"", FULL[:-8], b"\1" + FULL[1:]):
        try:
            put(file, bad, ACCESS)
            told.append(("bad list", None))
        except OSError as error:
            told.append(("bad list", error.errno))
    tell("after bad ones", file)
    try:
        put(file, FULL, DEFAULT)
    except OSError as error:
        told.append(("default list of a file", error.errno))
    below = os.path.join(directory, "below")
    os.mkdir(below)
    put(below, FULL, DEFAULT)
    tell("a default list", below)
    tell("a file below", made(below, "file"))
    os.mkdir(os.path.join(below, "directory"), 0o751)
    tell("a directory below", os.path.join(below, "directory"))
    tell("further down", made(os.path.join(below, "directory"), "file"))
    os.mkfifo(os.path.join(below, "fifo"), 0o604)
    tell("a fifo below", os.path.join(below, "fifo"))
    os.symlink("file", os.path.join(below, "link"))
    told.append(("a link below", oct(os.lstat(os.path.join(below, "link")).st_mode)))
    put(below, PLAIN, DEFAULT)
    tell("a file below a plain default list", made(below, "plain"))
    os.removexattr(below, DEFAULT)
    tell("a file below none", made(below, "none"))
    os.umask(0o077)
    tell("a file below none, with a mask", made(below, "masked"))
    os.umask(0o022)
    return told


def posix_lists(driver, image, work):
    os.chmod(work, 0o711)  # the way to the mount point
    ext4 = volume.SUBJECTS["ext4"]
    reference = os.path.join(work, "ext4.img")
    ext4.format(reference, 16 * MIB)
    with mounted(ext4, reference, "acl") as directory:
        os.chmod(directory, 0o755)
        expected = acl_story(directory)
    with mounted(driver, image, "acl,allow_other") as directory:
        told = acl_story(directory)
        for (what, ours), (_, right) in zip(told, expected, strict=True):
            expect_equal(ours, right, what)
        kept = made(directory, "kept")
        put(kept, FULL, ACCESS)
    with mounted(driver, image, "acl") as directory:
        expect_equal(get(os.path.join(directory, "kept"), ACCESS), FULL, "a list after a remount")
    with mounted(driver, image) as directory:
        for call, *value in ((get,), (put, FULL)):
            try:
                call(f"{directory}/kept", *value, ACCESS)
            except OSError as error:
                expect_equal(error.errno, 95, "errno without the option acl")
            else:
                expect(False, "lists without the option acl")
    judge(driver, image)


def acl_of(path, which=ACCESS):
    try:
        return get(path, which).hex()
    except OSError as error:
        return errno.errorcode[error.errno]


NTFS3_LISTS = r"""
tool=/payload/xattr_tool
for name in file plain below; do echo "$name names $($tool list $name)"; done
device=$(grep ' /mnt ' /proc/mounts | cut -d ' ' -f 1)
cd / && umount /mnt && options=iocharset=utf8
if ! mount -t ntfs3 -o acl,$options $device /mnt 2> /dev/null; then
  mount -t ntfs3 -o $options $device /mnt
  exit
fi
cd /mnt
for name in file plain below below/made below/below; do
  for which in access default; do
    echo "$name $which $($tool get $name system.posix_acl_$which)"
  done
done
echo "file mode $(stat -c %a file)"
touch new other; mkdir directory
$tool set new system.posix_acl_access LIST; $tool set file system.posix_acl_access OTHER
$tool set directory system.posix_acl_default LIST
touch directory/inherited below/inherited; mkdir below/directory
"""


def mode_of(path):
    return f"{stat.S_IMODE(os.stat(path).st_mode):o}"


def tell_lists(directory, names):
    paths = {name: os.path.join(directory, name) for name in names}
    told = {(name, "access"): acl_of(path) for name, path in paths.items()}
    return told | {(name, "default"): acl_of(path, DEFAULT) for name, path in paths.items()}


def posix_lists_of_ntfs3(driver, image, work):
    """What is set here, ntfs3 shows, and the other way round: lists, modes, what is inherited."""
    with mounted(driver, image, "acl") as directory:
        os.chown(made(directory, "file"), 1001, 1002)  # ntfs3 takes modes with an owner only
        put(f"{directory}/file", FULL, ACCESS)
        made(directory, "plain")
        os.mkdir(f"{directory}/below")
        put(f"{directory}/below", FULL, DEFAULT)
        made(directory, "below/made")
        os.mkdir(f"{directory}/below/below")
        ours = tell_lists(directory, ("file", "plain", "below", "below/made", "below/below"))
        ours["file", "mode"] = mode_of(f"{directory}/file")
    tool, payload = os.path.join(work, "xattr_tool"), os.path.join(work, "payload.tar")
    source = os.path.join(volume.ROOT, "tests", "support", "xattr_tool.cc")
    run("g++", "-std=c++20", "-static", source, "-o", tool)
    run("tar", "-cf", payload, "-C", work, "xattr_tool")
    script = os.path.join(work, "changes.sh")
    with open(script, "w", encoding="ascii") as out:
        out.write(NTFS3_LISTS.replace("LIST", FULL.hex()).replace("OTHER", OTHER.hex()))
    options = ("--changes", script, "--payload", payload, "--write", "--skip-readonly", "--no-hash")
    verdict = run_vm([image], work, *options)[image]
    told = verdict["changes"]["output"]
    expect_equal(verdict["changes"]["exit"], 0, f"the script in the virtual machine: {told}")
    words = [line.split(" ", 2) for line in told.splitlines()]
    names = {name: value.split() for name, what, value in words if what == "names"}
    for name, wanted in (("file", [ACCESS]), ("plain", []), ("below", [DEFAULT])):
        lists = [word for word in names[name] if word in (ACCESS, DEFAULT)]
        expect_equal(lists, wanted, f"the names that ntfs3 lists for {name}")
    if any("ACL not compiled in" in line for line in verdict["kernel_log"]):
        raise CaseSkipped("but for the names: ntfs3 of this kernel has no lists compiled in")
    shown = {(name, what): value for name, what, value in words if what != "names"}
    expect_equal(shown, ours, "what ntfs3 shows")
    wanted = {
        ("file", "access"): OTHER.hex(),
        ("new", "access"): FULL.hex(),
        ("other", "access"): "ENODATA",
        ("directory", "default"): FULL.hex(),
        ("directory/inherited", "access"): ours["below/made", "access"],
        ("below/inherited", "access"): ours["below/made", "access"],
        ("below/directory", "access"): ours["below/below", "access"],
        ("below/directory", "default"): FULL.hex(),
    }
    with mounted(driver, image, "acl") as directory:
        theirs = tell_lists(directory, sorted({name for name, _ in wanted}))
        for name, value in wanted.items():
            expect_equal(theirs[name], value, f"what ntfs3 made: {name}")
        for name in ("directory/inherited", "below/inherited"):
            expect_equal(mode_of(f"{directory}/{name}"), "660", f"mode of {name}")
        expect_equal(mode_of(f"{directory}/below/directory"), "770", "mode of a directory")
    judge(driver, image)


def main():
    suite = Suite("security")
    driver = volume.subject_of(suite, "is one of the judges")
    with volume.work_directory("security") as work:
        cases = {
            "descriptors by extended attribute": by_extended_attribute,
            "many descriptors, by turns with ntfs-3g": many,
            "new files inherit": inherited,
            "on a volume of Windows": lambda d, _: on_a_volume_of_windows(d, work),
            "owners and modes by a user mapping": mapped,
            "a user mapping is enforced": mapped_is_enforced,
            "a user mapping elsewhere": lambda d, i: mapped_elsewhere(d, i, work),
            "POSIX access control lists": lambda d, i: posix_lists(d, i, work),
            "POSIX access control lists, with ntfs3": lambda d, i: posix_lists_of_ntfs3(d, i, work),
        }
        for name, case in cases.items():
            if suite.wants(name):
                with suite.case(name):
                    image = os.path.join(work, "volume.img")
                    driver.format(image, 64 * MIB)
                    case(driver, image)
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
