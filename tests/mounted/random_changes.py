"""Random changes of a tree, and what its files must then hold."""
import contextlib
import errno
import os
import random
import stat

from cases import expect

REFUSALS = (
    errno.ENOSPC,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.EINVAL,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EMLINK,
    errno.EOPNOTSUPP,
    errno.ENODATA,
)
ROOM_LEFT = 512 * 1024


class RandomChanges:
    """`seed` decides what is tried, the room that is left how much of it. What a volume refuses
    leaves the file as it was; when it is full, files are read again.

    `files` maps paths to lists of one element, the content: links share the list."""

    def __init__(self, directory, seed):
        self.directory = directory
        self.chance = random.Random(seed)
        self.files = {}
        self.done = self.refused = self.made = 0
        nodes = {}
        for parent, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(parent, name)
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode):
                    with contextlib.suppress(OSError), open(path, "rb") as source:
                        self.files[path] = nodes.setdefault(info.st_ino, [source.read()])

    def directories(self):
        return sorted(parent for parent, _, _ in os.walk(self.directory))

    def some_directory(self):
        return self.chance.choice(self.directories())

    def some_file(self):
        return self.chance.choice(sorted(self.files)) if self.files else self.create()

    def new_path(self):
        self.made += 1
        shape = self.chance.choice(
            ("short%d", "A longer name, number %d.text", "ütf-8 ☃ %d", "N%d")
        )
        return os.path.join(self.some_directory(), shape % self.made)

    def some_bytes(self):
        free = os.statvfs(self.directory)
        room = max(0, free.f_bavail * free.f_frsize - ROOM_LEFT) // 4
        size = self.chance.choice((0, 10, 600, 1000, 5000, 70000, 700000))
        return self.chance.randbytes(self.chance.randint(0, size))[:room]

    def create(self):
        path, content = self.new_path(), self.some_bytes()
        self.files[path] = [b""]
        with open(path, "xb") as out:
            out.write(content)
        self.files[path][0] = content
        return path

    def write(self):
        path, content = self.some_file(), self.some_bytes()
        old = self.files[path][0]
        at = self.chance.randint(0, len(old) + 5000)
        with open(path, "r+b", buffering=0) as out:
            os.pwrite(out.fileno(), content, at)
        if content:
            self.files[path][0] = old[:at].ljust(at, b"\0") + content + old[at + len(content) :]

    def truncate(self):
        path = self.some_file()
        old = self.files[path][0]
        size = self.chance.randint(0, len(old) + 3000)
        os.truncate(path, size)
        self.files[path][0] = old[:size].ljust(size, b"\0")

    def unlink(self):
        path = self.some_file()
        os.unlink(path)
        del self.files[path]

    def rename(self):
        path, target = self.some_file(), self.new_path()
        if self.chance.random() < 0.3:
            target = self.some_file()
        if self.files.get(target) is self.files[path]:
            return
        os.rename(path, target)
        self.files[target] = self.files.pop(path)

    def link(self):
        path, target = self.some_file(), self.new_path()
        os.link(path, target)
        self.files[target] = self.files[path]

    def make_directory(self):
        os.mkdir(self.new_path())

    def move_directory(self):
        path, target = self.some_directory(), self.new_path()
        if path == self.directory or (target + "/").startswith(path + "/"):
            return
        os.rename(path, target)
        for old in [old for old in self.files if old.startswith(path + "/")]:
            self.files[target + old[len(path) :]] = self.files.pop(old)

    def remove_directory(self):
        if len(self.directories()) > 1:
            os.rmdir(self.chance.choice(self.directories()[1:]))

    def set_short_name(self):
        name = b"SHORT~%d.%d" % (self.chance.randrange(10), self.chance.randrange(10))
        os.setxattr(self.some_file(), "system.ntfs_dos_name", name)

    def set_object_id(self):
        os.setxattr(self.some_file(), "system.ntfs_object_id", self.chance.randbytes(64))

    def remove_identity(self):
        name = self.chance.choice(("system.ntfs_dos_name", "system.ntfs_object_id"))
        os.removexattr(self.some_file(), name)

    def set_attributes(self):
        # Not FILE_ATTRIBUTE_SYSTEM: an empty file that has it is a fifo of Interix.
        bits = self.chance.choice((0x20, 0x21, 0x02, 0x22, 0x2000))
        os.setxattr(self.some_file(), "system.ntfs_attrib_be", bits.to_bytes(4, "big"))

    def set_stream(self):
        name = "user.stream %d" % self.chance.randrange(4)
        os.setxattr(self.some_file(), name, self.some_bytes()[:60000])

    def set_times(self):
        when = self.chance.randrange(10**18)
        os.utime(self.some_file(), ns=(when, when))

    def run(self, count):
        changes = [self.create] * 4 + [self.write] * 5 + [self.rename] * 3
        changes += [self.truncate, self.unlink, self.unlink, self.link, self.make_directory]
        changes += [self.move_directory, self.remove_directory, self.set_short_name]
        changes += [self.set_object_id, self.remove_identity, self.set_attributes]
        changes += [self.set_stream, self.set_times]
        for _ in range(count):
            try:
                self.chance.choice(changes)()
                self.done += 1
            except OSError as error:
                if error.errno not in REFUSALS:
                    raise
                self.refused += 1
                if error.errno == errno.ENOSPC:
                    self.read_again()

    def read_again(self):
        """What came in before the volume was full, stays."""
        for path, holder in list(self.files.items()):
            if not os.path.lexists(path):
                del self.files[path]
                continue
            with open(path, "rb") as source:
                holder[0] = source.read()

    def expect_contents(self):
        for path, (content,) in self.files.items():
            with open(path, "rb") as source:
                expect(source.read() == content, f"{path} does not hold what was written")
