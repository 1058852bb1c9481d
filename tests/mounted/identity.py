#!/usr/bin/python3
"""What NTFS knows a file by beside its name: 8.3 names and object ids. ntfs-3g makes them and we
change the files, and the other way round; both must then show the same.

usage: identity.py [WORD...]     only cases whose names contain a word
"""
import errno
import os
import sys

import volume
from cases import CaseFailure, CaseSkipped, Suite, expect, expect_equal
from peers_agree import check_volume
from volume import MIB, Ntfs3g, mounted

DOS_NAME, OBJECT_ID = "system.ntfs_dos_name", "system.ntfs_object_id"
DIRECTORY = "A long directory"


def attribute(path, name):
    """None when the file has none."""
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return None


def object_id(number):
    return bytes([number]) + b"fedcba987654321"


def expect_error(code, action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        expect_equal(error.errno, code, f"{action.__name__}{arguments}")
    else:
        raise CaseFailure(f"{action.__name__}{arguments} succeeded")


class Tree:
    """What there should be: for each long name the content, the short name and the object id."""

    def __init__(self, directory):
        self.directory = directory
        self.files = {}
        self.gone = set()

    def path(self, name):
        return os.path.join(self.directory, name)

    def make(self, number):
        name, short = f"A long name {number}.text", f"ALONGN~{number}.TEX"
        with open(self.path(name), "xb") as out:
            out.write(b"%d" % number)
        os.setxattr(self.path(name), DOS_NAME, short.encode())
        os.setxattr(self.path(name), OBJECT_ID, object_id(number))
        self.files[name] = (b"%d" % number, short, object_id(number))

    def fill(self):
        for number in range(1, 10):
            self.make(number)
        os.mkdir(self.path(DIRECTORY))
        os.setxattr(self.path(DIRECTORY), DOS_NAME, b"ALONGD~1")
        with open(self.path("ALONGD~1/inside"), "xb") as out:
            out.write(b"inside")

    def drop_short(self, name):
        self.gone.add(self.files[name][1])
        self.files[name] = (self.files[name][0], None, self.files[name][2])

    def take(self, name):
        self.drop_short(name)
        self.gone.add(name)
        return self.files.pop(name)

    def change(self):
        """By long and by short names, whatever can happen to a name."""
        names = sorted(self.files)
        shorts = {name: self.files[name][1] for name in names}
        os.unlink(self.path(names[0]))
        self.take(names[0])
        os.unlink(self.path(shorts[names[1]]))
        self.take(names[1])
        os.rename(self.path(names[2]), self.path("renamed"))
        self.files["renamed"] = self.take(names[2])
        os.rename(self.path(shorts[names[3]]), self.path("renamed too"))
        self.files["renamed too"] = self.take(names[3])
        os.removexattr(self.path(names[4]), DOS_NAME)
        os.removexattr(self.path(names[4]), OBJECT_ID)
        self.drop_short(names[4])
        self.files[names[4]] = (b"5", None, None)
        os.setxattr(self.path(names[5]), DOS_NAME, b"OTHER.TXT")
        os.setxattr(self.path(names[5]), OBJECT_ID, object_id(100))
        self.drop_short(names[5])
        self.files[names[5]] = (b"6", "OTHER.TXT", object_id(100))
        os.rename(self.path(names[6]), self.path(names[7]))
        self.take(names[7])
        self.files[names[7]] = self.take(names[6])
        self.gone.discard(names[7])
        os.setxattr(self.path(names[7]), DOS_NAME, b"TAKEN")
        self.files[names[7]] = (b"7", "TAKEN", object_id(7))

    def expect(self, is_ours):
        names = sorted(os.listdir(self.directory))
        expect_equal(names, sorted([*self.files, DIRECTORY]), "names")
        for name, (content, short, number) in self.files.items():
            path = self.path(name)
            with open(path, "rb") as source:
                expect_equal(source.read(), content, name)
            expect_equal(
                attribute(path, DOS_NAME), short.encode() if short else None, f"8.3 of {name}"
            )
            told = attribute(path, OBJECT_ID)
            expect_equal(told and told[:16], number, f"object id of {name}")
            if short:
                expect(os.path.samefile(path, self.path(short)), f"{short} is another file")
            if is_ours:  # ntfs-3g counts the 8.3 name as a link
                expect_equal(os.stat(path).st_nlink, 1, f"links of {name}")
        for name in self.gone:
            # The kernel is told a little later of a long name that went with its short one.
            volume.wait_until(lambda: not os.path.lexists(self.path(name)), f"{name} is gone", 5)
        expect_equal(os.listdir(self.path("ALONGD~1")), ["inside"], "the directory's 8.3 name")


def made_by(maker, changer, image):
    maker.format(image, 64 * MIB)
    with mounted(maker, image) as directory:
        tree = Tree(directory)
        tree.fill()
    with mounted(changer, image) as tree.directory:
        tree.expect(changer.name == "ntfs-wal")
        tree.change()
        tree.expect(changer.name == "ntfs-wal")
    check_volume(image)
    for driver in (maker, changer):
        with mounted(driver, image) as tree.directory:
            tree.expect(driver.name == "ntfs-wal")
            # The ids of what was removed are free, those of others are not.
            path = tree.path("renamed")
            os.setxattr(path, OBJECT_ID, object_id(1))
            expect_error(errno.EEXIST, os.setxattr, path, OBJECT_ID, object_id(7))
            os.setxattr(path, OBJECT_ID, object_id(3))
    check_volume(image)


def refusals(driver, image):
    if driver.name != "ntfs-wal":
        raise CaseSkipped(f"{driver.name} takes short names of any form")
    driver.format(image, 64 * MIB)
    with mounted(driver, image) as directory:
        tree = Tree(directory)
        tree.make(1)
        tree.make(2)
        path = tree.path("A long name 1.text")
        for short in (b"NINELONG1", b"A.LONG", b"A B", b"A+B", b"A:B", b"CON", b""):
            expect_error(errno.EINVAL, os.setxattr, path, DOS_NAME, short)
        expect_error(errno.EEXIST, os.setxattr, path, DOS_NAME, b"alongn~2.tex")
        expect_error(errno.EEXIST, os.mkdir, tree.path("ALONGN~1.TEX"))
        expect_error(errno.EEXIST, os.link, path, tree.path("ALONGN~2.TEX"))
        expect_error(errno.EINVAL, os.setxattr, path, OBJECT_ID, b"short")
        expect_error(errno.EINVAL, os.setxattr, directory, DOS_NAME, b"ROOT")
        os.link(path, tree.path("another link"))
        expect_equal(os.stat(path).st_nlink, 2, "links")
        expect_equal(attribute(tree.path("another link"), DOS_NAME), b"ALONGN~1.TEX", "8.3 name")
        os.unlink(path)
        expect_equal(attribute(tree.path("another link"), DOS_NAME), None, "8.3 name")
        expect_equal(os.stat(tree.path("another link")).st_nlink, 1, "links")
        expect_error(errno.ENODATA, os.removexattr, tree.path("another link"), DOS_NAME)
    check_volume(image)


def main():
    suite = Suite("identity")
    try:
        driver = volume.subject()
        if not driver.is_ntfs:
            raise CaseSkipped(f"{driver.name} has neither")
    except CaseSkipped as reason:
        suite.skip("all", str(reason))
        suite.finish()
    cases = {
        "ntfs-3g makes them, we change the files": lambda image: made_by(Ntfs3g(), driver, image),
        "we make them, ntfs-3g changes the files": lambda image: made_by(driver, Ntfs3g(), image),
        "refusals": lambda image: refusals(driver, image),
    }
    with volume.work_directory("identity") as work:
        suite.run(cases, os.path.join(work, "volume.img"))
    suite.finish()


if __name__ == "__main__":
    sys.exit(main())
