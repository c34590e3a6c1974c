"""The CLI's commands of control against a server: plans of jobs, retries, updates, pools."""
import json

from google.protobuf import json_format
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_pb2, pool_service_pb2 as ps
from jobpool_e2e import eventually, noop_job, sleep_job, unix_time
from test_cli import CliTest

Job, Pool = job_pb2.Job, pool_pb2.Pool


class ControlTest(CliTest):
    def parse(self, message, *args, **options):
        """What it wrote with -o json."""
        return json_format.Parse(self.cli("-o", "json", *args, **options), message)

    def submit(self, *args):
        return self.cli("submit", *args).strip()

    def pool(self, name):
        return self.c.pools.GetPool(ps.GetPoolRequest(name=f"pools/{name}"))

    def paused(self, name):
        """The pool starts no jobs until the test ends."""
        self.addCleanup(self.cli, "pools", "resume", name)
        self.cli("pools", "pause", name)


class Plans(ControlTest):
    def test_options_reach_the_job(self):
        name = self.submit("noop", "--priority", "7", "--timeout", "5s", "--at", "2020-01-31T08:00:00Z", "--deadline", "1h",
                           "--attempts", "3", "--backoff", "100ms", "--max-backoff", "2s")
        job = self.c.join(name)
        self.assertEqual((job.priority, job.timeout.seconds, job.retry_policy.max_attempts), (7, 5, 3))
        self.assertEqual(job.retry_policy.initial_backoff.ToMilliseconds(), 100)
        self.assertEqual(job.retry_policy.max_backoff.seconds, 2)
        self.assertAlmostEqual(unix_time(job.deadline_time) - unix_time(job.create_time), 3600, delta=60)
        for args in (("--priority", "10"), ("--priority", "x"), ("--timeout", "0"), ("--deadline", "soon"),
                     ("--deadline=-1s",), ("--in", "31d"), ("--at", "08:00"), ("--in", "1s", "--at", "2030-01-31T08:00"),
                     ("--backoff", "1s"), ("--attempts", "101"), ("--attempts", "2", "--backoff", "25h"),
                     ("--in", "1s", "--request-id", "5f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a46")):
            with self.subTest(args):
                self.assertEqual(self.cli("submit", "noop", *args, status=2), "")
                self.assertTrue(self.stderr.startswith("error: "), self.stderr)

    def test_scheduled_job_is_explained_and_called_forward(self):
        name = self.submit("noop", "--in", "10m")
        self.assertEqual(self.c.get(name).state, Job.SCHEDULED)
        row = next(line for line in self.cli("jobs").splitlines() if line.startswith(name))
        self.assertRegex(row, r"SCHEDULED .* (9|10)m\Z")
        self.assertIn("ready ", self.cli("jobs", "get", name))
        self.assertRegex(self.cli("jobs", "explain", name), r"waits for +SCHEDULE\n")
        self.cli("wait", name, "--timeout", "0", status=3)
        self.assertIn(name, self.cli("jobs", "update", name, "--now"))
        self.cli("wait", name)
        self.assertEqual(self.c.get(name).state, Job.SUCCEEDED)

    def test_attempts_and_what_was_done_to_end_them_are_shown(self):
        self.cli("run", "sleep", "600", "--timeout", "100ms", "--attempts", "2", "--backoff", "10ms", "--job-id", "twice",
                 status=1)
        self.assertRegex(self.stderr, r"error: jobs/twice FAILED: .*longer than 100ms")
        shown = self.cli("jobs", "get", "twice")
        self.assertIn("up to 2 attempts", shown)
        for number in (1, 2):
            self.assertRegex(shown, rf"(?m)^attempt {number} .*, ASKED \S+: .*longer than 100ms$")

    def test_deadline_is_status_1(self):
        self.cli("run", "sleep", "600", "--deadline", "300ms", status=1)
        self.assertRegex(self.stderr, r"error: jobs/\S+ FAILED: had to end by ")

    def test_priority_decides_who_starts_first(self):
        self.cli("pools", "resize", "compute", "--min", "1", "--max", "1")
        self.paused("compute")
        low, high = self.submit("noop", "--priority", "0"), self.submit("noop", "--priority", "9")
        raised = self.submit("noop")
        self.cli("jobs", "update", raised, "--priority", "9")
        self.assertEqual([self.parse(js.ExplainJobResponse(), "jobs", "explain", n).place for n in (high, raised, low)],
                         [1, 2, 3])
        self.assertIn("PAUSE", self.cli("jobs", "explain", high))
        self.cli("pools", "resume", "compute")
        self.cli("wait", low, high, raised)
        starts = [unix_time(self.c.get(name).start_time) for name in (high, raised, low)]
        self.assertEqual(starts, sorted(starts))


class Changes(ControlTest):
    def test_retry_makes_a_new_job_of_an_ended_one(self):
        ended = self.c.run(noop_job(b"x", display_name="again")).name
        name = self.cli("jobs", "retry", ended.removeprefix("jobs/")).strip()
        self.assertNotEqual(name, ended)
        self.assertEqual((self.c.join(name).retry_of, self.c.get(name).result.noop.payload), (ended, b"x"))
        self.assertRegex(self.cli("jobs", "get", name), rf"(?m)^retry of +{ended}$")
        job = self.parse(Job(), "jobs", "retry", ended, "--job-id", "third")
        self.assertEqual((job.name, job.retry_of), ("jobs/third", ended))
        self.cli("jobs", "retry", ended, "--job-id", "third", status=5)
        self.cli("jobs", "retry", ended, "--request-id", "x", status=2)
        self.cli("jobs", "retry", self.c.submit(sleep_job(600)).name, status=5)
        self.cli("jobs", "retry", "nobody", status=4)

    def test_update(self):
        name = self.submit("noop", "--in", "1h", "--deadline", "2h", "--label", "a=b")
        etag = self.c.get(name).etag
        self.assertIn(etag, self.cli("jobs", "get", name))
        job = self.parse(Job(), "jobs", "update", name, "--name", "new", "--label", "c=d", "--priority", "1", "--in", "2h",
                         "--no-deadline", "--etag", etag)
        self.assertEqual(job, self.c.get(name))
        self.assertEqual((job.display_name, dict(job.labels), job.priority), ("new", {"c": "d"}, 1))
        self.assertAlmostEqual(unix_time(job.schedule_time) - unix_time(job.create_time), 7200, delta=60)
        self.assertFalse(job.HasField("deadline_time"))
        self.assertEqual(self.cli("-o", "name", "jobs", "update", name, "--deadline", "3h"), name + "\n")
        self.assertTrue(self.c.get(name).HasField("deadline_time"))
        self.cli("jobs", "update", name, "--priority", "2", "--etag", etag, status=5)
        self.assertIn("etag", self.stderr)
        for args in ((), ("--priority", "10"), ("--now", "--in", "1s"), ("--deadline", "1s", "--no-deadline"), ("--label", "x")):
            self.cli("jobs", "update", name, *args, status=2)
        self.cli("jobs", "update", "nobody", "--name", "x", status=4)
        self.cli("jobs", "update", self.c.running(self.c.submit(sleep_job(600)).name).name, "--priority", "9", status=5)
        self.cli("jobs", "update", self.c.run(noop_job()).name, "--name", "x", status=5)

    def test_explain(self):
        ended = self.c.run(noop_job()).name
        self.assertEqual(self.parse(js.ExplainJobResponse(), "jobs", "explain", ended),
                         self.c.jobs.ExplainJob(js.ExplainJobRequest(name=ended)))
        self.assertIn("SUCCEEDED", self.cli("jobs", "explain", ended))
        self.cli("jobs", "explain", "nobody", status=4)


class Pools(ControlTest):
    def test_resize(self):
        pool = self.parse(Pool(), "pools", "resize", "blocking", "--min", "2", "--max", "9", "--queue", "77",
                          "--starts-per-second", "1000", "--submits-per-second", "0.5", "--idle-timeout", "1m", "--stop-grace", "2s")
        self.assertEqual((pool.min_threads, pool.max_threads, pool.max_queued_jobs), (2, 9, 77))
        self.assertEqual((pool.max_starts_per_second, pool.max_submits_per_second), (1000, 0.5))
        self.assertEqual((pool.idle_timeout.seconds, pool.stop_grace.seconds), (60, 2))
        self.cli("pools", "resize", "pools/blocking", "--submits-per-second", "0")
        self.assertEqual((self.pool("blocking").max_submits_per_second, self.pool("blocking").max_threads), (0, 9))
        for args in ((), ("--max", "0"), ("--min", "10"), ("--max", "x"), ("--starts-per-second", "nan"), ("--queue", "-1")):
            self.cli("pools", "resize", "blocking", *args, status=2)
        self.cli("pools", "resize", "nope", "--max", "1", status=4)

    def test_pause_and_resume(self):
        self.paused("compute")
        self.assertIn("PAUSED", self.cli("pools"))
        name = self.submit("noop")
        self.assertEqual(self.c.get(name).state, Job.QUEUED)
        self.assertEqual(json.loads(self.cli("-o", "json", "pools", "resume", "compute"))["state"], "ACTIVE")
        self.cli("wait", name)
        for verb in ("pause", "resume", "drain"):
            self.assertEqual(self.cli("-o", "name", "pools", verb, "compute"), "pools/compute\n")
            self.cli("pools", verb, "nope", status=4)

    def test_drain(self):
        self.addCleanup(self.cli, "pools", "resume", "blocking")
        running, scheduled = self.submit("sleep", "600"), self.submit("sleep", "600", "--in", "1h")
        self.c.running(running)
        self.assertIn("DRAINING", self.cli("pools", "drain", "blocking"))
        self.assertEqual(self.cli("submit", "sleep", "1", status=5), "")
        self.assertRegex(self.stderr, r"\Aerror: .*pools/blocking.* drains")
        self.cli("pools", "drain", "blocking", "--wait", "--timeout", "300ms", status=3)
        self.assertRegex(self.stderr, r"\Aerror: .* 2 jobs\n\Z")
        process = self.start("pools", "drain", "blocking", "--wait")
        self.c.cancel(scheduled)
        eventually(lambda: self.pool("blocking").scheduled_jobs == 0, what="one is left")
        self.assertIsNone(process.poll())
        self.c.cancel(running)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertRegex(out, r"running jobs +0\n")
        self.cli("pools", "resume", "blocking")
        self.cli("run", "sleep", "0")

    def test_drain_that_is_called_off_is_status_5(self):
        running = self.submit("sleep", "600")
        process = self.start("pools", "drain", "blocking", "--wait")
        eventually(lambda: self.pool("blocking").state == Pool.DRAINING, what="it drains")
        self.cli("pools", "resume", "blocking")
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 5, err)
        self.c.cancel(running)
