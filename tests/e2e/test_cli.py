"""The CLI against a server: output, exit statuses, terminals, pipes and signals."""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import tempfile
import termios
import uuid

import grpc
from google.protobuf import json_format
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps, thread_service_pb2 as ts
from jobpool_e2e import BIN, PATIENCE, SLOW, E2eTest, SharedServerTest, eventually, noop_job, sleep_job

Job = job_pb2.Job
NOBODY = "127.0.0.1:1"  # tcpmux: nothing listens there


class CliTest(SharedServerTest):
    def env(self, **extra):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return {**env, "JOBPOOL_SERVER": self.shared.grpc, "TERM": "xterm", **extra}

    def start(self, *args, env=None, program=(f"{BIN}/jobpool",), **options):
        """Without a terminal: pipes for both outputs."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
        process = subprocess.Popen([*program, *args], env=self.env(**env or {}), text=True, **options)
        self.addCleanup(lambda: (process.kill(), process.communicate()) if process.poll() is None else None)
        return process

    def cli(self, *args, status=0, timeout=PATIENCE, **options):
        """What it wrote to stdout; stderr is in self.stderr."""
        process = self.start(*args, **options)
        out, self.stderr = process.communicate(timeout=timeout)
        self.assertEqual(process.returncode, status, f"{args}\n{out}\n{self.stderr}")
        return out

    def on_terminal(self, *args, during=lambda master: None, **env):
        """Exit status and all that showed on a terminal of 80 columns."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        try:
            # setsid(1) makes it the controlling terminal, whose ^C is a signal.
            process = self.start(*args, program=("setsid", "--ctty", f"{BIN}/jobpool"), stdin=slave, stdout=slave,
                                 stderr=slave, env=env)
            os.close(slave)
            during(master)
            shown = b""
            while True:
                try:
                    shown += os.read(master, 65536)
                except OSError:  # EIO: the last process with the terminal is gone
                    break
            return process.wait(PATIENCE), shown.decode()
        finally:
            os.close(master)

    def known(self, name, state):
        """Waits until the job is in that state."""
        def there():
            try:
                return self.c.get(name).state == state
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)
        eventually(there, what=f"{name} is {Job.State.Name(state)}")


class Run(CliTest):
    def test_terminal_shows_a_progress_bar_and_the_result(self):
        for extra in ({}, {"NO_COLOR": "1"}):
            status, shown = self.on_terminal("run", "sleep", "1s", **extra)
            self.assertEqual(status, 0, shown)
            bars = re.findall(r"\[(#*)(-*)\] +(\d+)%", shown)
            self.assertGreaterEqual(len(bars), 2, shown)
            self.assertEqual({len(full + rest) for full, rest, _ in bars}, {24})
            percents = [int(percent) for _, _, percent in bars]
            self.assertEqual(percents, sorted(percents))
            self.assertTrue(any(0 < percent < 100 for percent in percents), percents)
            last = re.split(r"\r\x1b\[K", shown)[-1]  # the bar is wiped before the result
            self.assertNotIn("#", last)
            self.assertRegex(last, r"result +1\.\d+s")
            self.assertRegex(last, r"elapsed +1\.")
            if extra:
                self.assertIsNone(re.search(r"\x1b\[[\d;]*m", shown))

    def test_without_a_terminal_plain_lines_on_stderr_and_data_on_stdout(self):
        out = self.cli("run", "primes", "1000000", "--name", "count")
        self.assertRegex(out, r"(?m)\b78498\b")
        self.assertRegex(self.stderr, r"\Ajobs/\S+ \(count\): \w+\njobs/\S+: SUCCEEDED after \S+\n\Z")
        for text in (out, self.stderr):
            self.assertNotRegex(text, r"[\x00-\x09\x0b-\x1f\x7f]")
        self.assertRegex(self.cli("run", "fibonacci", "100"), r"\b354224848179261915075\b")
        self.assertIn("hello", self.cli("run", "noop", "--payload", "hello"))
        name = self.cli("-o", "name", "run", "noop")
        self.assertRegex(name, r"\Ajobs/\S+\n\Z")
        job = Job()
        json_format.Parse(self.cli("-o", "json", "run", "hash", "100", "--seed", "7", "--label", "a=b"), job)
        self.assertEqual(job, self.c.get(job.name))
        self.assertEqual((job.compute.hash.seed, dict(job.labels)), (7, {"a": "b"}))

    def test_job_that_another_client_cancels_is_status_1(self):
        process = self.start("run", "sleep", "600s", "--job-id", "victim")
        self.known("jobs/victim", Job.RUNNING)
        self.c.cancel("jobs/victim")
        _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, err)
        self.assertRegex(err, r"error: jobs/victim CANCELLED: .*request")
        self.cli("wait", "victim", status=1)

    def test_interrupt_cancels_the_job_and_is_status_130(self):
        for number, job_id in ((signal.SIGINT, "stop-int"), (signal.SIGTERM, "stop-term")):
            process = self.start("run", "sleep", "600s", "--job-id", job_id)
            self.known(f"jobs/{job_id}", Job.RUNNING)
            process.send_signal(number)
            process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 130)
            self.assertEqual(self.c.get(f"jobs/{job_id}").state, Job.CANCELLED)

        def press_ctrl_c(master):
            self.known("jobs/stop-key", Job.RUNNING)
            os.write(master, b"\x03")

        status, shown = self.on_terminal("run", "sleep", "600s", "--job-id", "stop-key", during=press_ctrl_c)
        self.assertEqual(status, 130, shown)
        self.assertEqual(self.c.get("jobs/stop-key").state, Job.CANCELLED)

    def test_interrupted_wait_is_status_130(self):
        def waits():
            return self.shared.metrics().sum("grpc_server_started_total", grpc_method="WaitJobs")
        name, before = self.c.submit(sleep_job(600)).name, waits()
        process = self.start("wait", name)
        eventually(lambda: waits() > before, what="the wait began")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(self.c.cancel(name).state, Job.RUNNING)

    def test_closed_pipe_ends_it_quietly(self):
        for args in (("jobs", "list"), ("threads",), ("--help",), ("run", "noop"), ("run", "pi", "20000"),
                     ("-o", "json", "run", "pi", "20000"), ("bench", "--count", "1")):
            with self.subTest(args):
                reader, writer = os.pipe()
                os.close(reader)
                process = self.start(*args, stdout=writer)
                os.close(writer)
                _, err = process.communicate(timeout=PATIENCE)
                self.assertNotRegex(err, r"(?i)error|pipe|exception")
                self.assertIn(process.returncode, (-signal.SIGPIPE, 0, 141))
        with open("/dev/full", "w", encoding="ascii") as full:  # but what could not be written is told
            process = self.start("threads", stdout=full)
            _, err = process.communicate(timeout=PATIENCE)
            self.assertNotEqual(process.returncode, 0)
            self.assertEqual(err.count("\n"), 1, err)


class Statuses(CliTest):
    def test_the_same_request_is_the_same_job(self):
        request = str(uuid.uuid4())
        args = ("submit", "noop", "--request-id", request)
        self.assertEqual(self.cli(*args), self.cli(*args))
        self.assertIn("request_id", self.cli("submit", "sleep", "1", "--request-id", request, status=5) or self.stderr)
        self.cli("submit", "noop", "--request-id", "x", status=2)

    def test_validate_only_submits_nothing(self):
        before = self.shared.metrics().sum("jobpool_jobs_submitted_total")
        self.assertEqual(self.cli("submit", "sleep", "1s", "--validate-only"), "valid\n")
        self.cli("submit", "sleep", "1s", "--pool", "nowhere", "--validate-only", status=4)
        self.assertEqual(self.shared.metrics().sum("jobpool_jobs_submitted_total"), before)

    def test_usage_is_status_2(self):
        for args in ((), ("nope",), ("--nope",), ("run",), ("run", "nope"), ("run", "sleep"), ("run", "sleep", "x"),
                     ("run", "sleep", "-1s"), ("run", "sleep", "8d"), ("run", "sleep", "169h"), ("run", "noop", "x"),
                     ("run", "primes", "-1"), ("run", "primes", "1000000000001"), ("run", "pi", "0"), ("wait",),
                     ("run", "noop", "--label", "A=b"), ("run", "noop", "--name", "a\nb"), ("jobs", "nope"),
                     ("run", "noop", "--name", ""), ("jobs", "cancel"), ("jobs", "cancel", "a", "--all"), ("completion", "zsh"),
                     ("--tls_cert", "x", "threads"), ("--tls_ca", "/nonexistent", "threads"), ("help", "nope"),
                     ("wait", "a", "--timeout", "x"), ("-o", "yaml", "threads"), ("jobs", "get", "UPPER"),
                     ("threads", "rename", "t1"), ("jobs", "list", "--page-size", "-1"), ("run", "noop", "--seed", "1"),
                     ("jobs", "list", "--page-token", "x"), ("--server", "", "threads")):
            with self.subTest(args):
                self.assertEqual(self.cli(*args, status=2), "")
                self.assertTrue(self.stderr.startswith("error: "), self.stderr)

    def test_timeout_is_status_3(self):
        slow, quick = self.c.submit(sleep_job(600)), self.c.run(noop_job())
        for timeout in ("0", "0.1s"):
            out = self.cli("wait", slow.name, quick.name, "--timeout", timeout, status=3)
            self.assertIn(slow.name, out)
            self.assertRegex(self.stderr, r"\Aerror: .*1 of 2 jobs.*\n\Z")
        answer = js.WaitJobsResponse()
        json_format.Parse(self.cli("-o", "json", "wait", slow.name, "--timeout", "0", status=3), answer)
        self.assertTrue(answer.timed_out)
        self.cli("wait", slow.name, quick.name, "--any", "--timeout", "60s")
        self.assertEqual(self.cli("-o", "name", "join", quick.name), quick.name + "\n")

    def test_unknown_is_status_4(self):
        for args in (("jobs", "get", "nobody"), ("jobs", "cancel", "nobody"), ("jobs", "delete", "jobs/nobody"),
                     ("jobs", "rename", "nobody", "x"), ("wait", "nobody"), ("threads", "get", "t99999"),
                     ("threads", "rename", "threads/t99999", "x"), ("pools", "get", "nope"),
                     ("run", "noop", "--pool", "nope")):
            with self.subTest(args):
                self.assertEqual(self.cli(*args, status=4), "")
                self.assertRegex(self.stderr, r"\Aerror: no .*\n\Z")

    def test_refused_and_unavailable_are_status_5(self):
        slow, ended = self.c.submit(sleep_job(600)), self.c.run(noop_job())
        self.cli("jobs", "delete", slow.name, status=5)
        self.cli("jobs", "cancel", ended.name, status=5)
        self.cli("submit", "noop", "--job-id", ended.name.removeprefix("jobs/"), status=5)
        for args in (("threads",), ("run", "noop"), ("wait", "a"), ("jobs", "list"), ("pools",), ("echo",)):
            with self.subTest(args):
                self.assertEqual(self.cli("--server", NOBODY, *args, status=5, timeout=10 * SLOW), "")
                self.assertRegex(self.stderr, r"\Aerror: [^\n]+\n\Z")
        self.assertRegex(self.cli("threads", env={"JOBPOOL_SERVER": NOBODY}, status=5), r"\A\Z")
        self.cli("--server", self.shared.grpc, "threads", env={"JOBPOOL_SERVER": NOBODY})

    def test_help_and_version(self):
        for command in ("", "run", "submit", "wait", "join", "jobs", "jobs list", "jobs get", "jobs cancel",
                        "jobs delete", "jobs rename", "jobs retry", "jobs explain", "jobs update", "threads",
                        "threads list", "threads get", "threads rename", "threads count", "active-count", "pools",
                        "pools list", "pools get", "pools resize", "pools pause", "pools resume", "pools drain", "echo",
                        "bench", "completion", "help"):
            out = self.cli(*command.split(), "--help", env={"JOBPOOL_SERVER": NOBODY})
            self.assertRegex(out, r"Examples?:", command)
            self.assertEqual(self.stderr, "")
        self.assertRegex(self.cli("--version"), r"\Ajobpool \d+\.\d+\.\d+\n\Z")
        for flag, text in (("--help", r"Example"), ("--version", r"\Ajobpoold \d+\.\d+\.\d+\n\Z")):
            done = subprocess.run([f"{BIN}/jobpoold", flag], capture_output=True, text=True, timeout=PATIENCE,
                                  check=True)
            self.assertRegex(done.stdout, text)
            self.assertEqual(done.stderr, "")


class Watch(CliTest):
    def test_named_jobs_to_their_ends(self):
        name = self.c.submit(sleep_job(600)).name
        self.c.running(name)
        process = self.start("watch", name)
        self.assertRegex(process.stdout.readline(), rf"^\S+Z {name} RUNNING")
        self.c.cancel(name)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, err)
        self.assertRegex(out.splitlines()[-1], rf" {name} CANCELLED .*request")
        done = self.c.run(noop_job()).name
        self.assertRegex(self.cli("jobs", "watch", done), rf"^\S+Z {done} SUCCEEDED\n$")
        self.assertEqual(json.loads(self.cli("-o", "json", "watch", done))["type"], "INITIAL")
        self.cli("watch", "nobody", status=4)

    def test_goes_on_when_the_connection_breaks(self):
        server, client = self.both()
        client.submit(sleep_job(600), job_id="one")
        process = self.start("--server", server.grpc, "-o", "name", "watch", "--filter", "kind = sleep")
        self.assertEqual(process.stdout.readline(), "jobs/one\n")
        server.signal()
        self.assertEqual(server.wait(), 0)
        again = self.server(f"--grpc_listen={server.grpc}")  # which does not know the token
        self.client(again).submit(sleep_job(600), job_id="two")
        while (heard := process.stdout.readline()) != "jobs/two\n":
            self.assertEqual(heard, "jobs/one\n")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130)
        self.assertIn("starting again", err)


class Look(CliTest):
    def same(self, message, *args):
        """-o json is the canonical JSON of the message."""
        expected = json.loads(json_format.MessageToJson(message))
        self.assertEqual(json.loads(self.cli("-o", "json", *args)), expected)
        self.assertEqual(json.loads(self.cli(*args, "-o", "json")), expected)  # options may stand behind, too

    def test_jobs(self):
        names = [self.cli("submit", "noop", "--name", f"café {i}", "--label", "team=a").strip() for i in range(3)]
        self.assertRegex(names[0], r"\Ajobs/\S+\Z")
        self.cli("wait", *names)
        self.same(self.c.get(names[0]), "jobs", "get", names[0])
        self.same(self.c.jobs.ListJobs(js.ListJobsRequest()), "jobs", "list")
        self.same(self.c.wait(names), "wait", *names)
        self.assertEqual(self.cli("-o", "name", "jobs", "list", "--page-size", "3").split(), names[::-1])
        self.assertIn("café 2", self.cli("jobs"))
        for word in (names[0], "café 0", "team", "SUCCEEDED"):
            self.assertIn(word, self.cli("jobs", "get", names[0].removeprefix("jobs/")))
        self.assertEqual(self.cli("jobs", "delete", *names[:2]).split(), names[:2])
        self.assertEqual(self.cli("-o", "name", "jobs", "list", "--all").split().count(names[0]), 0)
        self.cli("jobs", "get", names[2])
        slow = self.c.submit(sleep_job(600)).name
        self.cli("jobs", "rename", slow, "Ünïcode")
        self.assertEqual(self.c.get(slow).display_name, "Ünïcode")
        self.assertEqual(self.cli("-o", "name", "jobs", "cancel", slow), slow + "\n")
        self.known(slow, Job.CANCELLED)

    def test_threads(self):
        job = self.c.running(self.c.submit(sleep_job(600)).name)
        worker = job.attempts[0].thread
        table = self.cli("threads")
        lines = table.splitlines()
        threads = self.c.list_threads()
        self.assertEqual(sum(t.name in line for line in lines for t in threads.threads if line.split()[0] == t.name),
                         threads.total_size)
        self.assertIn("MainThread", table)
        self.assertTrue(any(worker in line and job.name in line for line in lines), table)
        count = self.cli("threads", "count")
        self.assertEqual((count, count), (f"{threads.total_size}\n", self.cli("active-count")))
        self.same(self.c.active_count(), "active-count")
        self.assertEqual(self.cli("-o", "name", "threads").split(), [t.name for t in threads.threads])
        listed = json_format.Parse(self.cli("-o", "json", "threads"), ts.ListThreadsResponse())
        self.assertEqual(listed.counts_by_role, threads.counts_by_role)
        self.cli("threads", "rename", worker.removeprefix("threads/"), "monitor")
        self.assertIn("monitor", self.cli("threads", "get", worker))

    def test_pools(self):
        self.same(self.c.pools.ListPools(ps.ListPoolsRequest()), "pools", "list")
        self.same(self.c.pools.GetPool(ps.GetPoolRequest(name="pools/compute")), "pools", "get", "compute")
        self.assertEqual(self.cli("-o", "name", "pools").split(), ["pools/blocking", "pools/compute"])
        self.assertIn("pools/compute", self.cli("pools"))

    def test_help_of_a_command(self):
        self.assertEqual(self.cli("help", "jobs", "list"), self.cli("jobs", "list", "--help"))
        self.assertEqual(self.cli("help"), self.cli("--help"))

    def test_all_jobs(self):
        names = {self.c.run(noop_job()).name for _ in range(3)}
        live = {self.c.submit(sleep_job(600)).name for _ in range(3)}
        self.assertLessEqual(names | live, set(self.cli("-o", "name", "jobs", "list", "--all").split()))
        self.assertLessEqual(live, set(self.cli("-o", "name", "jobs", "cancel", "--all").split()))
        for name in live:
            self.known(name, Job.CANCELLED)
        self.assertRegex(self.cli("jobs", "delete", "--all"), r"\Adeleted \d+ jobs\n\Z")
        self.assertEqual(self.cli("-o", "name", "jobs", "list", "--all"), "")
        self.assertEqual(self.cli("jobs", "cancel", "--all"), "asked 0 jobs to end\n")
        self.assertEqual(json.loads(self.cli("-o", "json", "jobs", "delete", "--all")), {})

    def test_colours_on_a_terminal_only(self):
        self.c.run(noop_job())
        green = "\x1b[32mSUCCEEDED\x1b[0m"
        self.assertIn(green, self.on_terminal("jobs", NO_COLOR="")[1])
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertNotIn("\x1b", self.on_terminal("jobs", **env)[1])
        self.assertNotIn("\x1b", self.cli("jobs"))


class Address(CliTest):
    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            server = self.server(f"--grpc_listen=unix:{folder}/socket")
            self.assertEqual(self.cli("--server", server.grpc, "run", "noop", "-o", "name").count("jobs/"), 1)
            self.cli("--server", f"unix:{folder}/nobody", "pools", status=5)
            self.assertRegex(self.stderr, r"\Aerror: cannot reach unix:\S+/nobody: No such file or directory\n\Z")

    def test_tls_client_on_a_plain_server(self):
        self.cli("--tls_ca", "/etc/ssl/certs/ca-certificates.crt", "pools", status=5)
        self.assertIn("the server seems to serve without TLS", self.stderr)
        self.cli("pools", env={"JOBPOOL_TLS_CA": "/dev/null"}, status=2)
        self.assertIn("/dev/null holds no certificate", self.stderr)


class Echo(CliTest):
    def echo(self, text, status=0, *args):
        process = self.start(*args, "echo", stdin=subprocess.PIPE)
        out, self.stderr = process.communicate(text, timeout=PATIENCE)
        self.assertEqual(process.returncode, status, self.stderr)
        return out

    def test_lines_come_back_in_upper_case(self):
        self.assertEqual(self.echo("hello\n\n  \n\twörld\nlast"), "HELLO\n\tWöRLD\nLAST\n")
        self.assertEqual(self.echo(""), "")
        self.assertEqual(json.loads(self.echo("a\n", 0, "-o", "json")), {"text": "A"})

    def test_prompt_on_a_terminal(self):
        status, shown = self.on_terminal("echo", during=lambda master: os.write(master, b"hello\n\nbye\n\x04"))
        self.assertEqual(status, 0, shown)
        self.assertEqual(shown.count(">>>: "), 4, shown)
        self.assertLess(shown.index("HELLO\r\n"), shown.index("BYE\r\n"))

    def test_interrupt_is_status_130(self):
        def press_ctrl_c(master):
            self.assertIn(b">>>: ", os.read(master, 100))
            os.write(master, b"\x03")
        self.assertEqual(self.on_terminal("echo", during=press_ctrl_c)[0], 130)

    def test_server_that_goes_is_status_5(self):
        server = self.server()
        process = self.start("--server", server.grpc, "echo", stdin=subprocess.PIPE)
        process.stdin.write("a\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), "A\n")
        server.signal()
        self.assertEqual(server.wait(), 0)
        _, err = process.communicate("b\n", timeout=PATIENCE)
        self.assertEqual(process.returncode, 5, err)
        self.assertRegex(err, r"\Aerror: [^\n]+\n")


class Completion(CliTest):
    def complete(self, *words):
        """What bash offers for the last of `words`."""
        script = """
            source <(jobpool completion bash)
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _jobpool
            printf '%s\n' "${COMPREPLY[@]}"
        """
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", "jobpool", *words], capture_output=True, text=True,
                              check=True, timeout=PATIENCE, env=self.env(PATH=f"{BIN}:/usr/bin:/bin"))
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_words(self):
        self.assertEqual(self.complete("th"), ["threads"])
        self.assertEqual(self.complete("threads", "re"), ["rename"])
        self.assertEqual(self.complete("-o", "json", "jobs", "can"), ["cancel"])
        self.assertEqual(self.complete("pools", "res"), ["resize", "resume"])
        self.assertEqual(self.complete("jobs", "update", "a", "--no"), ["--now", "--no-deadline"])
        self.assertEqual(self.complete("run", "p"), ["primes", "pi"])
        self.assertEqual(self.complete("run", "pi", ""), [])
        self.assertEqual(self.complete("bench", "sl"), ["sleep"])
        self.assertEqual(self.complete("bench", "--max-"), ["--max-in-flight"])
        self.assertEqual(self.complete("run", "--pay"), ["--payload", "--payload-file"])
        self.assertEqual(self.complete("jobs", "list", "--page-s"), ["--page-size"])
        self.assertEqual(self.complete("jobs", "list", "--ser"), ["--server"])
        self.assertEqual(self.complete("-o", ""), ["table", "json", "name"])
        self.assertEqual(self.complete("jobs", "--output", "=", "j"), ["json"])
        self.assertEqual(self.complete("help", "po"), ["pools"])
        self.assertEqual(self.complete("completion", ""), ["bash"])
        self.assertEqual(self.complete("--tls_ca", "/etc/os-rel"), ["/etc/os-release"])
        self.assertEqual(self.complete("nope", ""), [])

    def test_names(self):
        name = self.c.run(noop_job()).name
        self.assertIn(name, self.complete("jobs", "get", ""))
        self.assertEqual(self.complete("wait", "a", name[:-1]), [name])
        self.assertEqual(self.complete("join", name.removeprefix("jobs/")[:-1]), [name.removeprefix("jobs/")])
        self.assertEqual(self.complete("pools", "get", "pools/c"), ["pools/compute"])
        self.assertEqual(self.complete("pools", "drain", "--wait", "c"), ["compute"])
        self.assertIn(name, self.complete("jobs", "retry", ""))
        self.assertEqual(self.complete("run", "--pool", "b"), ["blocking"])
        self.assertEqual(self.complete("bench", "--pool", "b"), ["blocking"])
        self.assertIn("threads/1", self.complete("threads", "rename", "threads/"))
        self.assertEqual(self.complete("threads", "rename", "threads/1", ""), [])
        host, port = NOBODY.split(":")
        self.assertEqual(self.complete("--server", host, ":", port, "jobs", "get", ""), [])
        host, port = self.shared.grpc.split(":")
        self.assertIn(name, self.complete("--server", "=", host, ":", port, "jobs", "get", ""))


class Install(E2eTest):
    def test_to_a_prefix(self):
        with tempfile.TemporaryDirectory() as prefix:
            subprocess.run(["cmake", "--install", os.path.dirname(BIN), "--prefix", prefix], check=True,
                           capture_output=True, timeout=PATIENCE)
            self.assertIn("jobpool ", subprocess.run([f"{prefix}/bin/jobpool", "--version"], check=True, text=True,
                                                     capture_output=True, timeout=PATIENCE).stdout)
            self.assertTrue(os.access(f"{prefix}/bin/jobpoold", os.X_OK))
            for page, words in (("man1/jobpool.1", (r"jobpool jobs list", "jobpool pools drain", r"\-\-page\-size",
                                                    ".SH EXAMPLES")),
                                ("man8/jobpoold.8", (r"\-\-grpc_listen",))):
                with open(f"{prefix}/share/man/{page}", encoding="utf-8") as man:
                    text = man.read()
                for word in (".SH NAME", *words):
                    self.assertIn(word, text)
            with open(f"{prefix}/share/bash-completion/completions/jobpool", encoding="utf-8") as script:
                self.assertIn("complete -F _jobpool jobpool", script.read())
