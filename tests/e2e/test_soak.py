"""A server under full load for as long as you like: what it holds of memory, descriptors, threads, processes and disk
does not grow, is given back when the load ends, and what it counts is what its callers count.

JOBPOOL_SOAK_SECONDS, how long the load lasts; scripts/soak runs it for an hour. Memory and disk are compared between the
first and the last third of the time after a warm-up, by their medians. They may differ by a share, since what the
allocator keeps and what is kept of jobs swings with the load, and by some MiB: in so short a time as the test suite's
the caches of the store and of the allocator have not seen all that they will. In an hour that is some bytes a job."""
import collections
import os
import statistics
import time

from jobpool_e2e import PATIENCE, SLOW, eventually, job_pb2, processes_below
from soak_load import CONFIG, MAX_ENDED_JOBS, Load
from store_e2e import StoreTest

Job = job_pb2.Job
SECONDS = float(os.environ.get("JOBPOOL_SOAK_SECONDS") or (75 if SLOW == 1 else 30))
# That is also when so many jobs are done, and takes three times as long for it where the machine is slow.
WARM_UP, WARM_UP_JOBS = min(max(SECONDS * 0.4, 10), 300), 50_000 if SLOW == 1 else 1_000
TASTE = 3 * SLOW ** 0.5  # s of the same load before: what comes with the first of each is there afterwards
MIB = 1 << 20
# Growth of the medians, as a share and in bytes.
MEMORY_GROWTH, STORE_GROWTH = (0.05, 4 * MIB), (0.25, 32 * MIB)  # the store's log alone swings by 32 MiB
STORED_JOBS_MOST = 1 << 31  # bytes of the store's files, at any time

Sample = collections.namedtuple("Sample", "time memory threads descriptors processes zombies store jobs")


class Soak(StoreTest):
    def sample(self, server, begin):
        with open(f"/proc/{server.pid}/statm", encoding="ascii") as statm:
            memory = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        below = processes_below(server.pid)
        files = []
        for name in os.listdir(self.state):
            try:
                files.append(os.path.getsize(f"{self.state}/{name}"))
            except FileNotFoundError:
                pass  # gone meanwhile
        return Sample(time.monotonic() - begin, memory, len(os.listdir(f"/proc/{server.pid}/task")), server.descriptors(),
                      len(below), frozenset(pid for pid, (_, state) in below.items() if state == "Z"), sum(files),
                      server.metrics().sum("jobpool_jobs_finished_total"))

    def idle(self, server, client):
        """What is there when nothing is to do and has not been for a while: threads, descriptors, processes."""
        last = since = None

        def settled():
            nonlocal last, since
            now = (client.active_count().active_count, server.descriptors(), sorted(processes_below(server.pid).values()))
            if now != last or server.metrics().sum("jobpool_jobs") > 0:
                last, since = now, time.monotonic()
            return time.monotonic() - since > 2.5  # pools keep idle threads and processes for 1 s

        eventually(settled, what="the server has come to rest", deadline=2 * PATIENCE, poll=0.1)
        return last

    def soak(self, server, load):
        """Samples of every second, while the load lasts: those of the warm-up, and the others."""
        warm_up, judged, begin = [], [], time.monotonic()
        load.begin(6 * WARM_UP)
        try:
            while load.left() and not load.tally.problems:
                sample = self.sample(server, begin)
                if not judged and sample.time >= WARM_UP and (
                        sample.jobs >= WARM_UP_JOBS or sample.time >= 3 * WARM_UP):
                    load.last(SECONDS - WARM_UP)
                    judged.append(sample)
                else:
                    (judged or warm_up).append(sample)
                time.sleep(min(load.left(), max(0, 1 - (time.monotonic() - begin - sample.time))))
        finally:
            load.finish()
        return warm_up, judged

    def phases(self, warm_up, judged):
        third = len(judged) // 3
        self.assertGreaterEqual(third, 3, "too few samples: the machine is too slow, or the time too short")
        return {"warm-up": warm_up, "first third": judged[:third], "second": judged[third:-third],
                "last third": judged[-third:]}

    def print_table(self, phases):
        print(f"\n{'':12}{'seconds':>12}{'RSS MiB':>18}{'threads':>9}{'descr.':>8}{'proc.':>7}{'disk MiB':>10}{'jobs/s':>8}")
        self.print_rows(phases)

    def print_rows(self, phases):
        for name, part in phases.items():
            memory = [sample.memory / MIB for sample in part]
            rate = (part[-1].jobs - part[0].jobs) / max(part[-1].time - part[0].time, 1)
            print(f"{name:12}{part[0].time:5.0f} to{part[-1].time:5.0f}{statistics.median(memory):7.1f} "
                  f"({min(memory):.0f}-{max(memory):.0f}){'':2}{statistics.median(s.threads for s in part):6.0f}"
                  f"{statistics.median(s.descriptors for s in part):8.0f}"
                  f"{statistics.median(s.processes for s in part):7.0f}"
                  f"{statistics.median(s.store for s in part) / MIB:10.1f}{rate:8.0f}")

    def flat(self, phases, of, bound, what):
        share, more = bound
        first, last = (statistics.median(getattr(sample, of) for sample in phases[part])
                       for part in ("first third", "last third"))
        self.assertLessEqual(last, first * (1 + share) + more, f"{what} has grown from {first:,.0f} to {last:,.0f} bytes")

    def check_counts(self, tally, metrics, names):
        """The server's counters against what the callers were told."""
        for pool, accepted in tally.accepted.items():
            with self.subTest(pool=pool):
                self.assertEqual(metrics.sum("jobpool_jobs_submitted_total", pool=pool), accepted)
                self.assertEqual(metrics.sum("jobpool_jobs_finished_total", pool=pool), accepted)
                for state in ("failed", "cancelled"):
                    self.assertEqual(metrics.sum("jobpool_jobs_finished_total", pool=pool, state=state),
                                     tally.ended[pool, state], state)
        submitted = metrics.sum("jobpool_jobs_submitted_total", pool="broken")
        self.assertGreater(submitted, 0)
        self.assertEqual(metrics.sum("jobpool_jobs_finished_total", pool="broken"), submitted)
        self.assertGreater(metrics.sum("jobpool_jobs_finished_total", pool="broken", state="cancelled"), 0)
        self.assertEqual(metrics.sum("jobpool_job_retries_total"), tally.retried)
        for metric in ("jobpool_jobs", "jobpool_jobs_rejected_total", "jobpool_store_failures_total",
                       "jobpool_late_completions_total", "jobpool_attempts_abandoned_total"):
            self.assertEqual(metrics.sum(metric), 0, metric)
        self.assertEqual(metrics.sum("jobpool_store_jobs", state="live"), 0)
        self.assertGreaterEqual(metrics.sum("jobpool_store_jobs", state="ended"), len(names))

    def no_call_is_left(self, server):
        def same():
            metrics = server.metrics()
            return (metrics.sum("grpc_server_started_total") == metrics.sum("grpc_server_handled_total") and
                    metrics.sum("jobpool_jobs") == 0)
        eventually(same, what="every call that was started has ended, and every job")

    def test_soak(self):
        server, client = self.start(self.config_flag(CONFIG))
        load = Load(server)
        load.begin(TASTE)
        load.finish()
        self.assertEqual(load.tally.problems, [])
        before = self.idle(server, client)
        at_rest = self.sample(server, time.monotonic())

        warm_up, judged = self.soak(server, load)
        phases = self.phases(warm_up, judged)
        self.print_table({"before": [at_rest], **phases})
        self.assertEqual(load.tally.problems, [])
        after = self.idle(server, client)
        self.no_call_is_left(server)
        begin = time.monotonic() - judged[-1].time
        self.print_rows({"after": [self.sample(server, begin)]})
        slope = statistics.linear_regression([s.time / 60 for s in judged], [s.memory / 1024 for s in judged]).slope
        metrics, tally = server.metrics(), load.tally
        print(f"memory: {slope:+.0f} KiB a minute; {metrics.sum('jobpool_jobs_finished_total'):,.0f} jobs done in "
              f"{judged[-1].time:.0f} s, of which {metrics.sum('jobpool_jobs_finished_total', state='failed'):,.0f} failed and "
              f"{metrics.sum('jobpool_jobs_finished_total', state='cancelled'):,.0f} were cancelled; "
              f"{metrics.sum('grpc_server_started_total'):,.0f} calls; "
              f"{metrics.sum('jobpool_process_starts_total'):,.0f} processes started")
        print("rounds: " + ", ".join(f"{name} {count}" for name, count in sorted(tally.rounds.items())))

        self.assertEqual(after, before, "threads, descriptors and processes at rest, after and before")
        stayed = frozenset.intersection(*(s.zombies for s in judged[-3:]))
        self.assertEqual(stayed, frozenset(), "zombies")
        self.check_counts(tally, metrics, load.kept_names())
        for name in load.kept_names():
            self.assertEqual(client.get(name).state, Job.SUCCEEDED, name)
        if SLOW == 1:  # AddressSanitizer keeps what is freed
            self.flat(phases, "memory", MEMORY_GROWTH, "resident memory")
        self.flat(phases, "store", STORE_GROWTH, "the store")
        self.assertLess(max(sample.store for sample in warm_up + judged), STORED_JOBS_MOST)
        eventually(lambda: server.metrics().sum("jobpool_store_jobs", state="ended") == len(load.kept_names()),
                   what="durable jobs are forgotten when their time is over", poll=0.5)


if __name__ == "__main__":
    import unittest
    unittest.main()
