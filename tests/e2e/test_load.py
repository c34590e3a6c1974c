"""Control under load: more work than the pool can do, a pool that changes its width, cancellation on busy cores.
What is asserted is what must hold however slow the machine is; the figures are printed."""
import collections
import concurrent.futures
import multiprocessing
import os
import random
import statistics
import threading
import time

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import PATIENCE, SLOW, Client, E2eTest, Error, eventually, noop_job, seconds, sleep_job, unix_time

Job = job_pb2.Job
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


def resident(server):
    with open(f"/proc/{server.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_flight(futures, count):
    """Keeps that many calls going; yields as each one, in order, has ended."""
    going = collections.deque()
    for future in futures:
        going.append(future)
        if len(going) >= count:
            yield going.popleft().result()
    while going:
        yield going.popleft().result()


def call_each(address, method, request_type, names):
    """What a process of its own does: one call for each name, 32 in flight. How long they took."""
    client = Client(address)
    start = time.monotonic()
    call = getattr(client.jobs, method)
    for _ in in_flight((call.future(request_type(name=name), timeout=PATIENCE) for name in names), 32):
        pass
    return time.monotonic() - start


class Load(E2eTest):
    def resize(self, client, threads):
        return client.pools.UpdatePool(ps.UpdatePoolRequest(
            pool={"name": "pools/one", "min_threads": 0, "max_threads": threads},
            update_mask={"paths": ["max_threads"]}))

    def pool(self, client):
        return client.pools.GetPool(ps.GetPoolRequest(name="pools/one"))

    def test_a_pool_that_is_resized_loses_nothing(self):
        _, client = self.both(self.config_flag('pools { name: "one" max_threads: 1 idle_timeout { nanos: 50000000 } }'))
        names = []
        for _ in range(4):
            batch = js.BatchSubmitJobsRequest(requests=[
                js.SubmitJobRequest(job=sleep_job(random.random() / 100, pool="pools/one")) for _ in range(500)])
            names += [job.name for job in client.jobs.BatchSubmitJobs(batch).jobs]
        widths = []
        for threads in (64, 1, 64, 8, 1, 64, 2, 1):
            self.resize(client, threads)
            widths.append(self.pool(client).threads)
            time.sleep(0.05)  # for some to run at that width; nothing is right because of it
        self.resize(client, 64)
        jobs = client.wait(names, timeout=seconds(PATIENCE * 4), call_timeout=PATIENCE * 5).jobs
        self.assertEqual([job.name for job in jobs], names)
        self.assertEqual({job.state for job in jobs}, {Job.SUCCEEDED})
        for name in random.sample(names, 50):
            self.assertEqual(len(client.get(name).attempts), 1)
        self.assertGreater(max(widths), 8)
        self.resize(client, 1)
        eventually(lambda: self.pool(client).threads <= 1, what="threads end as they become idle")

    def test_ten_times_the_load(self):
        server, client = self.both(self.config_flag('pools { name: "one" max_threads: 4 max_queued_jobs: 20 }'))
        work = sleep_job(0.05, pool="pools/one", retention=seconds(1))

        def finished():
            return server.metrics().sum("jobpool_jobs_finished_total", pool="one", state="succeeded")

        def rate(length):
            before, start = finished(), time.time()
            time.sleep(length)
            return (finished() - before) / (time.time() - start)

        stop = threading.Event()
        first_tries = []
        # From the start, as a connection of gRPC's costs memory, and is not of the load.
        clients = [self.client(server, OWN_CONNECTION) for _ in range(240)]
        for one in clients:
            self.fails(grpc.StatusCode.NOT_FOUND, one.get, "jobs/nobody")

        def caller(i):
            own = clients[i]
            while not stop.is_set():
                refused_before = False
                while not stop.is_set():
                    try:
                        own.submit(work)
                    except grpc.RpcError as error:
                        (retry,) = Error(error).details["RetryInfo"]
                        if refused_before:
                            first_tries.append(False)
                        refused_before = True
                        stop.wait(retry.retry_delay.ToTimedelta().total_seconds())
                        continue
                    if refused_before:
                        first_tries.append(True)
                    break

        with concurrent.futures.ThreadPoolExecutor(240) as callers:
            try:
                capacity_callers = [callers.submit(caller, i) for i in range(24)]
                eventually(lambda: self.pool(client).queued_jobs >= 15, what="the queue fills up")
                capacity = rate(4)
                memory = resident(server)
                all_callers = capacity_callers + [callers.submit(caller, i) for i in range(24, 240)]
                time.sleep(3)
                first_tries.clear()
                goodput = rate(8)
                tries = list(first_tries)
                more_memory = resident(server)
            finally:
                stop.set()
        for done in all_callers:
            done.result()
        share = sum(tries) / len(tries)
        print(f"\nten times the load: goodput {goodput / capacity:.3f} of capacity ({capacity:.0f}/s), "
              f"{share:.3f} of {len(tries)} refused callers got in at the first try, "
              f"RSS {more_memory / memory:.3f} of before")
        self.assertGreater(goodput, capacity * 0.8)
        self.assertGreater(share, 0.8)
        if SLOW == 1:  # AddressSanitizer keeps what is freed
            self.assertLess(more_memory, memory * 1.1)

    def test_cancelling_a_full_queue_does_not_slow_others(self):
        """Jobs of another pool, while queued ones are cancelled, against while they are only read."""
        count = 100_000 if SLOW == 1 else 5_000
        server, client = self.both(self.config_flag(
            'pools { name: "one" max_threads: 1 max_queued_jobs: 1000000 } pools { name: "other" max_threads: 2 } '
            "limits { max_ended_jobs: 10000000 }"))
        client.pools.PausePool(ps.PausePoolRequest(name="pools/one"))
        waiting = js.SubmitJobRequest(job=sleep_job(1, pool="pools/one"))
        names = []
        for _ in range(count // 1000):
            batch = js.BatchSubmitJobsRequest(requests=[waiting] * 1000)
            names += [job.name for job in client.jobs.BatchSubmitJobs(batch, timeout=PATIENCE).jobs]
        others = js.RunJobRequest(job=noop_job(pool="pools/other"))
        window = count // 8
        shares, rates = [], []
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(call_each, server.grpc, "GetJob", js.GetJobRequest, names[:1]).result()  # it has begun
            for start in range(0, count, window):
                rate = {}
                for method, request in (("GetJob", js.GetJobRequest), ("CancelJob", js.CancelJobRequest)):
                    calls = process.submit(call_each, server.grpc, method, request, names[start:start + window])
                    runs, begun = 0, time.monotonic()
                    more = iter(lambda: None if calls.done() else client.jobs.RunJob.future(others, timeout=PATIENCE),
                                None)
                    for _ in in_flight(more, 8):
                        runs += 1
                    rate[method] = runs / (time.monotonic() - begun)
                    took = calls.result()
                    if method == "CancelJob":
                        rates.append(window / took)
                shares.append(rate["CancelJob"] / rate["GetJob"])
        share = statistics.median(shares)
        print(f"\nwhile {count} queued jobs are cancelled, {statistics.median(rates):.0f} a second, others run at "
              f"{share:.3f} ({min(shares):.3f} to {max(shares):.3f}) of their rate while as many are read")
        self.assertEqual(self.pool(client).queued_jobs, 0)
        for name in random.sample(names, 50):
            self.assertEqual(client.get(name).state, Job.CANCELLED)
        if SLOW == 1:  # too few of them else to tell
            self.assertGreater(share, 0.7)

    def test_cancel_to_end_of_every_kind_on_busy_cores(self):
        server, client = self.both(self.config_flag('pools { name: "wide" max_threads: 16 }'))
        works = {"sleep": {"sleep": {"duration": seconds(600)}},
                 "primes": {"compute": {"primes": {"limit": 10**12}}},
                 "fibonacci": {"compute": {"fibonacci": {"index": 10**6}}},
                 "pi": {"compute": {"pi": {"digits": 200_000}}},
                 "hash": {"compute": {"hash": {"bytes": 2**40}}},
                 "spin": {"compute": {"spin": {"cpu_time": seconds(3600)}}}}
        busy = [client.submit(Job(pool="pools/wide", **works["spin"])).name for _ in range(os.cpu_count())]
        for name in busy:
            client.running(name)
        took = {}
        for kind, work in works.items():
            for _ in range(20):
                name = client.submit(Job(pool="pools/wide", **work)).name
                try:
                    client.running(name)
                    client.cancel(name)
                except (grpc.RpcError, AssertionError):
                    pass  # it was done before
                job = client.join(name)
                if job.state == Job.CANCELLED:
                    (attempt,) = job.attempts
                    took.setdefault(kind, []).append(
                        unix_time(attempt.end_time) - unix_time(attempt.stop_steps[0].time))
        for name in busy:
            client.cancel(name)
        for kind, times in sorted(took.items()):
            print(f"\ncancel to end of {kind}: worst of {len(times)} {max(times) * 1000:.1f} ms", end="")
        print()
        self.assertGreaterEqual(len(took), 5)
        self.assertLess(max(max(times) for times in took.values()), 1 * SLOW)


if __name__ == "__main__":
    import unittest
    unittest.main()
