"""Roll call, active count and metrics tell one truth while 10,000 jobs run; and nothing is left after."""
import threading
from concurrent.futures import ThreadPoolExecutor

from jobpool.v1 import job_pb2, job_service_pb2 as js, thread_pb2
from jobpool_e2e import SLOW, E2eTest, eventually, noop_job, sleep_job

JOBS, SUBMITTERS, BATCH, POLLERS = 10_000, 4, 250, 50
RETENTION = 10 if SLOW == 1 else 30  # s; each batch is joined long before, and all are forgotten soon after
PAUSE = 0.2 if SLOW == 1 else 0.5  # s, between two looks of one client
FINISHED, SUBMITTED = "jobpool_jobs_finished_total", "jobpool_jobs_submitted_total"


class Seen:
    """What was said of each snapshot version, and by whom. Thread-safe."""

    def __init__(self):
        self.lock = threading.Lock()
        self.said = {}  # version -> {counts by role, as a sorted tuple -> who said so}

    def add(self, version, counts, source):
        key = tuple(sorted((role.lower(), int(count)) for role, count in counts.items() if count))
        with self.lock:
            self.said.setdefault(int(version), {}).setdefault(key, set()).add(source)


class Truth(E2eTest):
    def look(self, client, seen):
        """One ListThreads and one GetActiveCount."""
        answer = client.list_threads()
        roles = [thread_pb2.Thread.Role.Name(t.role) for t in answer.threads]
        self.assertEqual(answer.next_page_token, "")
        self.assertEqual(answer.total_size, len(answer.threads))
        self.assertEqual({role: roles.count(role) for role in set(roles)}, dict(answer.counts_by_role))
        self.assertEqual(roles.count("MAIN"), 1)
        self.assertEqual(len({t.name for t in answer.threads}), len(answer.threads))
        seen.add(answer.snapshot_version, answer.counts_by_role, "list")
        count = client.active_count()
        self.assertEqual(count.active_count, sum(count.counts_by_role.values()))
        seen.add(count.snapshot_version, count.counts_by_role, "count")
        self.assertGreaterEqual(count.snapshot_version, answer.snapshot_version)

    def scrape(self, server, seen):
        metrics, counts = server.metrics(), {}
        for name, labels, value in metrics.samples:
            if name == "jobpool_threads":
                counts[labels["role"]] = counts.get(labels["role"], 0) + value
        seen.add(metrics.sum("jobpool_threads_snapshot_version"), counts, "metrics")
        return metrics

    def submit(self, client, count):
        """Submits and joins so many jobs; each has ended once."""
        for first in range(0, count, BATCH):
            names = []
            for i in range(first, first + BATCH):
                job = noop_job(b"x") if i % 2 else sleep_job(i % 3 / 1000)
                job.retention.seconds = RETENTION
                names.append(client.submit(job).name)
            answer = client.wait(names)
            self.assertFalse(answer.timed_out)
            self.assertEqual([(j.name, j.state, len(j.attempts)) for j in answer.jobs],
                             [(name, job_pb2.Job.SUCCEEDED, 1) for name in names])

    def round(self, server):
        seen, done, polls = Seen(), threading.Event(), []

        def poll(look, pause):
            while not done.wait(pause):
                look()
                polls.append(1)

        with ThreadPoolExecutor(SUBMITTERS + POLLERS + 1) as threads:
            clients = [self.client(server) for _ in range(SUBMITTERS + POLLERS)]
            looks = [threads.submit(poll, lambda c=c: self.look(c, seen), PAUSE) for c in clients[SUBMITTERS:]]
            looks.append(threads.submit(poll, lambda: self.scrape(server, seen), 0.1))
            work = [threads.submit(self.submit, c, JOBS // SUBMITTERS) for c in clients[:SUBMITTERS]]
            try:
                for part in work:
                    part.result()
            finally:
                done.set()
            for part in looks:
                part.result()
            self.look(clients[0], seen)
            self.scrape(server, seen)
            for client in clients:
                client.close()
        contradictions = {version: said for version, said in seen.said.items() if len(said) > 1}
        self.assertEqual(contradictions, {})
        compared = [v for v, said in seen.said.items() if {"list", "count", "metrics"} <= set().union(*said.values())]
        self.assertTrue(compared, "no version was seen by all three")
        self.assertGreater(len(polls), 2 * POLLERS)

    def test_10000_jobs_while_50_clients_look(self):
        server, client = self.both()
        client.run(noop_job())
        server.metrics()
        # The one HTTP thread that is kept has started, and the descriptors of this client are open.
        before = (server.descriptors(), client.active_count().active_count)
        resident = []
        for number in (1, 2):
            self.round(server)
            metrics = server.metrics()
            self.assertEqual(metrics.sum(SUBMITTED), number * JOBS + 1)
            self.assertEqual(metrics.sum(FINISHED), number * JOBS + 1)
            self.assertEqual(metrics.sum(FINISHED, state="succeeded"), number * JOBS + 1)
            self.assertEqual(metrics.sum(FINISHED, kind="noop"), number * JOBS / 2 + 1)
            self.assertEqual(metrics.sum(FINISHED, kind="sleep"), number * JOBS / 2)
            self.assertEqual(metrics.sum("jobpool_jobs"), 0)
            eventually(lambda: (server.descriptors(), client.active_count().active_count) == before, poll=0.2,
                       what=f"descriptors and threads are {before} again")
            self.assertLess(server.store_descriptors(), 16)  # 3 for each of the 4 that read and the one that writes
            eventually(lambda: len(client.jobs.ListJobs(js.ListJobsRequest()).jobs) == 1, poll=0.2,
                       what="the jobs are forgotten")
            resident.append(server.metrics().sum("process_resident_memory_bytes"))
        self.assertLessEqual(resident[1], resident[0] * (1.10 if SLOW == 1 else 2), resident)
