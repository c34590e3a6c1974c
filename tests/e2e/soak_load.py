"""Callers that keep a server busy with all that it does, for as long as they are told to, and count what they are told
of their jobs: `jobpool bench` for most of them, and stubs for what that does not do."""
import collections
import json
import random
import signal
import socket
import subprocess
import threading
import time
import uuid

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import BIN, PATIENCE, SLOW, Client, noop_job, seconds, sleep_job

Job = job_pb2.Job
DISK, MEMORY = Job.DISK, Job.MEMORY
HOUR = 3600
# s. Durable jobs that are asked for by name are kept so long; others, and those of `bench`, shorter.
RETENTION, SHORT_RETENTION = 10 * SLOW, 3
REQUESTS = 50  # with a request_id, sent again and again
MAX_ENDED_JOBS = 2000
# Pools end their threads, and processes, soon: what is left after the load is what would stay. Nothing is kept for long,
# so that the server holds after seconds what it holds after hours.
CONFIG = f"""
pools {{ name: "compute" }}
pools {{ name: "blocking" max_threads: 32 idle_timeout {{ seconds: 1 }} }}
pools {{ name: "apart" max_threads: 4 idle_timeout {{ seconds: 1 }} }}
pools {{ name: "broken" max_threads: 64 idle_timeout {{ seconds: 1 }} }}
processes {{ max_jobs: 500 idle_timeout {{ seconds: 1 }} }}
commands {{ name: "true" argv: "/bin/echo" argv: "done" }}
commands {{ name: "false" argv: "/bin/false" }}
limits {{ max_ended_jobs: {MAX_ENDED_JOBS} max_ended_bytes: 16777216 max_watch_events: 1000 }}
"""
TWICE = {"max_attempts": 2, "initial_backoff": seconds(0.01), "jitter": 0}
# `jobpool bench` with these, again and again.
BENCHES = (
    ("noop", "--durability", "memory", "--concurrency", "32", "--connections", "4"),
    ("noop", "--payload-size", "200", "--retention", f"{SHORT_RETENTION}s", "--concurrency", "16"),
    ("noop", "--submit", "--retention", f"{SHORT_RETENTION}s", "--rate", "200", "--priority", "7"),
    ("noop", "--isolation", "process", "--pool", "apart", "--durability", "memory", "--concurrency", "8"),
)
BENCH_SECONDS = 5  # of one run: callers come and go


class Tally:
    """What callers were told of their jobs: all of them, but for those of the pool `broken`. Thread-safe."""

    def __init__(self):
        self._mu = threading.Lock()
        self.accepted = collections.Counter()  # by pool
        self.ended = collections.Counter()  # by pool and state; without those whose end nobody asked for
        self.retried = 0
        self.rounds = collections.Counter()  # of each caller
        self.problems = []

    def add(self, pool, accepted=0, ended=0, state="succeeded"):
        with self._mu:
            self.accepted[pool] += accepted
            self.ended[pool, state] += ended

    def end(self, job, expected, accepted=1):
        """A job that was told with its end, which is to be `expected`."""
        pool = job.pool.partition("/")[2]
        self.add(pool, accepted, 1, Job.State.Name(job.state).lower())
        if job.state != expected:
            self.problem(f"{job.name} is {Job.State.Name(job.state)}: {job.error}")

    def retry(self):
        with self._mu:
            self.retried += 1

    def round(self, caller):
        with self._mu:
            self.rounds[caller] += 1

    def problem(self, text):
        with self._mu:
            self.problems.append(text[:2000])


class Load:
    """Begins with `begin`, and has ended by itself, with all that it started, when `finish` returns."""

    def __init__(self, server):
        self.server = server
        self.tally = Tally()
        self._requests = {str(uuid.uuid4()): None for _ in range(REQUESTS)}  # the names of their jobs
        self._end = 0
        self._threads = []

    def begin(self, length):
        self.last(length)
        callers = [self._batches, self._streams, self._payloads, self._failures, self._cancellations, self._watches,
                   self._looks, self._breaks, self._kills, self._repeats]
        works = [(caller.__name__.strip("_"), lambda caller=caller: self._call(caller)) for caller in callers]
        works += [(f"bench {number}", lambda args=args: self._bench(args)) for number, args in enumerate(BENCHES)]
        self._threads = [threading.Thread(target=self._repeat, args=work) for work in works]
        for thread in self._threads:
            thread.start()

    def last(self, length):
        """It ends in so many seconds from now, rather than when it was to."""
        self._end = time.monotonic() + length

    def left(self):
        return max(0, self._end - time.monotonic())

    def finish(self):
        for thread in self._threads:
            thread.join()

    def _repeat(self, name, work):
        try:
            while self.left():
                work()
                self.tally.round(name)
        except Exception as error:  # pylint: disable=broad-except
            self.tally.problem(f"{name}: {error!r}")

    def _call(self, caller):
        """Some rounds on one connection."""
        client = Client(self.server.grpc)
        try:
            for _ in range(20):
                if not self.left():
                    return
                caller(client)
                time.sleep(min(0.02 * SLOW, self.left()))  # the processors are for the server and for `bench`
        finally:
            client.close()

    def _bench(self, args):
        length = min(BENCH_SECONDS, self.left())
        if length < 0.1:
            return
        command = [f"{BIN}/jobpool", f"--server={self.server.grpc}", "-o", "json", "bench", *args, "--duration",
                   f"{round(length * 1000)}ms", "--drain-timeout", f"{2 * PATIENCE}s"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=4 * PATIENCE)
        figures = json.loads(done.stdout) if done.returncode == 0 else {}
        if not figures or figures["failed"] or figures["unfinished"]:
            self.tally.problem(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        elif "--submit" in args:
            self.tally.add("compute", figures["succeeded"])
        else:
            self.tally.add("apart" if "apart" in args else "compute", figures["succeeded"], figures["succeeded"])

    def _batches(self, client):
        job = noop_job(retention=seconds(RETENTION), labels={"by": "batches"})
        names = [made.name for made in client.jobs.BatchSubmitJobs(js.BatchSubmitJobsRequest(
            requests=[js.SubmitJobRequest(job=job)] * 100), timeout=PATIENCE).jobs]
        self.tally.add("compute", accepted=len(names))
        for ended in client.wait(names).jobs:
            self.tally.end(ended, Job.SUCCEEDED, accepted=0)
        for name in names[:5]:
            client.jobs.DeleteJob(js.DeleteJobRequest(name=name), timeout=PATIENCE)

    def _streams(self, client):
        jobs = [noop_job(b"x" * 500, durability=MEMORY), noop_job(retention=seconds(SHORT_RETENTION))]
        messages = [js.StreamJobsRequest(entries=[
            {"tag": first + i, "request": js.SubmitJobRequest(job=jobs[i % 2])} for i in range(100)])
                    for first in range(0, 300, 100)]
        tags = set()
        for answer in client.jobs.StreamJobs(iter(messages), timeout=2 * PATIENCE):
            for entry in answer.entries:
                tags.add(entry.tag)
                self.tally.end(entry.job, Job.SUCCEEDED)
        if tags != set(range(300)):
            self.tally.problem(f"of 300 jobs of a stream {len(tags)} have ended")

    def _payloads(self, client):
        for size, durability in ((random.randrange(1 << 16), MEMORY), (random.randrange(1 << 17), DISK)):
            payload = random.randbytes(size)
            job = client.run(noop_job(payload, durability=durability, retention=seconds(SHORT_RETENTION)))
            self.tally.end(job, Job.SUCCEEDED)
            if job.result.noop.payload != payload:
                self.tally.problem(f"{job.name}: another payload came back")
        self.tally.end(client.run(Job(compute={"pi": {"digits": 500}}, durability=MEMORY)), Job.SUCCEEDED)

    def _failures(self, client):
        short = seconds(SHORT_RETENTION)
        self.tally.end(client.run(Job(command={"name": "true"}, retention=short)), Job.SUCCEEDED)
        self.tally.end(client.run(Job(command={"name": "false"}, retention=short, retry_policy=TWICE)), Job.FAILED)
        self.tally.end(client.run(sleep_job(HOUR, timeout=seconds(0.02), retry_policy=TWICE, durability=MEMORY)),
                       Job.FAILED)
        self.tally.retry(), self.tally.retry()

    def _cancellations(self, client):
        kept = {"retention": seconds(RETENTION)}
        names = [client.submit(sleep_job(HOUR, **kept)).name for _ in range(4)]
        later = sleep_job(0, **kept)
        later.schedule_time.FromSeconds(int(time.time()) + HOUR)
        names.append(client.submit(later).name)
        self.tally.add("blocking", accepted=len(names))
        client.running(names[0])
        for name in names:
            client.cancel(name)
        for job in client.wait(names).jobs:
            self.tally.end(job, Job.CANCELLED, accepted=0)

    def _watches(self, client):
        token = ""
        for watched in ("pool = blocking", 'labels.by = "batches"', "kind = noop"):
            token = self._watch(client, filter=watched)
        self._watch(client, filter="kind = noop", resume_token=token)

    def _watch(self, client, **fields):
        """Some messages; returns where to go on from."""
        call, token = client.jobs.WatchJobs(js.WatchJobsRequest(**fields), timeout=1), ""
        try:
            for _, message in zip(range(3), call):
                token = message.resume_token
        except grpc.RpcError as error:
            # Nothing has happened, it reads too slowly, or the log does not reach as far back any more.
            if error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED,
                                    grpc.StatusCode.OUT_OF_RANGE):
                raise
        call.cancel()
        return token

    def _looks(self, client):
        for wanted in ("", "state = FAILED", 'labels.by = "batches"', "pool = blocking AND state = CANCELLED"):
            request = js.ListJobsRequest(page_size=50, filter=wanted)
            for _ in range(3):
                page = client.jobs.ListJobs(request, timeout=PATIENCE)
                request.page_token = page.next_page_token
                if not request.page_token:
                    break
        client.list_threads()
        client.active_count()
        client.pools.ListPools(ps.ListPoolsRequest(), timeout=PATIENCE)
        self.server.metrics()
        self.server.get("/readyz")
        client.health()

    def _breaks(self, _):
        """Connections that end with calls under way, in the middle of a message, or before the first."""
        client = Client(self.server.grpc)
        long = sleep_job(HOUR, pool="pools/broken", retention=seconds(SHORT_RETENTION))
        for _ in range(5):
            client.jobs.RunJob.future(js.RunJobRequest(job=long), timeout=PATIENCE)
        stream = client.jobs.StreamJobs(iter([js.StreamJobsRequest(
            entries=[{"tag": 1, "request": js.SubmitJobRequest(job=long)}])]), timeout=PATIENCE)
        watch = client.jobs.WatchJobs(js.WatchJobsRequest(filter="pool = broken"), timeout=PATIENCE)
        next(watch)
        client.close()
        del stream, watch
        for address, said in ((self.server.grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), (self.server.http, b"GET /")):
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
                connection.sendall(said)

    def _kills(self, _):
        process = subprocess.Popen([f"{BIN}/jobpool", f"--server={self.server.grpc}", "bench", "sleep", "50ms", "--pool",
                                    "broken", "--concurrency", "16", "--retention", f"{SHORT_RETENTION}s"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random())
        process.send_signal(signal.SIGKILL)
        process.wait()

    def _repeats(self, client):
        for request_id, name in self._requests.items():
            job = client.submit(noop_job(b"once"), request_id=request_id)
            if name is None:
                self._requests[request_id] = job.name
                self.tally.add("compute", accepted=1)
            elif name != job.name:
                self.tally.problem(f"the request of {name} made {job.name} too")

    def kept_names(self):
        """Of the jobs that are kept for long."""
        return [name for name in self._requests.values() if name]
