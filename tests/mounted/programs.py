#!/usr/bin/python3
"""What programs keep that have promised something: the daemon is killed while they work, and what
they said was done is there after the recovery, whole.

usage: programs.py [WORD...]     only cases whose names contain a word
"""
import os
import random
import sqlite3
import subprocess
import sys

import volume
from cases import Suite, expect, expect_equal
from peers_agree import check_volume
from volume import MIB, killed, mounted, run

ROUNDS = 3

# Moves amounts between accounts; says the number of each transaction that was committed.
LEDGER = """
import random, sqlite3, sys
path, mode, who = sys.argv[1:]
ledger = sqlite3.connect(path, timeout=60, isolation_level=None)
ledger.execute(f"pragma journal_mode={mode}")
ledger.execute("pragma synchronous=extra")
number = ledger.execute("select max(number) from moves where who = ?", (who,)).fetchone()[0] or 0
while True:
    number += 1
    giver, taker, amount = random.sample(range(1000), 2) + [random.randrange(100)]
    ledger.execute("begin immediate")
    ledger.execute("update accounts set balance = balance - ? where id = ?", (amount, giver))
    ledger.execute("update accounts set balance = balance + ? where id = ?", (amount, taker))
    ledger.execute("insert into moves values (?, ?, hex(randomblob(200)))", (who, number))
    ledger.execute("commit")
    print(number, flush=True)
"""

# Changes files of a repository; says the number of each commit.
COMMITS = r"""
cd "$1" && number=$(($(git rev-list --count HEAD) + 1))
while :; do
  for file in 1 2 3; do echo "$number" >>"file $((number * file % 17))"; done
  git add . && git commit -q -m "$number" || exit
  echo "$number"
  number=$((number + 1))
done
"""


def last_said(process, count):
    """The last of `count` lines that it writes, as a number."""
    for _ in range(count):
        line = process.stdout.readline()
        expect(line, f"ended with {process.poll()} before it was killed")
    return int(line)


def rest_said(process, said):
    """The last number of all: what it wrote before the daemon died counts, too."""
    process.kill()
    lines = process.stdout.read().splitlines()
    process.wait(timeout=60)
    return int(lines[-1]) if lines else said


def start(*command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def make_ledger(path, mode):
    with sqlite3.connect(path) as ledger:
        ledger.execute(f"pragma journal_mode={mode}")
        ledger.execute("create table accounts (id integer primary key, balance)")
        ledger.execute("create table moves (who, number, note, primary key (who, number))")
        ledger.executemany("insert into accounts values (?, 0)", [(i,) for i in range(1000)])
    ledger.close()


def check_ledger(path, said):
    ledger = sqlite3.connect(path)
    expect_equal(ledger.execute("pragma integrity_check").fetchall(), [("ok",)], "integrity_check")
    expect_equal(ledger.execute("select sum(balance) from accounts").fetchone(), (0,), "balances")
    for who, promised in said.items():
        found = [n for n, in ledger.execute("select number from moves where who = ?", who)]
        expect_equal(sorted(found), list(range(1, len(found) + 1)), f"moves of {who}")
        # The last one may have been committed without a word.
        expect(
            promised <= len(found) <= promised + 1,
            f"{who} said {promised} moves were committed, {len(found)} are there",
        )
        said[who] = len(found)
    ledger.close()


def keep_a_database(mode):
    def case(driver, image, directory):
        with mounted(driver, image, directory=directory):
            make_ledger(os.path.join(directory, "ledger"), mode)
        path, said = os.path.join(directory, "ledger"), {"a": 0, "b": 0}
        for _ in range(ROUNDS):
            with killed(image, directory):
                writers = {
                    who: start(sys.executable, "-c", LEDGER, path, mode, who) for who in "ab"
                }
                said["a"] = last_said(writers["a"], random.randrange(1, 60))
            for who, writer in writers.items():
                said[who] = rest_said(writer, said[who])
            with mounted(driver, image, directory=directory):
                check_ledger(path, said)

    return case


def keep_a_repository(driver, image, directory):
    tree = os.path.join(directory, "tree")
    with mounted(driver, image, directory=directory):
        run("git", "init", "-q", tree)
        for key, value in (
            ("user.name", "tester"),
            ("user.email", "tester@example.com"),
            ("core.fsync", "all"),
        ):
            run("git", "-C", tree, "config", key, value)
        run("git", "-C", tree, "commit", "-q", "--allow-empty", "-m", "1")
    for _ in range(ROUNDS):
        with killed(image, directory):
            writer = start("sh", "-c", COMMITS, "sh", tree)
            said = last_said(writer, random.randrange(1, 30))
        said = rest_said(writer, said)
        with mounted(driver, image, directory=directory):
            told = run("git", "-C", tree, "fsck", "--full", "--strict")
            expect("error" not in told.stdout + told.stderr, told.stdout + told.stderr)
            found = int(run("git", "-C", tree, "rev-list", "--count", "HEAD").stdout)
            # git syncs what it writes, but not the directory in which it renames the branch.
            expect(said - 1 <= found <= said + 1, f"{said} commits were made, {found} are there")
            for name in ("index.lock", "HEAD.lock", "refs/heads/master.lock"):
                if os.path.exists(lock := os.path.join(tree, ".git", name)):
                    os.unlink(lock)
            run("git", "-C", tree, "reset", "-q", "--hard")
            run("git", "-C", tree, "gc", "-q")


CASES = {
    **{
        f"a database ({mode})": keep_a_database(mode)
        for mode in ("delete", "truncate", "persist", "wal")
    },
    "a repository": keep_a_repository,
}


def main():
    suite = Suite("programs")
    driver = volume.subject_of(suite, "is not killed here")
    seed = random.randrange(1 << 32)
    random.seed(seed)
    print(f"seed {seed}")
    with volume.work_directory("programs") as work:
        image, directory = os.path.join(work, "volume.img"), os.path.join(work, "mount")
        os.mkdir(directory)
        for name, case in CASES.items():
            if suite.wants(name):
                with suite.case(name):
                    driver.format(image, 256 * MIB)
                    case(driver, image, directory)
                    check_volume(image)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
