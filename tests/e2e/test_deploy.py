"""deploy/: the systemd unit, as far as systemd-analyze can tell without a running systemd, the Dockerfile's list of
packages, and the commands in docs/operations.md."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from jobpool_e2e import BIN, PATIENCE, ROOT, SLOW

UNIT = os.path.join(ROOT, "deploy", "systemd", "jobpoold.service")


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
                          check=False)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze (Debian's package systemd)")
class Unit(unittest.TestCase):
    def test_exposure_is_below_3(self):
        done = run("systemd-analyze", "--no-pager", "security", "--offline=true", "--threshold=30", UNIT)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"Overall exposure level for jobpoold.service: [0-2]\.\d")

    def test_nothing_in_it_is_unknown(self):
        # Verified where the program is, since it is not installed here.
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/jobpoold.service"
            with open(path, "w", encoding="utf-8") as file:
                file.write(read(UNIT).replace("/usr/bin/jobpoold", BIN + "/jobpoold"))
            done = run("systemd-analyze", "verify", "--recursive-errors=no", path)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_stopping_takes_longer_than_the_longest_drain(self):
        drain = int(re.search(r"--drain_timeout TEXT=(\d+)s", run(BIN + "/jobpoold", "--help").stdout)[1])
        stop = int(re.search(r"^TimeoutStopSec=(\d+)$", read(UNIT), re.M)[1])
        self.assertGreaterEqual(stop, drain + 5 + 1 + 3 + 5)  # grace for jobs, calls, HTTP, and a margin


class Config(unittest.TestCase):
    def test_the_example_is_valid_and_has_the_defaults(self):
        example = ROOT + "/deploy/jobpoold.textproto"
        done = run(BIN + "/jobpoold", "--validate_config", "--config=" + example)
        self.assertEqual((done.returncode, done.stdout), (0, "valid\n"))
        defaults = read(ROOT + "/proto/jobpool/config/v1/config.proto")
        for field, value in re.findall(r"^  (max_\w+): (\d+)$", read(example), re.M):
            power = int(value).bit_length() - 1
            said = f"2^{power}" if power >= 30 and int(value) == 1 << power else f"{int(value):,}"
            comment = re.search(rf"((?:  //.*\n)+)  optional \w+ {field} = ", defaults)[1].replace("\n  //", "")
            self.assertRegex(comment, rf"Default: of `blocking` {said}\b|Default {re.escape(said)}\.", field)


class Page(unittest.TestCase):
    def test_the_commands_that_it_names_exist(self):
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", read(ROOT + "/docs/operations.md"))]
        commands = map(re.compile(r"jobpool ([a-z][a-z-]*)(?: ([a-z]+)\b)?").match, spans)
        named = {match.groups() for match in commands if match}
        self.assertGreater(len(named), 5)
        for command, verb in sorted(named, key=str):
            with self.subTest(command=command, verb=verb):
                words = [command, verb] if command in ("jobs", "threads", "pools") and verb else [command]
                self.assertIn("Usage: jobpool " + " ".join(words) + " [OPTIONS]",
                              run(BIN + "/jobpool", *words, "--help").stdout)


@unittest.skipIf(SLOW > 1, "sanitized programs link more")
class Image(unittest.TestCase):
    def test_the_list_of_packages_holds_what_the_programs_link(self):
        runtime = read(ROOT + "/deploy/docker/Dockerfile").rpartition("\nFROM ")[2]
        listed = set(re.search(r"--no-install-recommends(.*?)&&", runtime, re.S)[1].replace("\\\n", " ").split())
        depends = {}
        for line in run("dpkg-query", "-W", "-f", "${Package}\t${Pre-Depends}, ${Depends}\n").stdout.splitlines():
            package, _, others = line.partition("\t")
            depends[package] = set(re.findall(r"(?:^|, )([a-z0-9][a-z0-9.+-]+)", others))
        installed, more = set(), listed
        while more:
            installed |= more
            more = set().union(*(depends.get(package, set()) for package in more)) - installed
        paths = set()
        for program in ("jobpoold", "jobpool"):
            linked = set(re.findall(r"NEEDED.*\[(.+)\]", run("readelf", "-d", f"{BIN}/{program}").stdout))
            found = dict(re.findall(r"(\S+) => (/\S+)", run("ldd", f"{BIN}/{program}").stdout))
            paths |= {os.path.realpath(found[library]) for library in linked if library in found}
        # /lib is /usr/lib: dpkg knows a file under one of the two.
        owners = run("dpkg-query", "-S", *paths, *(path.removeprefix("/usr") for path in paths)).stdout
        needed = set(re.findall(r"^([a-z0-9.+-]+)(?::\w+)?: /", owners, re.M))
        self.assertGreater(len(needed), 5)
        self.assertLessEqual(needed, installed)
        self.assertLessEqual(listed, needed, "listed, and not linked by the programs")
