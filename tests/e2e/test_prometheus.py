"""Metrics as Prometheus sees them: promtool's rules, a real scraper and its queries, bounded labels."""
import json
import re
import subprocess
import urllib.parse
import urllib.request

import prometheus
from jobpool.v1 import job_pb2, pool_service_pb2 as ps
from jobpool_e2e import PATIENCE, E2eTest, eventually, noop_job, sleep_job

PROMTOOL = "/usr/bin/promtool"
KINDS = ("sleep", "primes", "fibonacci", "pi", "hash", "spin", "noop", "command", "custom")
POOLS, END_STATES = ("blocking", "compute"), ("succeeded", "failed", "cancelled")
CONFIG = """
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: jobpool
  static_configs: [{targets: ["%s"]}]
"""


class Scrape(E2eTest):
    def test_promtool_finds_nothing(self):
        server, client = self.both()
        for job in (noop_job(), sleep_job(0), job_pb2.Job(compute={"primes": {"limit": 10}})):
            client.run(job)
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=server.metrics().text, capture_output=True,
                              text=True, timeout=PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_known_series_exist_at_0_from_the_start(self):
        server = self.server()
        metrics = server.metrics()
        at_0 = [("jobpool_jobs_rejected_total", {"reason": r}) for r in (
            "invalid_field", "pool_not_found", "job_exists", "queue_full", "shutting_down")]
        at_0 += [("jobpool_job_run_duration_seconds_count", {"kind": k}) for k in KINDS]
        at_0 += [("jobpool_job_cpu_seconds_total", {"kind": k}) for k in KINDS]
        for pool in POOLS:
            at_0 += [("jobpool_jobs", {"pool": pool, "state": s}) for s in ("queued", "running")]
            at_0 += [("jobpool_jobs_submitted_total", {"kind": k, "pool": pool}) for k in KINDS]
            at_0 += [("jobpool_jobs_finished_total", {"kind": k, "pool": pool, "state": s})
                     for k in KINDS for s in END_STATES]
            at_0 += [(name, {"pool": pool}) for name in (
                "jobpool_job_queue_duration_seconds_count", "jobpool_last_finished_timestamp_seconds",
                "jobpool_oldest_queued_timestamp_seconds", "jobpool_oldest_running_timestamp_seconds")]
            at_0.append(("jobpool_threads", {"role": "worker", "pool": pool, "state": "running"}))
        at_0.append(("jobpool_threads", {"role": "worker", "pool": "blocking", "state": "idle"}))
        at_0.append(("jobpool_draining", {}))
        for service, method in (("jobpool.v1.JobService", "SubmitJob"), ("jobpool.v1.ThreadService", "ListThreads"),
                                ("grpc.health.v1.Health", "Watch")):
            labels = {"grpc_service": service, "grpc_method": method}
            at_0.append(("grpc_server_started_total", labels))
            at_0 += [("grpc_server_handled_total", {**labels, "grpc_code": c}) for c in ("OK", "InvalidArgument")]
        for name, labels in at_0:
            self.assertEqual(metrics.sum(name, **labels), 0, (name, labels))
        self.assertEqual(metrics.sum("jobpool_threads", role="main"), 1)
        self.assertEqual(metrics.sum("jobpool_build_info"), 1)
        self.assertEqual(metrics.sum("jobpool_pool_max_threads", pool="blocking"), 256)
        self.assertEqual(metrics.sum("jobpool_pool_max_queued_jobs", pool="compute"), 1_000_000)
        for name in ("cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds",
                     "threads", "start_time_seconds"):
            self.assertGreater(metrics.sum("process_" + name), 0)
        self.assertLessEqual(abs(metrics.sum("process_open_fds") - server.descriptors() - server.store_descriptors()), 4)

    def test_no_label_holds_what_callers_chose_or_what_has_no_end(self):
        server, client = self.both()
        before = server.metrics()
        jobs = [client.run(noop_job(display_name="secret-name", labels={"team": "secret-label"}), job_id=f"secret-{i}")
                for i in range(100)]
        client.running(client.submit(sleep_job(600, display_name="secret-nap")).name)
        metrics = server.metrics()
        threads = client.list_threads().threads
        chosen = {"secret", str(server.pid), *(j.name for j in jobs), *(t.name for t in threads),
                  *(t.display_name for t in threads), *(str(t.os_thread_id) for t in threads)}
        per_name = {}
        for name, labels, _ in metrics.samples:
            per_name.setdefault(name, []).append(labels)
            for value in [value for label, value in labels.items() if label != "le"]:
                self.assertFalse([text for text in chosen if text == value or "secret" in value], (name, labels))
                if not name.startswith("grpc_"):
                    self.assertEqual(value, value.lower())
        for name, series in per_name.items():
            if not name.startswith("grpc_") and not name.endswith("_bucket"):
                self.assertLessEqual(len(series), 100, name)

        def series(scrape):
            return sorted((n, sorted(labels.items())) for n, labels, _ in scrape.samples)
        self.assertEqual(series(metrics), series(before))  # 101 jobs later not one more

    def test_other_paths(self):
        server = self.server()
        self.assertEqual(server.get("/healthz")[0], 200)
        self.assertEqual(server.get("/readyz")[0], 200)
        self.assertEqual(server.get("/nope")[0], 404)


class RealPrometheus(E2eTest):
    def ask(self, path):
        try:
            with self.http.open(f"http://{self.address}/api/v1/{path}", timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except OSError:  # it does not serve yet
            return None

    def query(self, expression):
        """The labels of each series, less its name and origin, and its value."""
        data = self.ask("query?" + urllib.parse.urlencode({"query": expression})) or {"result": []}
        return {tuple(sorted((k, v) for k, v in one["metric"].items() if k not in ("__name__", "job", "instance"))):
                float(one["value"][1]) for one in data["result"]}

    def becomes(self, expression, expected):
        last = {}

        def same():
            last["value"] = self.query(expression)
            return last["value"] == expected
        try:
            eventually(same, poll=0.2)
        except AssertionError:
            self.assertEqual(last["value"], expected, expression)

    def test_target_is_up_and_queries_tell_what_happened(self):
        server, client = self.both()
        self.http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.address = prometheus.start(self, {"prometheus.yml": CONFIG % server.http})
        self.becomes("up", {(): 1})
        (target,) = self.ask("targets")["activeTargets"]
        self.assertEqual((target["health"], target["lastError"]), ("up", ""))

        for _ in range(7):
            client.run(noop_job())
        for _ in range(3):
            client.run(sleep_job(0))
        victims = [client.submit(sleep_job(600)).name for _ in range(2)]
        for name in victims:
            client.running(name)
        self.becomes('jobpool_jobs{state="running",pool="blocking"}', {(("pool", "blocking"), ("state", "running")): 2})
        self.becomes("sum by (role) (jobpool_threads) > 0", {
            (("role", role.lower()),): count for role, count in client.active_count().counts_by_role.items()})
        width = client.pools.GetPool(ps.GetPoolRequest(name="pools/compute")).max_threads
        self.becomes('jobpool_threads{role="worker",state="running"} > 0',
                     {(("pool", "blocking"), ("role", "worker"), ("state", "running")): 2})
        self.becomes('sum(jobpool_threads{role="worker",pool="compute"})', {(): width})
        self.becomes('time() - jobpool_oldest_running_timestamp_seconds{pool="blocking"} < bool 600',
                     {(("pool", "blocking"),): 1})
        for name in victims:
            client.cancel(name)
            client.join(name)
        self.becomes("jobpool_jobs_finished_total > 0", {
            (("kind", "noop"), ("pool", "compute"), ("state", "succeeded")): 7,
            (("kind", "sleep"), ("pool", "blocking"), ("state", "succeeded")): 3,
            (("kind", "sleep"), ("pool", "blocking"), ("state", "cancelled")): 2})
        self.becomes("sum by (kind) (jobpool_jobs_submitted_total) > 0",
                     {(("kind", "noop"),): 7, (("kind", "sleep"),): 5})
        self.becomes("sum(jobpool_jobs)", {(): 0})
        self.becomes('jobpool_job_run_duration_seconds_bucket{kind="noop",le="+Inf"}',
                     {(("kind", "noop"), ("le", "+Inf")): 7})
        self.becomes('grpc_server_handled_total{grpc_method="RunJob"} > 0', {
            (("grpc_code", "OK"), ("grpc_method", "RunJob"), ("grpc_service", "jobpool.v1.JobService"),
             ("grpc_type", "unary")): 10})
        self.assertRegex(server.metrics().text, re.compile(r"^# HELP jobpool_jobs_finished_total \S", re.M))
