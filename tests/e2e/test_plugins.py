"""Plug-ins in the real server: the examples, those that misbehave, those that are refused, and one that is built out
of the tree against an installed server."""
import os
import re
import subprocess
import tempfile
import time

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import BIN, PATIENCE, ROOT, SLOW, Client, E2eTest, Server, eventually, job_reason, seconds, unix_time
from store_e2e import StoreTest

Job = job_pb2.Job
BUILD = os.path.dirname(os.path.realpath(BIN))
PLUGINS = f"{BUILD}/test_plugins"
MIB = 1 << 20


def flag(name):
    return f"--plugin={PLUGINS}/{name}.so"


EXAMPLES = [flag(name) for name in ("reverse", "word_count", "counter")]
ALL = EXAMPLES + [flag("kinds"), flag("raw")]


def custom(kind, payload=b"", **fields):
    return Job(custom={"kind": kind, "payload": payload}, **fields)


class Plugins(E2eTest):
    """One server with all that can be loaded."""

    @classmethod
    def setUpClass(cls):
        cls.shared = Server(*ALL)
        cls.addClassCleanup(cls.shared.finish)
        cls.c = Client(cls.shared.grpc)
        cls.addClassCleanup(cls.c.close)

    def do(self, kind, payload=b"", client=None):
        """The payload of the result."""
        job = (client or self.c).run(custom(kind, payload))
        self.assertEqual(job.state, Job.SUCCEEDED, job.error)
        return job.result.custom.payload

    def failed(self, kind, payload=b""):
        job = self.c.run(custom(kind, payload))
        self.assertEqual((job.state, job_reason(job), len(job.attempts)), (Job.FAILED, "WORK_FAILED", 1))
        return job.error.code, job.error.message

    def test_a_function(self):
        self.assertEqual(self.do("reverse", b"hello"), b"olleh")
        self.assertEqual(self.do("reverse"), b"")
        self.assertEqual(self.do("reverse", bytes(range(256)) * 4096), bytes(range(255, -1, -1)) * 4096)  # 1 MiB

    def test_a_subclass_with_progress_and_log(self):
        for isolation, worker in ((Job.THREAD, "Thread-"), (Job.PROCESS, "Process-")):
            with self.subTest(worker):
                job = self.c.run(custom("word-count", b" one two\nthree  ", display_name="words", isolation=isolation))
                self.assertEqual((job.state, job.result.custom.payload), (Job.SUCCEEDED, b"3"), job.error)
                self.assertEqual((job.progress.ratio, job.progress.message), (1, "3 words"))
                self.assertEqual(job.pool, "pools/blocking")
                name = job.attempts[0].thread_display_name
                self.assertTrue(name.startswith(worker), name)
                said = f"job says job={job.name} text=\"counts for {name}\""
                eventually(lambda said=said: said in self.shared.log(), what=said)

    def test_progress_while_it_runs(self):
        job = self.c.submit(custom("word-count", b"x " * 500_000))
        shown = eventually(lambda: (p := self.c.get(job.name).progress).ratio > 0 and p, what="it says how far it is")
        self.assertLess(shown.ratio, 1)
        eventually(lambda: self.c.get(job.name).progress.ratio > shown.ratio, what="it goes on")
        self.c.cancel(job.name)
        self.assertEqual(self.c.join(job.name).state, Job.CANCELLED)

    def test_a_global_is_shared_by_the_threads_of_a_server_and_no_other(self):
        for _ in range(2):
            _, client = self.both(flag("counter"))
            self.assertEqual(self.do("counter", b"get", client), b"100")
            self.assertEqual(self.do("counter", b"set 0", client), b"0")
            self.assertEqual(self.do("counter", b"get", client), b"0")
        for payload in (b"", b"set x", b"set 1 2", b"set 99999999999999999999"):
            code, _ = self.failed("counter", payload)
            self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT.value[0], payload)

    def test_what_throws_fails_its_job_and_the_server_lives_on(self):
        internal = grpc.StatusCode.INTERNAL.value[0]
        self.assertEqual(self.failed("throws", "café".encode()), (internal, "exception: café"))
        self.assertEqual(self.failed("throws", b"a\n\xff"), (internal, "exception: a ?"))
        self.assertEqual(self.failed("throws-int"), (internal, "unknown exception"))
        code, message = self.failed("throws", b"x" * MIB)
        self.assertEqual((code, len(message)), (internal, 1024))
        self.assertIn("through the border", self.failed("raw-throws")[1])
        self.assertEqual(self.failed("raw-silent")[0], internal)
        self.assertEqual(self.failed("fails", b"busy"), (grpc.StatusCode.UNAVAILABLE.value[0], "busy"))
        self.assertEqual(self.failed("bytes", b"1048577")[0], grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
        self.assertEqual(self.do("echo", b"alive"), b"alive")

    def test_a_failure_is_retried(self):
        job = self.c.run(custom("fails-once", retry_policy={"max_attempts": 2, "initial_backoff": seconds(0.01)}))
        self.assertEqual((job.state, job.result.custom.payload, len(job.attempts)), (Job.SUCCEEDED, b"again", 2))

    def test_it_is_told_what_it_runs_for(self):
        job = self.c.run(custom("tells", timeout=seconds(3600), display_name="café"))
        told = job.result.custom.payload.decode().splitlines()
        attempt = job.attempts[0]
        self.assertEqual(told[:3], [f"job {job.name}", "name café", "attempt 1"])
        deadline = int(told[3].removeprefix("deadline ")) / 1000
        self.assertAlmostEqual(deadline, unix_time(attempt.start_time) + 3600, delta=0.01)
        self.assertEqual(told[4], f"self {attempt.thread} {attempt.thread_display_name} WORKER RUNNING pools/blocking "
                                  f"{job.name} {self.shared.pid} {attempt.os_thread_id}")
        threads = dict(line.split()[1:] for line in told[6:])
        self.assertEqual(threads["threads/1"], "MAIN")
        self.assertEqual(threads[attempt.thread], "WORKER")

    def test_it_ends_within_50_ms_of_being_asked_to(self):
        for job in (custom("waits"), custom("spins"), custom("word-count", b"x " * 500_000)):
            best = PATIENCE
            for _ in range(3):
                name = self.c.submit(job).name
                self.c.running(name)
                asked = time.time()
                self.c.cancel(name)
                ended = self.c.join(name)
                self.assertEqual((ended.state, job_reason(ended)), (Job.CANCELLED, "CANCEL_REQUESTED"))
                best = min(best, unix_time(ended.end_time) - asked)
            self.assertLessEqual(best, 0.050 * SLOW, job.custom.kind)

    def test_a_timeout(self):
        job = self.c.run(custom("waits", timeout=seconds(0.05)))
        self.assertEqual((job.state, job_reason(job)), (Job.FAILED, "ATTEMPT_TIMED_OUT"))

    def test_one_that_does_not_listen_is_abandoned(self):
        server, client = self.both(flag("kinds"), self.config_flag(
            'pools { name: "blocking" stop_grace { nanos: 100000000 } }'))
        name = client.submit(custom("deaf")).name
        client.running(name)
        client.cancel(name)
        job = client.join(name)
        self.assertEqual((job.state, job_reason(job)), (Job.CANCELLED, "CANCEL_REQUESTED"))
        self.assertEqual(self.do("echo", b"another thread", client), b"another thread")
        server.finish()  # with status 0, though the thread never ends

    def test_an_unknown_kind(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        for call in (self.c.submit, self.c.run):
            error = self.fails(invalid, call, custom("gone"))
            self.assertEqual((error.reason, error.fields), ("INVALID_FIELD", ["job.custom.kind"]))
            self.assertRegex(error.message, 'there is no kind "gone"; there is bytes, counter, .* and \\d+ more')
        self.assertEqual(self.fails(invalid, self.c.submit, custom("sleep")).fields, ["job.custom.kind"])
        for kind in ("", "A", "a" * 64, "é", "a b"):
            error = self.fails(invalid, self.c.submit, custom(kind, bytes(MIB + 1)))
            self.assertEqual(error.fields, ["job.custom.kind", "job.custom.payload"])
        error = self.fails(invalid, self.c.jobs.BatchSubmitJobs, js.BatchSubmitJobsRequest(requests=[
            {"job": custom("echo")}, {"job": custom("gone", display_name="a\nb")}]))
        self.assertEqual(set(error.fields), {"requests[1].job.display_name", "requests[1].job.custom.kind"})
        _, plain = self.both()
        error = self.fails(invalid, plain.submit, custom("echo"))
        self.assertIn("the server has loaded no plug-in", error.message)

    def test_all_are_of_the_kind_custom(self):
        job = self.c.run(custom("echo", b"payload", labels={"of": "list"}))
        (listed,) = self.c.jobs.ListJobs(js.ListJobsRequest(filter='kind = custom AND labels.of = "list"')).jobs
        self.assertEqual((listed.name, listed.custom.kind, listed.custom.payload, listed.HasField("result")),
                         (job.name, "echo", b"", False))
        self.assertEqual(self.c.get(job.name).custom.payload, b"payload")
        metrics = self.shared.metrics()
        self.assertGreater(metrics.sum("jobpool_jobs_finished_total", kind="custom", state="succeeded"), 0)
        self.assertNotIn('"echo"', metrics.text)
        server, client = self.both(flag("kinds"), self.config_flag(
            'kinds { name: "custom" max_submits_per_second: 0.001 }'))
        self.assertEqual(server.metrics().sum("jobpool_jobs_submitted_total", kind="custom"), 0)
        client.run(custom("echo"))
        error = self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, client.submit, custom("waits"))
        self.assertEqual(error.reason, "RATE_REACHED")

    def cli(self, *args, stdin=b"", status=0):
        done = subprocess.run([f"{BIN}/jobpool", "--server", self.shared.grpc, *args], input=stdin, check=False,
                              capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, status, done)
        return (done.stdout if status == 0 else done.stderr).decode()

    def test_with_the_cli(self):
        self.assertRegex(self.cli("run", "custom", "reverse", "hello"), r"(?m)^result +olleh$")
        self.assertRegex(self.cli("run", "custom", "reverse"), r"(?m)^state +SUCCEEDED$")
        self.assertIn("dlrow", self.cli("run", "custom", "reverse", "--payload-file", "-", stdin=b"world"))
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\xff\x00a")
            file.flush()
            self.assertIn(r"a\x00\xff", self.cli("run", "custom", "reverse", "--payload-file", file.name))
        name = self.cli("submit", "custom", "reverse", "hello").strip()
        self.c.join(name)
        shown = self.cli("jobs", "get", name)
        self.assertRegex(shown, r"(?m)^work +custom reverse with 5 bytes$")
        self.assertRegex(shown, r"(?m)^result +olleh$")
        self.assertRegex(self.cli("jobs", "list", "--filter", "kind = custom"), rf"{name} .* custom ")
        self.assertIn("boom", self.cli("run", "custom", "throws", "boom", status=1))
        self.assertIn('no kind "gone"', self.cli("run", "custom", "gone", status=2))
        self.assertIn("needs its KIND", self.cli("run", "custom", status=2))


class Refused(E2eTest):
    def start(self, *flags):
        return subprocess.run([f"{BIN}/jobpoold", "--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0",
                               "--store=memory", *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    def test_what_cannot_be_loaded_is_one_line_and_status_2(self):
        bad = {"/nowhere/x.so": "No such file", f"{ROOT}/README.md": "invalid ELF header",
               "no_entry": "jobpool_plugin", "other_version": "version 2", "throws_at_load": "no licence",
               "own_kind": '"sleep" is one of the server\'s own', "kind_of_another": '"echo" is that of',
               "kinds": '" is that of', "no_kinds": "has no kinds"}
        for name, words in bad.items():
            file = name if "/" in name else f"{PLUGINS}/{name}.so"
            for more in ((), ("--validate_config",)):
                with self.subTest(name, more=more):
                    done = self.start(flag("kinds"), f"--plugin={file}", *more)
                    self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                    self.assertRegex(done.stderr, rf"\Ajobpoold: --plugin: {re.escape(file)}: [^\n]+\n\Z")
                    self.assertIn(words, done.stderr)
        self.assertEqual(self.start("--plugin=").returncode, 2)

    def test_what_can_be_loaded_is_valid(self):
        done = self.start(*ALL, "--validate_config")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "valid\n", ""))

    def test_a_bare_name_is_a_file_here(self):
        done = subprocess.run([f"{BIN}/jobpoold", "--validate_config", "--plugin=reverse.so"], cwd=PLUGINS,
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "valid\n"), done.stderr)


class Restarted(StoreTest):
    def queued(self):
        """A server that has taken two jobs and started one of them, and then ended."""
        server, client = self.start(flag("kinds"))
        runs = client.submit(custom("waits", b"payload")).name
        client.running(runs)
        client.pools.PausePool(ps.PausePoolRequest(name="pools/blocking"))
        waits = client.submit(custom("echo", b"\x00\xff")).name
        server.finish()
        return runs, waits

    def test_a_job_on_disk_runs_with_the_plug_in_again(self):
        runs, waits = self.queued()
        _, client = self.start(flag("kinds"))
        job = client.join(waits)
        self.assertEqual((job.state, job.result.custom.payload), (Job.SUCCEEDED, b"\x00\xff"))
        self.assertEqual(len(client.running(runs).attempts), 2)
        client.cancel(runs)
        self.assertEqual(client.join(runs).state, Job.CANCELLED)

    def test_without_the_plug_in_it_fails_and_is_not_lost(self):
        names = self.queued()
        server, client = self.start()
        for name in names:
            job = client.join(name)
            self.assertEqual((job.state, job.error.code, job_reason(job)),
                             (Job.FAILED, grpc.StatusCode.FAILED_PRECONDITION.value[0], "KIND_NOT_LOADED"))
            self.assertIn(f'"{job.custom.kind}"', job.error.message)
        server.finish()
        _, client = self.start(flag("kinds"))
        job = client.get(names[1])
        self.assertEqual((job.state, job.custom.kind, job.custom.payload, job_reason(job)),
                         (Job.FAILED, "echo", b"\x00\xff", "KIND_NOT_LOADED"))
        again = client.jobs.RetryJob(js.RetryJobRequest(name=names[1]), timeout=PATIENCE)
        self.assertEqual(client.join(again.name).result.custom.payload, b"\x00\xff")

    def test_a_result_is_kept(self):
        server, client = self.start(flag("reverse"))
        name = client.run(custom("reverse", b"abc")).name
        server.finish()
        _, client = self.start()
        job = client.get(name)
        self.assertEqual((job.state, job.custom.kind, job.custom.payload, job.result.custom.payload),
                         (Job.SUCCEEDED, "reverse", b"abc", b"cba"))


class Installed(E2eTest):
    def call(self, *command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=10 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_a_plug_in_built_out_of_the_tree_runs_in_the_installed_server(self):
        with tempfile.TemporaryDirectory() as folder:
            prefix, source, build = f"{folder}/prefix", f"{folder}/plugins", f"{folder}/build"
            self.call("cmake", "--install", BUILD, "--prefix", prefix)
            # Away from the tree, so that nothing of that can be found by chance.
            self.call("cp", "-r", f"{ROOT}/examples/plugins", source)
            self.call("cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release")
            self.call("cmake", "--build", build)
            server = self.server(*(f"--plugin={build}/{name}.so" for name in ("reverse", "word_count", "counter")),
                                 program=f"{prefix}/bin/jobpoold")
            client = self.client(server)
            for kind, payload, result in (("reverse", b"hello", b"olleh"), ("word-count", b"a b", b"2"),
                                          ("counter", b"get", b"100")):
                job = client.run(custom(kind, payload))
                self.assertEqual((job.state, job.result.custom.payload), (Job.SUCCEEDED, result), job.error)
            done = subprocess.run([f"{prefix}/bin/jobpool", "--server", server.grpc, "run", "custom", "reverse", "abc"],
                                  capture_output=True, text=True, timeout=PATIENCE, check=False)
            self.assertEqual((done.returncode, "cba" in done.stdout), (0, True), done)
            server.finish()

    def test_the_header_needs_nothing_but_the_standard_library(self):
        with open(f"{ROOT}/include/jobpool/plugin.h", encoding="utf-8") as header:
            included = re.findall(r"^#include (.*)$", header.read(), re.M)
        self.assertGreater(len(included), 5)
        self.assertEqual([name for name in included if not re.fullmatch(r"<[a-z_]+>", name)], [])
