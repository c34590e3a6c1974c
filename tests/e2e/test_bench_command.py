"""`jobpool bench` against a server: its counts are the server's, its schedule is kept, its latencies tell of waits."""
import json
import os
import signal

from jobpool_e2e import PATIENCE, eventually
from test_cli import NOBODY, CliTest

SINGLE = 'pools { name: "single" max_threads: 1 }'


class BenchCommand(CliTest):
    def bench(self, *args, status=0, server=None):
        """Its figures."""
        out = self.cli(*(("--server", server.grpc) if server else ()), "-o", "json", "bench", *args, status=status)
        figures = json.loads(out)
        self.assertEqual(figures["succeeded"] + figures["failed"] + figures["unfinished"], figures["started"], out)
        self.assertEqual(figures["started"] + figures["missed"], figures["scheduled"], out)
        self.assertEqual(sum(failure["count"] for failure in figures["failures"]), figures["failed"], out)
        return figures

    def finished(self, server, **labels):
        return server.metrics().sum("jobpool_jobs_finished_total", **labels)

    def started_calls(self, method, server):
        return server.metrics().sum("grpc_server_started_total", grpc_method=method)

    def no_job_is_left(self, server):
        eventually(lambda: server.metrics().sum("jobpool_jobs") == 0, what="all jobs have ended")

    def test_closed_loop_counts_what_the_server_counts(self):
        server = self.server()
        figures = self.bench("--duration", "1s", "--concurrency", "16", "--durability", "memory", server=server)
        self.assertEqual(self.finished(server, kind="noop", state="succeeded"), figures["succeeded"])
        self.assertEqual((figures["loop"], figures["method"], figures["work"], figures["rate_per_second"]),
                         ("closed", "RunJob", "noop", None))
        self.assertGreaterEqual(figures["elapsed_seconds"], 1)
        self.assertAlmostEqual(figures["succeeded_per_second"] * figures["elapsed_seconds"], figures["succeeded"], 0)
        latency = figures["latency_seconds"]
        self.assertEqual(latency, figures["service_time_seconds"])
        order = [latency[name] for name in ("min", "p50", "p90", "p99", "p99_9", "max")]
        self.assertEqual(order, sorted(order))

    def test_open_loop_starts_what_its_schedule_says(self):
        server = self.server()
        figures = self.bench("--rate", "200", "--duration", "2s", "--warmup", "500ms", "--connections", "2",
                             server=server)
        self.assertEqual((figures["scheduled"], figures["succeeded"], figures["missed"]), (400, 400, 0))
        self.assertEqual(self.finished(server, kind="noop", state="succeeded"), 500)
        self.assertGreaterEqual(figures["elapsed_seconds"], 1.995)  # the last is due then
        self.assertEqual(figures["loop"], "open")

    def test_submissions_alone(self):
        server = self.server()
        figures = self.bench("--submit", "--count", "100", "--payload-size", "1000", "--priority", "9", server=server)
        self.assertEqual((figures["method"], figures["succeeded"]), ("SubmitJob", 100))
        eventually(lambda: self.finished(server, kind="noop", state="succeeded") == 100, what="the jobs ran")
        self.assertEqual(self.started_calls("RunJob", server), 0)

    def test_waits_in_the_client_are_in_the_latency_and_not_in_the_service_time(self):
        server = self.server(self.config_flag(SINGLE))
        # Call k of 60 is due after 25 ms * k, but sent after 50 ms * k or later.
        figures = self.bench("sleep", "50ms", "--pool", "single", "--rate", "40", "--count", "60", "--max-in-flight",
                             "1", server=server)
        self.assertEqual(figures["succeeded"], 60)
        latency, service = figures["latency_seconds"], figures["service_time_seconds"]
        self.assertGreaterEqual(latency["mean"] - service["mean"], 0.025 * 29.5)
        self.assertGreaterEqual(latency["p99"], 0.025 * 59 + 0.05)
        self.assertGreaterEqual(figures["max_start_delay_seconds"], 0.025 * 59)
        self.assertGreaterEqual(figures["started_late"], 59)

    def test_waits_in_the_queue_are_in_the_latency(self):
        server = self.server(self.config_flag(SINGLE))
        # All are done after 60 * 50 ms, and the last was due after 59 * 25 ms.
        figures = self.bench("sleep", "50ms", "--pool", "single", "--rate", "40", "--count", "60", server=server)
        self.assertEqual(figures["succeeded"], 60)
        self.assertGreaterEqual(figures["latency_seconds"]["max"], 60 * 0.05 - 59 * 0.025)
        self.assertGreaterEqual(figures["elapsed_seconds"], 3)

    def test_refusals_are_counted(self):
        server = self.server(self.config_flag('pools { name: "tiny" max_threads: 1 max_queued_jobs: 1 }'))
        figures = self.bench("sleep", "600s", "--pool", "tiny", "--count", "50", "--concurrency", "8",
                             "--drain-timeout", "1s", server=server, status=1)
        self.assertIn("no call succeeded", self.stderr)
        # One runs, one is queued; of what was in flight at the end some refusals may have come too late.
        self.assertGreaterEqual(figures["failed"], 42)
        self.assertGreaterEqual(figures["unfinished"], 1)
        self.assertEqual(figures["failures"], [{"of": "call", "code": "RESOURCE_EXHAUSTED", "reason": "QUEUE_FULL",
                                                "count": figures["failed"]}])
        rejected = server.metrics().sum("jobpool_jobs_rejected_total", reason="queue_full")
        self.assertLessEqual(figures["failed"], rejected)
        self.assertLessEqual(rejected, 49)
        self.assertIsNone(figures["latency_seconds"])
        self.no_job_is_left(server)

    def test_jobs_that_fail_are_counted(self):
        server = self.server(self.config_flag('commands { name: "false" argv: "/bin/false" }'))
        figures = self.bench("command", "false", "--count", "3", "--concurrency", "1", server=server, status=1)
        self.assertEqual(figures["failures"], [{"of": "job", "code": "FAILED", "reason": "COMMAND_FAILED", "count": 3}])

    def test_interrupt_prints_the_figures_and_leaves_no_job(self):
        server = self.server()
        process = self.start("--server", server.grpc, "-o", "json", "bench", "sleep", "600s", "--concurrency", "5")
        eventually(lambda: server.metrics().sum("jobpool_jobs", state="running") == 5, what="five jobs run")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130, err)
        figures = json.loads(out)
        self.assertEqual((figures["interrupted"], figures["started"], figures["unfinished"]), (True, 5, 5))
        self.no_job_is_left(server)
        self.assertEqual(self.finished(server, state="cancelled"), 5)

    def test_line_on_a_terminal(self):
        def press_ctrl_c(master):
            shown = b""
            while b" in flight" not in shown:
                shown += os.read(master, 4096)
            self.assertRegex(shown, rb"\r\x1b\[K\d+\.\ds  \d+ answers  \d+/s  0 failed  \d+ in flight")
            os.write(master, b"\x03")

        status, shown = self.on_terminal("bench", "--duration", "1h", during=press_ctrl_c)
        self.assertEqual(status, 130, shown)
        self.assertNotIn("answers", shown.split("\x1b[K")[-1])  # the line is wiped before the figures
        for word in ("interrupted", "succeeded", "P99.9", "Closed loop"):
            self.assertIn(word, shown)

    def test_server_that_goes_ends_it(self):
        server = self.server()
        process = self.start("--server", server.grpc, "-o", "json", "bench", "--duration", "1h")
        eventually(lambda: self.started_calls("RunJob", server) > 100, what="calls are made")
        server.kill()
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 5, err)
        self.assertRegex(err, r"\Aerror: cannot reach [^\n]+\n\Z")
        figures = json.loads(out)
        self.assertTrue(figures["server_lost"])
        self.assertGreater(figures["succeeded"], 0)

    def test_server_that_cannot_be_reached(self):
        self.assertEqual(self.cli("--server", NOBODY, "bench", status=5), "")
        self.assertRegex(self.stderr, r"\Aerror: cannot reach [^\n]+\n\Z")

    def test_usage(self):
        for args, error in (
                (("--rate", "10", "--concurrency", "5"), "--concurrency excludes --rate|--rate excludes --concurrency"),
                (("--max-in-flight", "10"), "--max-in-flight requires --rate"),
                (("--rate", "0"), "--rate: must be more than 0"),
                (("--rate", "x"), "--rate"),
                (("--concurrency", "0"), "--concurrency: must be 1 to 100000"),
                (("--concurrency", "20000"), "give more --connections"),
                (("--connections", "65"), "--connections: must not be more than --concurrency, 64"),
                (("--duration", "x"), "--duration: 'x' is not a duration"),
                (("--count", "0"), "--count: must be 1"),
                (("--payload", "x", "--payload-size", "1"), "--payload"),
                (("sleep", "1s", "--payload-size", "1"), "--payload"),
                (("sleep",), "sleep needs its DURATION"),
                (("sleep", "-1s"), "job.sleep.duration"),
                (("nope",), "unknown kind 'nope'"),
                (("--job-id", "a"), "--job-id")):
            with self.subTest(args):
                self.assertEqual(self.cli("bench", *args, status=2), "")
                self.assertRegex(self.stderr, r"\Aerror: ")
                self.assertRegex(self.stderr, error)
        self.cli("bench", "--pool", "nowhere", status=4)
