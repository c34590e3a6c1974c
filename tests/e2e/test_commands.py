"""Jobs of the kind command, from outside: what arrives of arguments and what is refused, what comes back of programs,
how they end, and what is left of them."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import BIN, PATIENCE, SLOW, Client, E2eTest, Server, eventually, job_reason
from test_config import ConfigTest

Job = job_pb2.Job
StopStep = job_pb2.StopStep
Event = js.JobEvent
Stream = js.JobEvent.Output
INVALID = grpc.StatusCode.INVALID_ARGUMENT
MIB = 1 << 20
REQUEST = "01234567-89ab-4def-8123-456789abcdef"


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def shell(name, script, more=""):
    """A command that runs a script of the test."""
    return f'commands {{ name: "{name}" argv: "/bin/sh" argv: "-c" argv: {quoted(script.replace("{", "{{"))} {more} }}\n'


COMMANDS = r"""
commands {
  name: "show" argv: "/usr/bin/printf" argv: "<%s>" argv: "{text}" argv: "--x={text}"
  parameters { name: "text" pattern: "(?s).*" }
}
commands {
  name: "typed" argv: "/bin/echo" argv: "{number}" argv: "{path}" argv: "{word}" argv: "{flag}" argv: "{text}"
  parameters { name: "number" type: INT min: 1 max: 10 }
  parameters { name: "path" type: PATH }
  parameters { name: "word" type: ENUM values: "a" values: "b" default_value: "a" }
  parameters { name: "flag" type: BOOL default_value: "true" }
  parameters { name: "text" default_value: "-" allow_leading_dash: true }
}
commands { name: "cat" argv: "/bin/cat" }
commands { name: "env" argv: "/usr/bin/env" allowed_environment: "LC_ALL" environment: "A=1" }
commands {
  name: "wait-for" argv: "/bin/sh" argv: "-c" argv: "while ! [ -e \"$1\" ]; do echo tick; sleep 0.02; done; echo gone >&2; echo last"
  argv: "sh" argv: "/{file}" parameters { name: "file" type: PATH }
}
commands { name: "gone" argv: "/nonexistent/program" }
""" + "".join([
    shell("fail", "echo out; echo first >&2; echo why >&2; exit 3"),
    shell("crash", "kill -SEGV $$"),
    shell("flood", "head -c 20000000 /dev/zero; echo done >&2"),
    shell("stubborn", "trap '' TERM; echo begun; while :; do sleep 600; done", "kill_grace { nanos: 100000000 }"),
    shell("demon", "setsid sleep 600 & echo $!"),
    shell("demon-alive", "setsid sleep 600 & echo $! > pid; sleep 600"),
    shell("where", "pwd; ls -A; ls /proc/self/fd | wc -l; ulimit -n; ulimit -f; grep NoNewPrivs /proc/self/status"),
    shell("large-file", "dd if=/dev/zero of=x bs=100000 count=1", "limits { max_file_bytes: 50000 }"),
    shell("burn", "while :; do :; done", "limits { max_cpu_time { seconds: 1 } }"),
    shell("much-memory", "dd if=/dev/zero of=/dev/null bs=1G count=1", "limits { max_memory_bytes: 67108864 }"),
])


def command(name, stdin=b"", environment=None, arguments=None, **fields):
    return Job(command=job_pb2.Command(name=name, arguments=arguments or {}, stdin=stdin, environment=environment or {}),
               **fields)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ignores(pid, number):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"SigIgn:\s*([0-9a-f]+)", status)[1], 16) >> (number - 1) & 1


class Shared(E2eTest):
    @classmethod
    def setUpClass(cls):
        cls.config = cls.enterClassContext(tempfile.NamedTemporaryFile("w", suffix=".txtpb"))
        cls.config.write(COMMANDS)
        cls.config.flush()
        cls.shared = Server(f"--config={cls.config.name}")
        cls.addClassCleanup(cls.shared.finish)
        cls.c = Client(cls.shared.grpc)
        cls.addClassCleanup(cls.c.close)

    def succeeds(self, job):
        done = self.c.run(job)
        self.assertEqual(done.state, Job.SUCCEEDED, done.error)
        self.assertFalse(done.HasField("error"))
        return done.result.command

    def failure(self, job):
        """The job, which has failed by its program."""
        done = self.c.run(job)
        self.assertEqual((done.state, job_reason(done)), (Job.FAILED, "COMMAND_FAILED"), done)
        return done


class Arguments(Shared):
    def test_hostile_ones_arrive_as_they_are(self):
        for text in ("$(touch /tmp/pwned)", "`id`", "; rm -rf /", "a && b || c", "> /tmp/x", "a | b", "two  words", "*",
                     "'\"\\", "$HOME", "~root", "{text}", "%s%n%d", "a\nb\r\n\tc", "\x01\x1b[31m", "../../etc/passwd", "",
                     "café 🌙", "x" * 4096):
            with self.subTest(text[:40]):
                out = self.succeeds(command("show", arguments={"text": text})).stdout
                self.assertEqual(out.decode(), f"<{text}><--x={text}>")

    def test_or_are_refused(self):
        good = {"number": "1", "path": "a/b"}
        for name, values in {"number": ("", "0", "11", "-1", "+1", "01", "1 ", "1\n", "0x1", "1.0", "9" * 30, "1\0"),
                             "path": ("", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "./a", "a//b", "-a", "a\nb",
                                      "a\0", "x" * 4097),
                             "word": ("", "c", "A", "a "), "flag": ("", "1", "TRUE"),
                             "text": ("a\nb", "a\0b", "x" * 4097, "x" * MIB)}.items():
            for value in values:
                with self.subTest(name=name, value=value[:40]):
                    error = self.fails(INVALID, self.c.run, command("typed", arguments={**good, name: value}))
                    # 1 MiB is more than all arguments may have together, which is said too.
                    self.assertIn(f'job.command.arguments["{name}"]', error.fields)
        for value in ("-x", "--help", "-"):
            with self.subTest(value):
                error = self.fails(INVALID, self.c.run, command("show", arguments={"text": value}))
                self.assertEqual(error.fields, ['job.command.arguments["text"]'])
        self.assertEqual(self.succeeds(command("typed", arguments={**good, "text": "-n"})).stdout, b"1 a/b a true -n\n")
        self.assertEqual(self.succeeds(command("typed", arguments=good)).stdout, b"1 a/b a true -\n")

    def test_unknown_and_missing_ones_and_unknown_commands_are_refused(self):
        error = self.fails(INVALID, self.c.submit, command("typed", arguments={"number": "1", "nope": ""}))
        self.assertEqual(error.fields, ['job.command.arguments["nope"]', 'job.command.arguments["path"]'])
        for name in ("", "nope", "/bin/sh", "../sh", "cat\0", "CAT", "x" * MIB):
            with self.subTest(name[:20]):
                self.assertEqual(self.fails(INVALID, self.c.submit, command(name)).fields, ["job.command.name"])
        batch = js.BatchSubmitJobsRequest(requests=[{"job": command("cat")}, {"job": command("nope")}])
        error = self.fails(INVALID, self.c.jobs.BatchSubmitJobs, batch, timeout=PATIENCE)
        self.assertEqual(error.fields, ["requests[1].job.command.name"])
        many = {f"a{i}": "" for i in range(33)}
        self.assertEqual(self.fails(INVALID, self.c.submit, command("cat", arguments=many)).fields,
                         ["job.command.arguments"])

    def test_environment(self):
        self.assertEqual(self.succeeds(command("env")).stdout, b"A=1\nPATH=/usr/bin:/bin\nLANG=C.UTF-8\n")
        self.assertEqual(self.succeeds(command("env", environment={"LC_ALL": "x y\nz"})).stdout,
                         b"A=1\nPATH=/usr/bin:/bin\nLANG=C.UTF-8\nLC_ALL=x y\nz\n")
        for name, value in (("LD_PRELOAD", "/x.so"), ("PATH", "/tmp"), ("A", "2"), ("LC_ALL", "a\0b"),
                            ("LC_ALL", "x" * 4097), ("", ""), ("LC_ALL=x", "")):
            with self.subTest(name=name):
                error = self.fails(INVALID, self.c.submit, command("env", environment={name: value}))
                self.assertEqual(error.fields, [f'job.command.environment["{name}"]'])


class Programs(Shared):
    def test_stdin_comes_to_it_and_stdout_back(self):
        for stdin in (b"", b"text\n", bytes(range(256)) * 4096):
            result = self.succeeds(command("cat", stdin=stdin))
            self.assertTrue(result.stdout == stdin)
            self.assertEqual((result.stderr, result.stdout_truncated, result.exit_status), (b"", False, 0))
        self.assertEqual(self.fails(INVALID, self.c.submit, command("cat", stdin=bytes(MIB + 1))).fields,
                         ["job.command.stdin"])

    def test_the_job_says_what_it_runs_but_not_its_stdin(self):
        job = self.c.run(command("show", arguments={"text": "a"}, stdin=b"secret"))
        for seen in (job, self.c.get(job.name)):
            self.assertEqual((seen.command.name, dict(seen.command.arguments), seen.command.stdin, seen.pool),
                             ("show", {"text": "a"}, b"", "pools/blocking"))
        listed = self.c.jobs.ListJobs(js.ListJobsRequest(filter="kind = command"), timeout=PATIENCE).jobs
        self.assertIn(job.name, [j.name for j in listed])
        self.assertFalse(any(j.HasField("result") for j in listed))
        again = self.c.join(self.c.jobs.RetryJob(js.RetryJobRequest(name=job.name), timeout=PATIENCE).name)
        self.assertEqual(again.result.command.stdout, b"<a><--x=a>")
        self.assertGreaterEqual(self.shared.metrics().sum("jobpool_jobs_finished_total", kind="command"), 2)

    def test_a_failure_says_why_and_keeps_what_was_written(self):
        job = self.failure(command("fail"))
        self.assertEqual(job.error.message, "exit status 3; the end of its stderr: first | why")
        result = job.result.command
        self.assertEqual((result.exit_status, result.signal, result.stdout, result.stderr),
                         (3, 0, b"out\n", b"first\nwhy\n"))
        self.assertEqual(self.c.get(job.name).result, job.result)
        self.assertEqual(self.failure(command("crash")).result.command.signal, 11)

    def test_it_cannot_be_started(self):
        job = self.c.run(command("gone"))
        self.assertEqual((job.state, job_reason(job)), (Job.FAILED, "WORK_FAILED"))
        self.assertIn("No such file", job.error.message)
        self.assertFalse(job.HasField("result"))

    def test_a_flood_is_cut_and_goes_on(self):
        result = self.succeeds(command("flood"))
        self.assertEqual((len(result.stdout), result.stdout_truncated), (MIB, True))
        self.assertEqual((result.stderr, result.stderr_truncated), (b"done\n", False))

    def test_limits_are_named(self):
        for name, word in (("large-file", "its limit is 50000 bytes"), ("burn", "limit of 1 s of CPU time"),
                           ("much-memory", "memory was refused: its limit is 67108864 bytes")):
            if SLOW > 1 and name == "much-memory":
                continue  # a sanitizer takes terabytes of address space: there is no limit
            with self.subTest(name):
                job = self.failure(command(name))
                self.assertIn(word, job.error.message)
                self.assertEqual(job.error.code, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])

    def test_what_it_finds_around_it(self):
        where, *rest = self.succeeds(command("where")).stdout.decode().splitlines()
        self.assertFalse(os.path.exists(where), "its folder is gone with it")
        descriptors, files, blocks, privileges = rest  # none was in its folder
        self.assertEqual((int(descriptors), files), (4, "64"))  # its streams, and that of ls
        self.assertEqual(int(blocks) * 512, 1 << 30)
        self.assertEqual(privileges.split(), ["NoNewPrivs:", "1"])


class Ends(Shared):
    def test_one_that_does_not_listen_is_killed_after_the_grace(self):
        name = self.c.submit(command("stubborn")).name
        server = self.shared.process.pid
        pid = eventually(lambda: next((a.process_id for a in self.c.get(name).attempts if a.process_id != server), 0),
                         what="it runs")
        eventually(lambda: ignores(pid, signal.SIGTERM), what="it has closed its ears")
        self.c.cancel(name)
        job = self.c.join(name)
        self.assertEqual((job.state, job_reason(job)), (Job.CANCELLED, "CANCEL_REQUESTED"))
        steps = [step.action for step in job.attempts[0].stop_steps]
        self.assertEqual(steps, [StopStep.ASKED, StopStep.TERMINATED, StopStep.KILLED])
        self.assertEqual(job.attempts[0].process_id, pid)

    def test_a_timeout_ends_it(self):
        job = self.c.run(command("stubborn", timeout={"nanos": 300_000_000}))
        self.assertEqual((job.state, job_reason(job)), (Job.FAILED, "ATTEMPT_TIMED_OUT"))

    def test_what_it_leaves_behind_ends_with_it(self):
        pid = int(self.succeeds(command("demon")).stdout)
        self.assertFalse(lives(pid))

    def test_the_end_of_the_server_is_theirs(self):
        for how in ("kill", "finish"):
            with self.subTest(how):
                server, client = self.both(f"--config={self.config.name}")
                client.running(client.submit(command("demon-alive")).name)
                folders = eventually(lambda: self.folders_of(server.pid), what="it has begun")
                pids = [int(pathlib.Path(folder, "pid").read_text("ascii")) for folder in folders]
                self.assertTrue(all(lives(pid) for pid in pids))
                getattr(server, how)()
                eventually(lambda: not any(lives(pid) for pid in pids), what="they have ended")

    @staticmethod
    def folders_of(server):
        """The folders of programs of this server that have a file `pid` with a number in it."""
        parents = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                    parents[int(pid)] = int(stat.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass
        found = set()
        for pid in parents:
            above = pid
            while above in parents and above != server:
                above = parents[above]
            try:
                folder = os.readlink(f"/proc/{pid}/cwd")
                if above == server and pathlib.Path(folder, "pid").read_text("ascii").endswith("\n"):
                    found.add(folder)
            except OSError:
                pass
        return found


class Watch(Shared):
    def watch(self, **fields):
        call = self.c.jobs.WatchJobs(js.WatchJobsRequest(**fields), timeout=2 * PATIENCE)
        self.addCleanup(call.cancel)
        return call

    def test_output_comes_as_it_is_written(self):
        with tempfile.TemporaryDirectory() as folder:
            name = self.c.submit(command("wait-for", arguments={"file": f"{folder[1:]}/go"})).name
            self.c.running(name)
            plain = self.watch(names=[name])
            with_output = self.watch(names=[name], include_output=True)
            told = {Stream.STDOUT: b"", Stream.STDERR: b""}
            types = []
            for message in with_output:
                for event in message.events:
                    types.append(event.type)
                    if event.type == Event.OUTPUT:
                        told[event.output.stream] += event.output.data
                        self.assertEqual((event.job.name, event.job.state), (name, Job.RUNNING))
                    if b"tick\ntick\n" in told[Stream.STDOUT] and not os.path.exists(f"{folder}/go"):
                        with open(f"{folder}/go", "w", encoding="ascii"):
                            pass
                    if event.type == Event.ENDED:
                        ended = event.job.result.command
            self.assertEqual(types[-1], Event.ENDED)
            # It may have begun before the watch.
            self.assertTrue(ended.stdout.endswith(told[Stream.STDOUT]))
            self.assertEqual((told[Stream.STDERR], ended.stdout[-5:]), (b"gone\n", b"last\n"))
            events = [event for message in plain for event in message.events]
            self.assertEqual(events[-1].type, Event.ENDED)
            self.assertFalse([event for event in events if event.type == Event.OUTPUT])

    def test_no_more_is_told_than_is_kept(self):
        call = self.watch(filter="kind = command", changes_only=True, include_output=True)
        next(call)
        name = self.c.run(command("flood")).name
        told, largest = 0, 0
        for message in call:
            for event in message.events:
                if event.type == Event.OUTPUT and event.output.stream == Stream.STDOUT:
                    told += len(event.output.data)
                    largest = max(largest, len(event.output.data))
            if any(event.type == Event.ENDED and event.job.name == name for event in message.events):
                break
        self.assertEqual(told, MIB)
        self.assertLessEqual(largest, 64 << 10)


class Reload(ConfigTest):
    def test_the_list_is_that_of_the_file(self):
        blocked = 'pools { name: "blocking" max_threads: 1 }\n'
        first = blocked + shell("hold", "sleep 600", "kill_grace { nanos: 0 }")
        server, client = self.with_config(first + 'commands { name: "say" argv: "/bin/echo" argv: "one" }')
        self.assertEqual(client.run(command("say")).result.command.stdout, b"one\n")
        self.fails(INVALID, client.submit, command("new"))
        holder = client.submit(command("hold")).name
        client.running(holder)
        queued = client.submit(command("say"), request_id=REQUEST).name
        self.reload(server, first + 'commands { name: "new" argv: "/bin/echo" argv: "two" }')
        self.fails(INVALID, client.submit, command("say"))
        # The answer to the same request is the job that it has made.
        self.assertEqual(client.submit(command("say"), request_id=REQUEST).name, queued)
        new = client.submit(command("new")).name
        client.cancel(holder)
        gone = client.join(queued)
        self.assertEqual((gone.state, job_reason(gone)), (Job.FAILED, "COMMAND_NOT_ALLOWED"))
        self.assertIn('"say"', gone.error.message)
        self.assertEqual(client.join(new).result.command.stdout, b"two\n")
        self.reload(server, blocked + 'commands { name: "x" argv: "echo" }', successful=False)
        self.assertEqual(client.run(command("new")).result.command.stdout, b"two\n")


class CommandLine(Shared):
    def cli(self, *args, status=0, stdin=b""):
        done = subprocess.run([f"{BIN}/jobpool", "--server", self.shared.grpc, *args], input=stdin, capture_output=True,
                              timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_what_the_program_wrote_is_what_is_printed(self):
        data = bytes(range(256)) * 100
        done = self.cli("run", "command", "cat", "--stdin-file", "-", stdin=data)
        self.assertEqual((done.stdout, done.stderr), (data, b""))
        self.assertEqual(self.cli("run", "command", "show", "text=a=b c").stdout, b"<a=b c><--x=a=b c>")
        self.assertEqual(self.cli("run", "command", "env", "--env", "LC_ALL=C").stdout.splitlines()[-1], b"LC_ALL=C")
        done = self.cli("run", "command", "fail", status=1)
        self.assertEqual(done.stdout, b"out\n")
        self.assertTrue(done.stderr.startswith(b"first\nwhy\nerror: jobs/"), done.stderr)
        self.assertIn(b"exit status 3", done.stderr)
        done = self.cli("run", "command", "flood")
        self.assertEqual(len(done.stdout), MIB)
        self.assertEqual(done.stderr, b"done\nwarning: stdout is cut off after 1048576 bytes\n")
        self.cli("run", "command", "nope", status=2)
        self.cli("run", "command", "show", "text", status=2)
        name = self.cli("submit", "command", "show", "text=$(id)").stdout.decode().strip()
        self.c.join(name)
        details = self.cli("jobs", "get", name).stdout.decode()
        self.assertIn("command show text=$(id)", details)
        self.assertIn("exit status 0, 18 bytes of stdout, 0 bytes of stderr", details)
