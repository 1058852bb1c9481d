"""Named cases for the suites here: they say PASS, FAIL or SKIP, and are counted at the end."""
import os
import signal
import sys
import time
import traceback


class CaseFailure(Exception):
    """What a case found wrong; its text is all that a reader needs."""


class CaseSkipped(Exception):
    """Why a case cannot be judged here."""


def expect(fact, message):
    if not fact:
        raise CaseFailure(message)


def expect_equal(got, wanted, what):
    if got != wanted:
        raise CaseFailure(f"{what}: got {got!r}, expected {wanted!r}")


def expect_no_differences(differences, what):
    if differences:
        shown = "\n    ".join(differences[:15])
        raise CaseFailure(f"{what}: {len(differences)} differences\n    {shown}")


class Case:
    """Context of one case: exceptions end it as failed (or skipped), not the suite."""

    def __init__(self, suite, name):
        self.suite = suite
        self.name = name

    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, kind, error, trace):
        seconds = f"({time.monotonic() - self.start:.1f} s)"
        if error is None:
            self.suite.record("PASS", self.name, seconds)
        elif isinstance(error, CaseSkipped):
            self.suite.record("SKIP", self.name, str(error))
        elif isinstance(error, CaseFailure):
            self.suite.record("FAIL", self.name, f"{seconds}: {error}")
        elif isinstance(error, Exception):
            text = "".join(traceback.format_exception(kind, error, trace)[-4:])
            self.suite.record("FAIL", self.name, f"{seconds}: {text}")
        else:
            return False
        return True


class Suite:
    def __init__(self, title):
        self.title = title
        self.results = {"PASS": [], "FAIL": [], "SKIP": []}
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit still cleans up
        self.wanted = [word for word in sys.argv[1:] if not word.startswith("-")]

    def wants(self, name):
        """Words on the command line choose the cases whose names contain one of them."""
        return not self.wanted or any(word in name for word in self.wanted)

    def case(self, name):
        return Case(self, name)

    def run(self, cases, *arguments):
        """The wanted ones of `cases`, which maps names to functions of `arguments`."""
        for name, case in cases.items():
            if self.wants(name):
                with self.case(name):
                    case(*arguments)

    def skip(self, name, reason):
        self.record("SKIP", name, reason)

    def record(self, verdict, name, text):
        self.results[verdict].append(name)
        print(f"{verdict} {self.title}: {name} {text}", flush=True)

    def finish(self):
        passed, failed, skipped = (len(self.results[v]) for v in ("PASS", "FAIL", "SKIP"))
        print(f"{self.title}: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
        sys.stdout.flush()
        os._exit(1 if failed else 0)  # no waiting for threads of a case that failed
