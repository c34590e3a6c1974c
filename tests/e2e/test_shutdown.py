"""SIGTERM and SIGINT: what is waited for, what is cancelled, what callers see; and starts that fail."""
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import BIN, PATIENCE, SLOW, E2eTest, eventually, job_reason, noop_job, sleep_job, spin_job, unix_time

Job = job_pb2.Job
LONG = "300s"  # a drain_timeout that no test waits for
NOT_SERVING = 2


class Shutdown(E2eTest):
    def run_later(self, client, job, job_id):
        """An open RunJob whose job runs."""
        call = client.jobs.RunJob.future(js.RunJobRequest(job=job, job_id=job_id), timeout=2 * PATIENCE)

        def running():
            try:
                return client.get("jobs/" + job_id).state == Job.RUNNING
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

        eventually(running, what=f"{job_id} runs")
        return call

    def draining(self, server, client):
        eventually(lambda: client.health() == NOT_SERVING, what="health is NOT_SERVING")

    def stays(self, call):
        """A call that waits for a job which the next server goes on with."""
        self.assertEqual(self.fails(grpc.StatusCode.UNAVAILABLE, call.result).reason, "SHUTTING_DOWN")

    def ended(self, server):
        self.assertEqual(server.wait(), 0)
        self.assertRegex(server.log(), r" info stopped\n$")


class Drain(Shutdown):
    def test_idle_server_ends_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            server, client = self.both(drain_timeout=LONG)
            client.run(noop_job())
            server.signal(number)
            self.ended(server)

    def test_important_job_is_waited_for_and_nothing_new_is_taken(self):
        server, client = self.both(drain_timeout=LONG)
        self.assertEqual((client.health(), server.get("/readyz")[0], server.get("/healthz")[0]), (1, 200, 200))
        run = self.run_later(client, sleep_job(4 if SLOW == 1 else 15), "important")
        wait = client.jobs.WaitJobs.future(js.WaitJobsRequest(names=["jobs/important"]), timeout=2 * PATIENCE)
        server.signal(signal.SIGINT)
        self.draining(server, client)
        self.assertEqual(client.health("jobpool.v1.JobService"), NOT_SERVING)
        self.assertEqual((server.get("/readyz")[0], server.get("/healthz")[0]), (503, 200))
        self.assertEqual(server.metrics().sum("jobpool_draining"), 1)
        for call, request in ((client.jobs.SubmitJob, js.SubmitJobRequest), (client.jobs.RunJob, js.RunJobRequest)):
            error = self.fails(grpc.StatusCode.UNAVAILABLE, call, request(job=noop_job()))
            self.assertEqual(error.reason, "SHUTTING_DOWN")
            delay = error.details["RetryInfo"][0].retry_delay
            self.assertGreater(delay.seconds + delay.nanos, 0)
        self.assertEqual(client.get("jobs/important").state, Job.RUNNING)  # so all of this was while it ran
        self.assertEqual(run.result().state, Job.SUCCEEDED)
        self.assertEqual([j.state for j in wait.result().jobs], [Job.SUCCEEDED])
        self.ended(server)

    def test_queued_jobs_in_memory_are_waited_for(self):
        server, client = self.both(drain_timeout=LONG)
        width = client.pools.GetPool(ps.GetPoolRequest(name="pools/compute")).max_threads
        names = [client.submit(spin_job(1)).name for _ in range(width)]
        for name in names:
            client.running(name)
        kept = client.jobs.RunJob.future(js.RunJobRequest(job=noop_job(), job_id="kept"), timeout=2 * PATIENCE)
        names += [client.submit(noop_job(durability=Job.MEMORY)).name for _ in range(20)]
        wait = client.jobs.WaitJobs.future(js.WaitJobsRequest(names=names), timeout=2 * PATIENCE)
        self.assertEqual(client.get(names[-1]).state, Job.QUEUED)
        server.signal()
        self.draining(server, client)
        self.stays(kept)
        self.assertEqual({j.state for j in wait.result().jobs}, {Job.SUCCEEDED})
        self.ended(server)
        self.assertIn(" jobs_left_on_disk=1 ", server.log())

    def test_daemon_jobs_are_cancelled_at_once(self):
        server, client = self.both(drain_timeout=LONG)
        width = client.pools.GetPool(ps.GetPoolRequest(name="pools/compute")).max_threads
        running = self.run_later(client, sleep_job(600, daemon=True), "daemon")
        for name in [client.submit(spin_job(600, daemon=True)).name for _ in range(width)]:
            client.running(name)
        queued = client.jobs.RunJob.future(
            js.RunJobRequest(job=noop_job(daemon=True, durability=Job.MEMORY)), timeout=2 * PATIENCE)
        eventually(lambda: server.metrics().sum("jobpool_jobs", pool="compute", state="queued") == 1,
                   what="one is queued")
        server.signal()
        for call in (running, queued):
            self.assertEqual((call.result().state, job_reason(call.result())), (Job.CANCELLED, "INTERRUPTED"))
        self.ended(server)

    def test_drain_timeout_cancels_the_rest(self):
        server, client = self.both(drain_timeout="1s")
        call = self.run_later(client, sleep_job(600, durability=Job.MEMORY), "long")
        kept = self.run_later(client, sleep_job(600), "kept")
        asked = time.time()
        server.signal()
        job = call.result()
        self.assertEqual((job.state, job_reason(job)), (Job.CANCELLED, "INTERRUPTED"))
        self.assertEqual(job.attempts[0].error.code, grpc.StatusCode.CANCELLED.value[0])
        self.assertGreaterEqual(unix_time(job.end_time) - asked, 0.9)
        self.assertLess(unix_time(job.end_time) - asked, 6 * SLOW)  # 5 s of grace
        self.stays(kept)
        self.ended(server)
        self.assertIn("jobs interrupted count=2", server.log())

    def test_second_signal_cuts_the_wait_short(self):
        for first, second in ((signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)):
            server, client = self.both(drain_timeout=LONG)
            call = self.run_later(client, sleep_job(600, durability=Job.MEMORY), "long")
            kept = self.run_later(client, sleep_job(600), "kept")
            server.signal(first)
            self.draining(server, client)
            self.assertEqual(client.get("jobs/long").state, Job.RUNNING)
            server.signal(second)
            self.stays(kept)
            self.assertEqual((call.result().state, job_reason(call.result())), (Job.CANCELLED, "INTERRUPTED"))
            self.ended(server)

    def test_open_health_watch_gets_the_news_and_holds_nothing_up(self):
        server, client = self.both(drain_timeout=LONG)
        # By hand, see Client.health: the answers are the bytes of `status: N`.
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=2 * PATIENCE)
        unknown = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x01x", timeout=2 * PATIENCE)
        self.assertEqual((next(watch), next(unknown)), (b"\x08\x01", b"\x08\x03"))
        start = time.monotonic()
        server.signal()
        self.assertEqual(next(watch), b"\x08\x02")
        with self.assertRaises(grpc.RpcError) as caught:
            next(watch)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.ended(server)
        self.assertLess(time.monotonic() - start, PATIENCE / 2)

    def test_under_load_every_call_is_answered_or_refused_as_unavailable(self):
        for _ in range(5):  # the end must come between a call's start and its answer
            self.end_under_load()

    def end_under_load(self):
        server = self.server(drain_timeout=LONG)
        clients = [self.client(server) for _ in range(8)]
        started = [0] * len(clients)

        def run_until_refused(number):
            while True:
                try:
                    job = clients[number].run(noop_job() if number % 2 else sleep_job(0.002))
                except grpc.RpcError as error:
                    return error.code()
                self.assertEqual(job.state, Job.SUCCEEDED)
                started[number] += 1

        with ThreadPoolExecutor(len(clients)) as threads:
            calls = [threads.submit(run_until_refused, i) for i in range(len(clients))]
            try:
                eventually(lambda: min(started) > 20, what="all of them run jobs")
            finally:
                server.signal()
            self.assertEqual({call.result() for call in calls}, {grpc.StatusCode.UNAVAILABLE})
        self.ended(server)

    def test_unix_socket_is_free_again_after_the_end(self):
        with tempfile.TemporaryDirectory() as folder:
            listen = f"--grpc_listen=unix:{folder}/socket"
            for _ in range(2):
                server, client = self.both(listen)
                self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
                second = subprocess.run([f"{BIN}/jobpoold", listen, "--http_listen=127.0.0.1:0"], capture_output=True,
                                        text=True, timeout=10 * SLOW, check=False)
                self.assertEqual(second.returncode, 2, second.stderr)
                self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
                server.signal()
                self.ended(server)


class FailedStart(E2eTest):
    def refuses(self, *flags, word=""):
        with self.subTest(flags):
            try:
                done = subprocess.run([f"{BIN}/jobpoold", *flags], capture_output=True, text=True, timeout=10 * SLOW,
                                      stdin=subprocess.DEVNULL, check=False)
            except subprocess.TimeoutExpired:
                self.fail("it started")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]+\n\Z")  # one line
            self.assertIn(word, done.stderr)

    FREE = ("--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0")

    def test_ports_in_use(self):
        server = self.server()
        with socket.create_server(("127.0.0.1", 0)) as other:  # not ours, another program's
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            for address in (server.grpc, server.http, taken):
                self.refuses(f"--grpc_listen={address}", "--http_listen=127.0.0.1:0", word=address)
                self.refuses("--grpc_listen=127.0.0.1:0", f"--http_listen={address}", word=address)
        client = self.client(server)
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)  # the first one did not notice

    def test_bad_flags(self):
        self.refuses(*self.FREE, "--no_such_flag", word="no_such_flag")
        self.refuses(*self.FREE, "--no_such_flag\nsecond line")
        self.refuses(*self.FREE, "stray", word="stray")
        self.refuses(*self.FREE, "--store=floppy", word="--store")
        self.refuses(*self.FREE, "--log_level=loud", word="--log_level")
        for bad in ("", "x", "5", "-1s", "2h", "inf", "1s x", "1e400s"):
            self.refuses(*self.FREE, f"--drain_timeout={bad}", word="--drain_timeout")

    def test_bad_addresses(self):
        for flag, free in (("--grpc_listen", self.FREE[1]), ("--http_listen", self.FREE[0])):
            for bad in ("", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536", ":0",
                        "127.0.0.1:0x1", "127.0.0.1:99999999999999999999", "no.such.host.invalid:1", "1.2.3:0",
                        "[::1:0", "::1:0", "127.0.0.1:0\n", "unix:"):
                self.refuses(f"{flag}={bad}", free, word=flag)
            for others in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
                self.refuses(f"{flag}={others}", free, word="insecure")
        self.refuses("--grpc_listen=192.0.2.1:0", self.FREE[1], "--insecure", word="192.0.2.1")  # not this machine's
        self.refuses(self.FREE[0], "--http_listen=192.0.2.1:0", "--http_insecure", word="192.0.2.1")
        self.refuses("--grpc_listen=unix:" + "x" * 108, self.FREE[1])
        self.refuses("--grpc_listen=unix:/nonexistent/socket", self.FREE[1], word="/nonexistent/socket")
